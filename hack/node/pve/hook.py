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


def main(kind):
    vmid = int(os.environ["LXC_NAME"])
    try:
        {"prestart": prestart, "poststop": poststop}[kind](vmid)
    except Died as died:
        sys.stderr.write(f"{died.text}\n")
        sys.exit(2)
