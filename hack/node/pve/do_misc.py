"""The rest of pct: listings, files, snapshots, volumes, migration."""

import os
import re
import subprocess
import time

from . import cluster, conf, hook, storage
from .cluster import Died
from .schema import parse_properties


def list_guests(node, named, values, rest):
    guests = sorted(
        int(vmid)
        for vmid, info in cluster.vmlist(node).items()
        if info["node"] == node.name and info["type"] == "lxc"
    )
    if not guests:
        return
    print(f"{'VMID':<10} {'Status':<10} {'Lock':<12} {'Name':<20}")
    for vmid in guests:
        guest = cluster.load(node, vmid)
        state = "running" if cluster.running(node, vmid) else "stopped"
        name = guest.values.get("hostname", f"CT{vmid}")
        print(f"{vmid:<10} {state:<10} {guest.values.get('lock', ''):<12} {name:<20}")


def status(node, named, values, rest):
    vmid = named["vmid"]
    guest = cluster.load(node, vmid)
    pid = cluster.pid_of(node, vmid)
    state = "running" if pid else "stopped"
    if values.get("verbose") != "1":
        print(f"status: {state}")
        return
    shown = {
        "cpus": os.cpu_count(),
        "maxmem": int(guest.values.get("memory", 512)) << 20,
        "maxswap": int(guest.values.get("swap", 512)) << 20,
        "name": guest.values.get("hostname", f"CT{vmid}"),
        "status": state,
        "type": "lxc",
        "vmid": vmid,
    }
    if pid:
        shown["pid"] = pid
    for key in sorted(shown):
        print(f"{key}: {shown[key]}")


def cpusets(node, named, values, rest):
    if not any(cluster.running(node, v) for v in cluster.vmlist(node)):
        print("no running containers")


def rescan(node, named, values, rest):
    print("rescan volumes...")


def volumes(guest):
    for key in sorted(guest.values):
        if re.fullmatch(r"rootfs|mp\d+", key):
            yield key, parse_properties(guest.values[key])


def df(node, named, values, rest):
    guest = cluster.load(node, named["vmid"])
    rows = [("MP", "Volume", "Size", "Used", "Avail", "Use%", "Path")]
    for key, mount in volumes(guest):
        source = mount["volume"]
        place = source if source.startswith("/") else str(storage.path(node, source))
        info = os.statvfs(place)
        size, free = info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize
        used = size - info.f_bfree * info.f_frsize
        giga = lambda count: f"{count / 2**30:.1f}G"
        share = f"{used / size * 100:.1f}" if size else "0.0"
        rows.append((key, source, giga(size), giga(used), giga(free), share, mount.get("mp", "/")))
    widths = [max(len(row[at]) for row in rows) for at in range(7)]
    for row in rows:
        left = [row[at].ljust(widths[at]) for at in (0, 1)]
        right = [row[at].rjust(widths[at]) for at in (2, 3, 4, 5)]
        print(" ".join(left + right + [row[6]]))


def fsck(node, named, values, rest):
    vmid = named["vmid"]
    guest = cluster.load(node, vmid)
    if cluster.running(node, vmid):
        raise Died("cannot run fsck when container is running")
    volume = parse_properties(guest.values["rootfs"])["volume"]
    path = volume if volume.startswith("/") else str(storage.path(node, volume))
    if os.path.isdir(path):
        raise Died(f"path '{volume}' does not point to a block device")
    subprocess.run(["fsck", "-a", path], check=False)


def fstrim(node, named, values, rest):
    cluster.load(node, named["vmid"])


def mount(node, named, values, rest):
    vmid = named["vmid"]
    with cluster.guest_lock(node, vmid):
        guest = cluster.load(node, vmid)
        cluster.check_lock(guest)
        guest.values["lock"] = "mounted"
        cluster.save(node, vmid, guest)
        hook.mount_all(node, vmid, guest)
    print(f"mounted CT {vmid} in '{node.rootfs(vmid)}'")


def unmount(node, named, values, rest):
    vmid = named["vmid"]
    with cluster.guest_lock(node, vmid):
        guest = cluster.load(node, vmid)
        hook.unmount_all(node, vmid)
        guest.values.pop("lock", None)
        cluster.save(node, vmid, guest)


