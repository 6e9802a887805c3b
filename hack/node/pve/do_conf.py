"""`pct config`, `set`, `pending`, `unlock`: what stands in a guest's file, and changing it."""

import re

from . import cluster, conf, schema
from .args import Usage
from .cluster import Died

FASTPLUG = "description onboot startup protection hostname hookscript cores tags lock".split()
HOT = re.compile(r"^(memory|swap|cpulimit|cpuunits|net\d+|mp\d+|dev\d+)$")
REQUIRED = ("memory", "rootfs", "ostype")


def config(node, named, values, rest):
    guest = cluster.load(node, named["vmid"])
    section = guest
    if name := values.get("snapshot"):
        if name not in guest.snapshots:
            raise Died(f"snapshot '{name}' does not exist")
        section = guest.snapshots[name]
    for line in conf.shown(section):
        print(line)


def pending(node, named, values, rest):
    guest = cluster.load(node, named["vmid"])
    current = dict(guest.values)
    deleted = guest.pending.values.get("delete", "").split(",")
    keys = sorted(set(current) | (set(guest.pending.values) - {"delete"}))
    for key in keys:
        if key in current:
            print(f"{'del' if key in deleted else 'cur'} {key}: {current[key]}")
        if key in guest.pending.values:
            print(f"new {key}: {guest.pending.values[key]}")


def set_options(node, named, values, rest):
    vmid = named["vmid"]
    deletions = re.split(r"[,; ]+", values.pop("delete", "")) if "delete" in values else []
    reverts = re.split(r"[,; ]+", values.pop("revert", "")) if "revert" in values else []
    values.pop("digest", None)
    if not values and not deletions and not reverts:
        raise Usage("400 no options specified")
    with cluster.guest_lock(node, vmid):
        cluster.quorum(node)
        guest = cluster.load(node, vmid)
        cluster.check_lock(guest)
        running = cluster.running(node, vmid)
        for key in reverts:
            guest.pending.values.pop(key, None)
        for key in filter(None, deletions):
            remove(guest, key, running)
        for key in sorted(values):
            change(node, vmid, guest, key, values[key], running)
        cluster.save(node, vmid, guest)


def remove(guest, key, running):
    if key == "env":
        guest.lxc = [entry for entry in guest.lxc if entry[0] != "lxc.environment.runtime"]
        return
    if key == "description":
        guest.description = ""
        return
    if key not in guest.values and key not in guest.pending.values:
        raise Usage(f"cannot delete '{key}' - not set in current configuration!")
    if key in REQUIRED:
        raise Died(f"unable to delete required option '{key}'")
    if key == "unprivileged":
        raise Died("unable to delete read-only option: 'unprivileged'")
    if running and key not in FASTPLUG and not HOT.match(key):
        waiting = [k for k in guest.pending.values.get("delete", "").split(",") if k]
        guest.pending.values["delete"] = ",".join(sorted({*waiting, key}))
    else:
        guest.values.pop(key, None)


def change(node, vmid, guest, key, value, running):
    if key == "unprivileged":
        raise Died("unable to modify read-only option: 'unprivileged'")
    if re.match(r"^(rootfs|mp\d+)$", key) and guest.values.get("protection") == "1":
        raise Died(f"can't update CT {vmid} drive '{key}' - protection mode enabled")
    if key == "description":
        guest.description = value.rstrip("\n") + "\n"
    elif key == "env":
        guest.lxc = [entry for entry in guest.lxc if entry[0] != "lxc.environment.runtime"]
        guest.lxc += [("lxc.environment.runtime", one) for one in value.split("\0")]
    elif not running or key in FASTPLUG or HOT.match(key):
        if running:
            hotplug(node, vmid, guest, key, value)
        guest.values[key] = plain(key, value)
    else:
        guest.pending.values[key] = value


def plain(key, value):
    """The form in which a value is kept."""
    if key == "tags":
        return ";".join(filter(None, re.split(r"[;, ]+", value)))
    if schema.OPTIONS[key] is schema.boolean:
        return "1" if value.lower() in ("1", "on", "yes", "true") else "0"
    return value


def hotplug(node, vmid, guest, key, value):
    """Limits of a running guest are changed at once, where the host can."""
    if key == "memory":
        for name, text in (("memory.max", int(value) << 20), ("memory.limit_in_bytes", int(value) << 20)):
            if cluster.lxc(node, "lxc-cgroup", vmid, name, str(text)).returncode == 0:
                return


def unlock(node, named, values, rest):
    vmid = named["vmid"]
    with cluster.guest_lock(node, vmid):
        guest = cluster.load(node, vmid)
        if "lock" not in guest.values:
            raise Died("no lock found trying to remove any lock")
        del guest.values["lock"]
        cluster.save(node, vmid, guest)
