"""From a guest to the file that LXC reads, `/var/lib/lxc/VMID/config`: what Proxmox generates, then
the guest's own lines, so that those win. It runs nothing."""

from .schema import parse_properties
from .subids import MAP

CLAMP_LOW, CLAMP_HIGH = 1, 10000


def generate(node, vmid, guest, hybrid):
    lines = []
    add = lambda key, value: lines.append(f"{key} = {value}")
    add("lxc.cgroup.relative", 0)
    add("lxc.cgroup.dir.monitor", f"lxc.monitor/{vmid}")
    add("lxc.cgroup.dir.container", f"lxc/{vmid}")
    add("lxc.cgroup.dir.container.inner", "ns")
    add("lxc.arch", {"i386": "i686"}.get(guest.values.get("arch", "amd64"), guest.values.get("arch", "amd64")))
    add("lxc.include", node.lxc_config / "common.conf")
    unprivileged = guest.values.get("unprivileged") == "1" or guest.has_lxc("lxc.idmap")
    if unprivileged:
        add("lxc.include", "/usr/share/lxc/config/userns.conf")
        if not guest.has_lxc("lxc.idmap"):
            for kind in "ug":
                add("lxc.idmap", f"{kind} {MAP}")
    if not guest.has_lxc("lxc.apparmor.profile"):
        add("lxc.apparmor.profile", "generated")
        add("lxc.apparmor.raw", "allow mqueue,")
        add("lxc.apparmor.raw", "deny mount -> /proc/,")
        add("lxc.apparmor.raw", "deny mount -> /sys/,")
    add("lxc.monitor.unshare", 1)
    if guest.values.get("console") == "0":
        add("lxc.console.path", "none")
    add("lxc.tty.max", guest.values.get("tty", "2"))
    add("lxc.environment", "TERM=linux")
    add("lxc.uts.name", guest.values.get("hostname", f"CT{vmid}"))
    limits(add, guest, hybrid)
    add("lxc.rootfs.path", node.rootfs(vmid))
    networks(node, vmid, guest, add)
    devices(guest, add)
    if (entry := guest.values.get("entrypoint", "/sbin/init")) != "/sbin/init":
        add("lxc.mount.entry", "shm dev/shm tmpfs rw,nosuid,nodev,create=dir 0 0")
        add("lxc.init.cmd", entry)
    for variable in filter(None, guest.values.get("env", "").split("\0")):
        add("lxc.environment.runtime", variable)
    for key, value in guest.lxc:
        lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"


def limits(add, guest, hybrid):
    memory = int(guest.values.get("memory", 512)) << 20
    swap = int(guest.values.get("swap", 512)) << 20
    if hybrid:
        add("lxc.cgroup.memory.limit_in_bytes", memory)
        # Only where the kernel accounts for swap; elsewhere the line would fail the start.
        if hybrid.swap:
            add("lxc.cgroup.memory.memsw.limit_in_bytes", memory + swap)
    else:
        add("lxc.cgroup2.memory.max", memory)
        add("lxc.cgroup2.memory.high", memory * 127 // 128)
        add("lxc.cgroup2.memory.swap.max", swap)
    cpulimit = float(guest.values.get("cpulimit", 0))
    if cpulimit:
        quota = int(100000 * cpulimit)
        if hybrid:
            add("lxc.cgroup.cpu.cfs_period_us", 100000)
            add("lxc.cgroup.cpu.cfs_quota_us", quota)
        else:
            add("lxc.cgroup2.cpu.max", f"{quota} 100000")
    if units := guest.values.get("cpuunits"):
        weight = min(max(int(units), CLAMP_LOW), CLAMP_HIGH)
        add("lxc.cgroup.cpu.shares" if hybrid else "lxc.cgroup2.cpu.weight", max(2, weight * 1024 // 100) if hybrid else weight)


def networks(node, vmid, guest, add):
    for number in range(32):
        value = guest.values.get(f"net{number}")
        if value is None:
            continue
        net = parse_properties(value, "name")
        prefix = f"lxc.net.{number}"
        add(f"{prefix}.type", "veth")
        add(f"{prefix}.veth.pair", f"veth{vmid}i{number}")
        if "hwaddr" in net:
            add(f"{prefix}.hwaddr", net["hwaddr"])
        add(f"{prefix}.name", net["name"])
        if "mtu" in net:
            add(f"{prefix}.mtu", net["mtu"])
        add(f"{prefix}.script.up", node.top / "usr/share/lxc/hooks/netup")
        for key, gateway, word in (("ip", "gw", "ipv4"), ("ip6", "gw6", "ipv6")):
            if net.get("host-managed") == "1" and net.get(key, "dhcp") not in ("auto", "dhcp", "manual"):
                add(f"{prefix}.{word}.address", net[key])
                if gateway in net:
                    add(f"{prefix}.{word}.gateway", net[gateway])
        if net.get("link_down") != "1":
            add(f"{prefix}.flags", "up")


def devices(guest, add):
    for number in range(256):
        value = guest.values.get(f"dev{number}")
        if value is None:
            continue
        path = parse_properties(value, "path")["path"]
        add("lxc.mount.entry", f"{path} {path.lstrip('/')} none bind,create=file 0 0")
