"""`pvesh`, `pvesm`, `pveversion` and `systemctl`: as much of each as guests need."""

import json
import os
import sys

from . import args, cluster, storage
from .cluster import Died
from .faults import Faults
from .place import here

ANY = lambda key, value: None
MANAGER = "9.1.4/5ac30304265fbd8e"
VERSIONS = {
    "proxmox-ve": "9.1.0 (running kernel: 6.17.4-1-pve)",
    "pve-manager": "9.1.4 (running version: 9.1.4/5ac30304265fbd8e)",
    "lxc-pve": "6.0.5-3",
    "lxcfs": "6.0.4-pve1",
    "pve-cluster": "9.0.7",
    "pve-container": "6.1.10",
}


def main(tool, argv):
    node = here()
    with open(node.log, "a") as log:
        log.write(f"{tool} {' '.join(argv)}\n")
    Faults(node).point(f"{tool}:before")
    try:
        return {"pvesh": pvesh, "pvesm": pvesm, "pveversion": pveversion, "systemctl": systemctl}[tool](node, argv) or 0
    except args.Usage as problem:
        sys.stderr.write("\n".join(problem.lines) + "\n")
        return 2
    except Died as died:
        sys.stderr.write(died.text + "\n")
        return died.rc


def pvesh(node, argv):
    named, values, rest = args.parse(argv, ["command", "path"], {"output-format": ANY, "vmid": ANY, "noborder": ANY}, extra=True)
    if (named["command"], named["path"]) == ("get", "/cluster/nextid"):
        print(next_id(node, values.get("vmid")))
    elif (named["command"], named["path"].strip("/")) == ("get", "version"):
        print(json.dumps({"release": "9.1", "repoid": MANAGER.split("/")[1], "version": "9.1.4"}))
    else:
        raise Died(f"No '{named['command']}' handler defined for '{named['path']}'")


def next_id(node, wanted):
    taken = cluster.vmlist(node)
    if wanted:
        if wanted in taken:
            raise Died(f"400 Parameter verification failed.\nvmid: VM {wanted} already exists", 2)
        return wanted
    return next(n for n in range(100, 10**9) if str(n) not in taken)


def pvesm(node, argv):
    command, rest = (argv or [""])[0], argv[1:]
    if command == "status":
        _, values, _ = args.parse(rest, [], {"storage": ANY, "content": ANY, "enabled": ANY})
        return pvesm_status(node, values)
    if command == "alloc":
        named, _, _ = args.parse(rest, ["storage", "vmid", "filename", "size"], {"format": ANY})
        volume, _ = storage.allocate(node, named["storage"], named["vmid"], int(named["size"].rstrip("KMG") or 0), sys.stdout)
        print(f"successfully created '{volume}'")
    elif command == "free":
        named, _, _ = args.parse(rest, ["volume"], {"storage": ANY})
        storage.free(node, named["volume"])
        print(f"Removed volume '{named['volume']}'")
    elif command == "path":
        named, _, _ = args.parse(rest, ["volume"], {})
        print(storage.path(node, named["volume"]))
    elif command == "list":
        named, _, _ = args.parse(rest, ["storage"], {"vmid": ANY, "content": ANY})
        pvesm_list(node, named["storage"])
    else:
        raise Died(f"ERROR: unknown command 'pvesm {command}'")


def pvesm_status(node, values):
    shown = {
        name: found
        for name, found in sorted(storage.all_of(node).items())
        if values.get("storage", name) == name and values.get("content", "") in ("", *found.content)
    }
    wide = max([len(name) for name in shown], default=0) + 1
    print(f"{'Name':<{wide}} {'Type':>10} {'Status':>10} {'Total (KiB)':>15} {'Used (KiB)':>15} {'Available (KiB)':>15} {'%':>8}")
    for name, found in shown.items():
        info = os.statvfs(found.base)
        total = info.f_blocks * info.f_frsize // 1024
        free = info.f_bavail * info.f_frsize // 1024
        used = total - info.f_bfree * info.f_frsize // 1024
        print(f"{name:<{wide}} {found.kind:>10} {'active':>10} {total:>15} {used:>15} {free:>15} {used / total * 100:>7.2f}%")


def pvesm_list(node, name):
    found = storage.get(node, name)
    print(f"{'Volid':<40} {'Format':<8} {'Type':<10} {'Size':>12} VMID")
    base = found.base if found.kind == "zfspool" else found.base / "images"
    for path in sorted(base.glob("*" if found.kind == "zfspool" else "*/*")):
        volume = path.name if found.kind == "zfspool" else f"{path.parent.name}/{path.name}"
        form = "raw" if path.suffix == ".raw" else "subvol"
        print(f"{name + ':' + volume:<40} {form:<8} {'rootdir':<10} {path.stat().st_size:>12} {storage.owner(volume) or ''}")


def pveversion(node, argv):
    if argv[:1] in (["-v"], ["--verbose"]):
        for name, version in VERSIONS.items():
            print(f"{name}: {version}")
    else:
        print(f"pve-manager/{MANAGER} (running kernel: 6.17.4-1-pve)")


def systemctl(node, argv):
    words = [word for word in argv if not word.startswith("-")]
    options = [word for word in argv if word.startswith("-")]
    if len(words) != 2:
        sys.stderr.write("Too few arguments.\n")
        return 1
    verb, name = words
    vmid = name.removesuffix(".service").partition("@")[2]
    if verb not in ("start", "stop", "is-active", "is-failed", "show", "reset-failed") or not vmid.isdigit():
        sys.stderr.write(f"Unknown command verb '{verb}'.\n")
        return 1
    answer = cluster.unit(node, verb, vmid)
    if answer.get("text") and "-q" not in options and "--quiet" not in options:
        print(answer["text"])
    return answer["rc"]