def push(node, named, values, rest):
    if not cluster.running(node, named["vmid"]):
        raise Died("can only push files to a running CT")
    with open(named["file"], "rb") as source:
        data = source.read()
    target = named["destination"]
    done = subprocess.run(
        ["lxc-attach", "-P", str(node.lxc), "-n", named["vmid"], "--", "/bin/sh", "-c", 'cat > "$0"', target],
        input=data,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise Died(f"failed to create file: {target}: No such file or directory")
    for name, tool in (("perms", "chmod"), ("user", "chown"), ("group", "chgrp")):
        if name in values:
            cluster.lxc(node, "lxc-attach", named["vmid"], "--", tool, values[name], target)


def pull(node, named, values, rest):
    if not cluster.running(node, named["vmid"]):
        raise Died("can only pull files from a running VM at /usr/share/perl5/PVE/CLI/pct.pm line 664.")
    done = subprocess.run(
        ["lxc-attach", "-P", str(node.lxc), "-n", named["vmid"], "--", "/bin/cat", named["path"]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise Died(f"failed to open {named['path']}: No such file or directory")
    with open(named["destination"], "wb") as target:
        target.write(done.stdout)


def resize(node, named, values, rest):
    guest = cluster.load(node, named["vmid"])
    volume = parse_properties(guest.values.get(named["disk"], ""))["volume"]
    path = storage.path(node, volume)
    if path.is_dir():
        raise Died(f"can't resize this volume format")
    match = re.fullmatch(r"(\+?)(\d+)([KMGT]?)", named["size"])
    amount = int(match[2]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match[3]]
    size = path.stat().st_size + amount if match[1] else amount
    os.truncate(path, size)
    subprocess.run(["resize2fs", str(path)], capture_output=True, check=False)
    print("Image resized.")
    guest.values[named["disk"]] = f"{volume},size={storage.size_word(size // 1024)}"
    cluster.save(node, named["vmid"], guest)


def move_volume(node, named, values, rest):
    guest = cluster.load(node, named["vmid"])
    volume = parse_properties(guest.values.get(named["volume"], ""))["volume"]
    storage.split(volume)
    raise Died("simulated node: `move-volume` is not carried out")


def migrate(node, named, values, rest):
    vmid, target = named["vmid"], named["target"]
    guest = cluster.load(node, vmid)
    if target not in node.settings().get("others", []):
        raise Died(f"no such cluster node '{target}'", 2)
    cluster.check_lock(guest)
    if cluster.running(node, vmid):
        raise Died("can't migrate running container without --online or --restart")
    for key, mount_point in volumes(guest):
        if mount_point["volume"].startswith("/") and mount_point.get("shared") != "1":
            raise Died(f"cannot migrate local bind mount point '{key}'")
    os.rename(node.conf(vmid), node.conf(vmid, target))


# --- snapshots: the storages of the simulation have none but zfspool's, kept in the conf only


def can_snapshot(node, guest):
    for _, mount_point in volumes(guest):
        volume = mount_point["volume"]
        if volume.startswith("/") or not storage.get(node, storage.split(volume)[0]).clones:
            return False
    return True


def snapshot(node, named, values, rest):
    vmid, name = named["vmid"], named["snapname"]
    with cluster.guest_lock(node, vmid):
        guest = cluster.load(node, vmid)
        cluster.check_lock(guest)
        if guest.values.get("template") == "1":
            raise Died("you can't take a snapshot if it's a template")
        if not can_snapshot(node, guest):
            raise Died("snapshot feature is not available")
        if name in guest.snapshots:
            raise Died(f"snapshot name '{name}' already used")
        taken = conf.Section()
        taken.values = dict(guest.values) | {"snaptime": str(int(time.time()))}
        taken.lxc, taken.description = list(guest.lxc), values.get("description", "")
        guest.snapshots[name] = taken
        guest.values["parent"] = name
        cluster.save(node, vmid, guest)


def find_snapshot(guest, name):
    if name not in guest.snapshots:
        raise Died(f"snapshot '{name}' does not exist")


def rollback(node, named, values, rest):
    vmid, name = named["vmid"], named["snapname"]
    with cluster.guest_lock(node, vmid):
        guest = cluster.load(node, vmid)
        find_snapshot(guest, name)
        guest.values = {k: v for k, v in guest.snapshots[name].values.items() if k != "snaptime"}
        guest.values["parent"] = name
        cluster.save(node, vmid, guest)


def delsnapshot(node, named, values, rest):
    vmid, name = named["vmid"], named["snapname"]
    with cluster.guest_lock(node, vmid):
        guest = cluster.load(node, vmid)
        find_snapshot(guest, name)
        del guest.snapshots[name]
        if guest.values.get("parent") == name:
            del guest.values["parent"]
        cluster.save(node, vmid, guest)


def listsnapshot(node, named, values, rest):
    guest = cluster.load(node, named["vmid"])
    depth = 0
    for name in sorted(guest.snapshots, key=lambda n: guest.snapshots[n].values.get("snaptime", "0")):
        when = time.localtime(int(guest.snapshots[name].values.get("snaptime", 0)))
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", when)
        print(f"{' ' * depth}`-> {name:<{24 - depth}}{stamp}     no-description")
        depth += 1
    print(f"{' ' * depth}`-> current".ljust(56) + "You are here!")
