"""Storages: `dir` (volumes are directories or raw images) and `zfspool` (directories, with linked
clones, copied here). It knows no guest but by the number in a volume's name."""

import re
import shutil
import subprocess
from pathlib import Path

from .cluster import Died
from .faults import Faults

VOLUME_ID = re.compile(r"^([a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]):(.+)$")


class Storage:
    def __init__(self, name, kind):
        self.name, self.kind = name, kind
        self.values = {}

    @property
    def content(self):
        default = "rootdir,images" if self.kind == "zfspool" else "vztmpl,iso,backup"
        return set(self.values.get("content", default).split(","))

    @property
    def base(self):
        return Path(self.values["mountpoint" if self.kind == "zfspool" else "path"])

    @property
    def clones(self):
        return self.kind == "zfspool"


def all_of(node):
    found, current = {}, None
    for line in node.storage_lines():
        if match := re.fullmatch(r"(\w+):\s*(\S+)\s*", line):
            current = found.setdefault(match[2], Storage(match[2], match[1]))
        elif current and line.strip():
            key, _, value = line.strip().partition(" ")
            current.values[key] = value.strip()
    return found


def get(node, name):
    found = all_of(node).get(name)
    if found is None:
        raise Died(f"storage '{name}' does not exist")
    return found


def split(volid):
    match = VOLUME_ID.match(volid)
    if not match:
        raise Died(f"unable to parse volume ID '{volid}'")
    return match[1], match[2]


def path(node, volid):
    name, volume = split(volid)
    storage = get(node, name)
    if storage.kind == "zfspool":
        return storage.base / volume.rsplit("/", 1)[-1]
    kind, _, rest = volume.partition("/")
    if kind == "vztmpl":
        return storage.base / "template/cache" / rest
    if kind == "snippets":
        return storage.base / "snippets" / rest
    return storage.base / "images" / volume


def owner(volid):
    match = re.search(r"(?:subvol|vm|base|basevol)-(\d+)-disk-\d+[^/]*$", volid)
    return int(match[1]) if match else None


def may_hold_guests(storage):
    if "rootdir" not in storage.content:
        raise Died(f"storage '{storage.name}' does not allow content type 'rootdir' (Container)")


def allocate(node, name, vmid, kib, out):
    """A new volume of a guest: its id and what the conf says of its size."""
    storage = get(node, name)
    may_hold_guests(storage)
    if Faults(node).on("storage-full"):
        raise Died("unable to create image: not enough free space: No space left on device")
    number = next(n for n in range(100) if not taken(node, storage, vmid, n))
    if storage.kind == "zfspool":
        volume = f"subvol-{vmid}-disk-{number}"
        (storage.base / volume).mkdir(parents=True)
        return f"{name}:{volume}", size_word(kib)
    folder = storage.base / "images" / str(vmid)
    folder.mkdir(parents=True, exist_ok=True)
    if kib == 0:
        volume = f"subvol-{vmid}-disk-{number}.subvol"
        (folder / volume).mkdir()
        return f"{name}:{vmid}/{volume}", "0T"
    volume = f"vm-{vmid}-disk-{number}.raw"
    image(folder / volume, kib, out)
    return f"{name}:{vmid}/{volume}", size_word(kib)


def taken(node, storage, vmid, number):
    folder = storage.base if storage.kind == "zfspool" else storage.base / "images" / str(vmid)
    return any(folder.glob(f"*-{vmid}-disk-{number}*"))


def image(file, kib, out):
    out.write(f"Formatting '{file}', fmt=raw size={kib * 1024} preallocation=off\n")
    out.flush()
    with open(file, "wb") as made:
        made.truncate(kib * 1024)
    run(["mkfs.ext4", "-q", "-F", "-O", "mmp", "-E", "root_owner=0:0", str(file)])


def size_word(kib):
    for unit, factor in (("T", 1 << 30), ("G", 1 << 20), ("M", 1 << 10)):
        if kib and kib % factor == 0:
            return f"{kib // factor}{unit}"
    # What isn't whole is shown in megabytes, rounded down, and 0 as a terabyte count.
    return f"{kib // 1024}M" if kib else "0T"


def volumes_of(node, vmid):
    """Every volume on any storage that bears the guest's number."""
    for storage in all_of(node).values():
        if "rootdir" not in storage.content:
            continue
        folder = storage.base if storage.kind == "zfspool" else storage.base / "images" / str(vmid)
        for found in folder.glob(f"*-{vmid}-disk-*"):
            yield f"{storage.name}:{found.name}" if storage.kind == "zfspool" else f"{storage.name}:{vmid}/{found.name}"


def free(node, volid):
    found = path(node, volid)
    name, volume = split(volid)
    if re.search(r"(^|/)base(vol)?-[^/]*$", volume) and in_use(node, name, volume.rsplit("/", 1)[-1]):
        raise Died(f"base volume '{volume}' is still in use by linked clones")
    if found.is_dir():
        shutil.rmtree(found, ignore_errors=True)
    elif found.exists():
        found.unlink()
    if get(node, split(volid)[0]).kind == "dir":
        try:
            found.parent.rmdir()
        except OSError:
            pass


def in_use(node, name, base):
    """Whether a guest of the cluster has a clone of it."""
    confs = (node.pve / "nodes").glob("*/lxc/*.conf")
    return any(f"{name}:{base}/" in conf.read_text() for conf in confs)


def to_base(node, volid):
    """Makes a volume the base of linked clones."""
    name, volume = split(volid)
    old = path(node, volid)
    storage = get(node, name)
    if storage.kind == "zfspool":
        new = volume.replace("subvol-", "basevol-", 1)
    else:
        new = re.sub(r"/vm-", "/base-", volume) if volume.endswith(".raw") else volume
    old.rename(path(node, f"{name}:{new}"))
    return f"{name}:{new}"


def clone(node, volid, vmid, full, target, out):
    name, volume = split(volid)
    storage = get(node, name)
    if not full:
        if not storage.clones:
            raise Died(f"Linked clone feature for '{volid}' is not available", 2)
        new = f"subvol-{vmid}-disk-0"
        run(["cp", "-a", "--reflink=auto", str(path(node, volid)), str(storage.base / new)])
        return f"{name}:{volume}/{new}"
    out.write(f"create full clone of mountpoint rootfs ({volid})\n")
    source = path(node, volid)
    destination = target or name
    kib = 0 if source.is_dir() else source.stat().st_size // 1024
    new, _ = allocate(node, destination, vmid, kib, out)
    copied = path(node, new)
    if source.is_dir():
        shutil.rmtree(copied)
    run(["cp", "-a", "--reflink=auto", str(source), str(copied)])
    return new


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(command)
        raise Died(f"command '{words}' failed: exit code {done.returncode}")
    return done
