"""Proxmox's hooks in a starting guest: before it the file systems are mounted below
/var/lib/lxc/VMID/rootfs, after it they are taken down. LXC runs them in the monitor's own mount
namespace (lxc.monitor.unshare), so nothing of it is seen on the host."""

import os
import subprocess
import sys
from pathlib import Path

from . import cluster, storage
from .cluster import Died
from .faults import Faults
from .place import here
from .schema import parse_properties


def prestart(vmid):
    node = here()
    Faults(node).point("hook prestart")
    cluster.quorum(node)
    guest = cluster.load(node, vmid)
    mount_all(node, vmid, guest)


def poststop(vmid):
    node = here()
    unmount_all(node, vmid)
    unplug(vmid)
    from .do_life import hookscript

    try:
        hookscript(node, vmid, cluster.load(node, vmid), "post-stop", False)
    except Died:
        pass  # the guest is gone already
    if os.environ.get("LXC_TARGET") == "reboot":
        (node.lxc / str(vmid) / "reboot").touch()


def mount_all(node, vmid, guest):
    root = node.rootfs(vmid)
    (node.lxc / str(vmid) / "passthrough").mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    mount_one(node, parse_properties(guest.values["rootfs"]), root)
    for number in range(256):
        if value := guest.values.get(f"mp{number}"):
            mount = parse_properties(value)
            mount_one(node, mount, inside(root, mount["mp"]))


def inside(root, target):
    """The mount point below the root, made when it is missing; never through a symbolic link."""
    place = root
    for part in Path(target.lstrip("/")).parts:
        place = place / part
        if place.is_symlink():
            raise Died(f"symlink encountered at: {place}")
        place.mkdir(exist_ok=True)
    return place


def mount_one(node, mount, target):
    source = mount["volume"]
    if mount.get("idmap", "passthrough") != "passthrough":
        raise Died("simulated node: `idmap` with a mapping is not carried out")
    options = [o for o in mount.get("mountoptions", "").split(";") if o]
    read_only = mount.get("ro") == "1"
    if not source.startswith("/"):
        source = str(storage.path(node, source))
    if os.path.isfile(source):
        options += ["loop"] + (["ro"] if read_only else [])
        return run(["mount", "-o", ",".join(options), source, str(target)])
    if not os.path.isdir(source):
        raise Died(f"directory '{source}' does not exist")
    run(["mount", "--bind", source, str(target)])
    if read_only or options:
        flags = ",".join(["remount", "bind"] + options + (["ro"] if read_only else []))
        run(["mount", "-o", flags, str(target)])


def unmount_all(node, vmid):
    root = str(node.rootfs(vmid))
    with open("/proc/self/mountinfo") as file:
        mounted = [line.split()[4] for line in file]
    for place in reversed([m for m in mounted if m == root or m.startswith(root + "/")]):
        subprocess.run(["umount", "-l", place], capture_output=True, check=False)


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Died(f"command '{' '.join(command)}' failed: exit code {done.returncode}")


def plug(vmid, device):
    """What `lxcnetaddbr` does: the host's end of the pair goes into the bridge, with its VLAN, behind
    a bridge of its own where the firewall is to see it."""
    node = here()
    guest = cluster.load(node, vmid)
    number = int(device.rsplit("i", 1)[1])
    net = parse_properties(guest.values[f"net{number}"], "name")
    bridge = net.get("bridge")
    if bridge is None:
        return
    if not os.path.isdir(f"/sys/class/net/{bridge}/bridge"):
        raise Died(f"bridge '{bridge}' does not exist")
    port = device
    if net.get("firewall") == "1":
        inner, ours, theirs = f"fwbr{vmid}i{number}", f"fwln{vmid}i{number}", f"fwpr{vmid}p{number}"
        ip("link", "add", inner, "type", "bridge")
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
        for link, master in ((device, inner), (ours, inner)):
            ip("link", "set", link, "master", master, "up")
        ip("link", "set", inner, "up")
        port = theirs
    tag = net.get("tag")
    aware = Path(f"/sys/class/net/{bridge}/bridge/vlan_filtering")
    aware = aware.exists() and aware.read_text().strip() == "1"
    if tag and not aware:
        bridge = vlan_bridge(bridge, tag)
    ip("link", "set", port, "master", bridge, "up")
    if tag and aware:
        run(["bridge", "vlan", "del", "dev", port, "vid", "1"])
        run(["bridge", "vlan", "add", "dev", port, "vid", tag, "pvid", "untagged"])


def vlan_bridge(bridge, tag):
    """A bridge without VLANs gets another one beside it, which the VLANs of its ports lead to."""
    beside = f"{bridge}v{tag}"
    if not os.path.exists(f"/sys/class/net/{beside}"):
        ip("link", "add", beside, "type", "bridge")
        ip("link", "set", beside, "up")
        for port in os.listdir(f"/sys/class/net/{bridge}/brif"):
            if os.path.exists(f"/sys/class/net/{port}/device"):
                ip("link", "add", "link", port, "name", f"{port}.{tag}", "type", "vlan", "id", tag)
                ip("link", "set", f"{port}.{tag}", "master", beside, "up")
    return beside


def ip(*words):
    run(["ip", *words])


def unplug(vmid):
    """The pair went with the container; its bridge of the firewall's is left."""
    for number in range(32):
        for link in (f"fwln{vmid}i{number}", f"fwbr{vmid}i{number}"):
            if os.path.exists(f"/sys/class/net/{link}"):
                subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)


def main(kind):
    if kind == "netup":
        # NAME net up veth DEVICE (lxc.container.conf(5), lxc.net.[i].script.up)
        name, device = sys.argv[1], sys.argv[5]
        return guarded(lambda: plug(int(name), device))
    vmid = int(os.environ["LXC_NAME"])
    guarded(lambda: {"prestart": prestart, "poststop": poststop}[kind](vmid))


def guarded(work):
    try:
        work()
    except Died as died:
        sys.stderr.write(f"{died.text}\n")
        sys.exit(2)
