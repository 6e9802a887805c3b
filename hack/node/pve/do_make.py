"""`pct create`, `restore`, `clone`, `template`, `destroy`: guests come and go."""

import contextlib
import ctypes
import os
import subprocess
import sys

from . import cluster, conf, do_conf, hook, storage
from .cluster import Died
from .faults import Faults
from .schema import parse_properties, print_properties
from .subids import SHIFT

CLONE_NEWNS = 0x20000
TAR = (
    "--totals --one-file-system -p --sparse --numeric-owner --acls --xattrs --xattrs-include=user.* "
    "--xattrs-include=security.capability --warning=no-file-ignored --warning=no-xattr-write"
).split()

NOT_CONFIG = "storage force restore unique pool password ssh-public-keys ignore-unpack-errors bwlimit start ha-managed".split()


def create(node, named, values, rest):
    return make(node, named["vmid"], named["ostemplate"], values, values.get("restore") == "1")


def restore(node, named, values, rest):
    return make(node, named["vmid"], named["ostemplate"], values, True)


def make(node, vmid, template, values, restoring):
    cluster.quorum(node)
    if template == "-" and not restoring:
        raise Died("pipe can only be used with restore tasks")
    unused(node, vmid, values.get("force") == "1")
    archive = find_template(node, template)
    wanted = {k: do_conf.plain(k, v) for k, v in values.items() if k not in NOT_CONFIG}
    wanted.setdefault("rootfs", f"{values.get('storage', 'local')}:4")
    check_volumes(node, wanted)
    if pool := values.get("pool"):
        cluster.check_pool(node, pool)
    claim(node, vmid)
    Faults(node).point("pct create:claimed")
    made = []
    try:
        guest = build(node, vmid, template, archive, wanted, made)
    except BaseException as error:
        for volume in made:
            storage.free(node, volume)
        with contextlib.suppress(OSError):
            node.conf(vmid).unlink()
        if isinstance(error, Died):
            raise Died(f"unable to create CT {vmid} - {error.text}") from None
        raise
    Faults(node).point("pct create:unlock")
    cluster.save(node, vmid, guest)
    if pool:
        cluster.join_pool(node, pool, vmid)


def unused(node, vmid, force):
    found = cluster.vmlist(node).get(str(vmid))
    if found is None:
        return
    if force and found["node"] == node.name and found["type"] == "lxc":
        return
    word = "CT" if found["type"] == "lxc" else "VM"
    raise Died(f"{word} {vmid} already exists on node '{found['node']}'", 2)


def find_template(node, template):
    if template == "-" or template.startswith("/"):
        return template
    return str(storage.path(node, template))


def check_volumes(node, wanted):
    for key in [k for k in wanted if k == "rootfs" or k.startswith("mp")]:
        volume = parse_properties(wanted[key])["volume"]
        if not volume.startswith("/"):
            storage.may_hold_guests(storage.get(node, storage.split(volume)[0]))


def claim(node, vmid):
    with cluster.guest_lock(node, vmid):
        guest = conf.Guest()
        guest.values["lock"] = "create"
        cluster.save(node, vmid, guest)


def build(node, vmid, template, archive, wanted, made):
    if archive != "-" and not os.path.exists(archive):
        print(f"volume '{template}' does not exist")
        raise Died(f"volume '{template}' does not exist")
    guest = conf.Guest()
    values = {"hostname": f"CT{vmid}", "memory": "512", "swap": "512", "ostype": "debian"} | wanted
    if "unprivileged" not in values:
        values["unprivileged"] = "1"
    if values["unprivileged"] == "0":
        del values["unprivileged"]
    description = values.pop("description", "")
    guest.description = description.rstrip("\n") + "\n" if description else ""
    if env := values.pop("env", None):
        guest.lxc += [("lxc.environment.runtime", one) for one in env.split("\0")]
    guest.values = values
    for key in [k for k in values if k == "rootfs" or k.startswith("mp")]:
        values[key] = new_volume(node, vmid, values[key], made)
    unpack(node, vmid, guest, archive)
    if "arch" not in values:
        values["arch"] = "amd64"
        print("Falling back to amd64.\nUse `pct set VMID --arch ARCH` to change.")
    return guest


def new_volume(node, vmid, value, made):
    """`storage:GiB` asks for a new volume; everything else is taken as it is."""
    properties = parse_properties(value)
    if properties["volume"].startswith("/"):
        return value
    name, rest = storage.split(properties["volume"])
    try:
        gib = float(rest)
    except ValueError:
        return value
    kib = int(gib * 1024) * 1024
    volume, size = storage.allocate(node, name, vmid, kib, sys.stdout)
    made.append(volume)
    properties |= {"volume": volume, "size": size}
    return print_properties(properties)


def unpack(node, vmid, guest, archive):
    """Unpacks into the mounted root, in a mount namespace of its own that ends with the child."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            own_mounts()
            code = unpack_child(node, vmid, guest, archive)
        finally:
            sys.stdout.flush()
            os._exit(code)
    with contextlib.suppress(ChildProcessError):
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    note = node.lxc / str(vmid) / ".failed"
    if code:
        text = note.read_text() if note.exists() else "unpacking failed"
        note.unlink(missing_ok=True)
        raise Died(text)


def own_mounts():
    """A mount namespace of this process's own; Python has a name for the call only since 3.12."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise Died(f"unshare failed: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def unpack_child(node, vmid, guest, archive):
    note = node.lxc / str(vmid) / ".failed"
    note.parent.mkdir(parents=True, exist_ok=True)
    try:
        try:
            hook.mount_all(node, vmid, guest)
        except Died as died:
            print("mounting container failed")
            note.write_text(died.text)
            return 1
        return extract(node, vmid, guest, archive, note)
    finally:
        hook.unmount_all(node, vmid)


def extract(node, vmid, guest, archive, note):
    root = node.rootfs(vmid)
    print("extracting archive from STDIN" if archive == "-" else f"extracting archive '{archive}'")
    sys.stdout.flush()
    if Faults(node).on("storage-full"):
        print("tar: ./bin: Cannot mkdir: No space left on device")
        note.write_text(f"command 'tar xpf - --totals -C {root}' failed: exit code 2")
        return 1
    source = sys.stdin.buffer if archive == "-" else open(archive, "rb")
    # The real one's words; with `--skip-old-files` the root keeps its own owner, mode and times.
    command = ["tar", "xpf", "-", *TAR, "-C", str(root), "--skip-old-files", "--anchored", "--exclude", "./dev/*"]
    if str(archive).endswith(("gz", "xz", "zst")):
        command.insert(3, {"gz": "-z", "xz": "-J", "st": "--zstd"}[str(archive)[-2:]])
    done = subprocess.run(command, stdin=source, capture_output=True, text=True, check=False)
    print(done.stderr, end="")
    if done.returncode:
        note.write_text(f"command '{' '.join(command)}' failed: exit code {done.returncode}")
        return 1
    properties = parse_properties(guest.values["rootfs"])
    if guest.values.get("unprivileged") == "1" and not properties["volume"].startswith("/"):
        shift(root)
    if archive == "-":
        bar = "#" * 59
        print(f"merging backed-up and given configuration..\n{bar}")
        print(f"Backup archive does not contain any configuration\n{bar}")
    return 0


def shift(root):
    """An unprivileged guest's files belong to the mapped ids."""
    for folder, directories, files in os.walk(root):
        for name in [".", *directories, *files]:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if info.st_uid < SHIFT:
                os.chown(path, info.st_uid + SHIFT, info.st_gid + SHIFT, follow_symlinks=False)


def clone(node, named, values, rest):
    vmid, new = named["vmid"], named["newid"]
    cluster.quorum(node)
    source = cluster.load(node, vmid)
    unused(node, new, False)
    cluster.check_lock(source)
    root = parse_properties(source.values["rootfs"])
    if root["volume"].startswith("/"):
        raise Died("unable to clone mountpoint 'rootfs' (type bind)", 2)
    full = values.get("full", "0" if source.values.get("template") == "1" else "1") == "1"
    storage_name, _ = storage.split(root["volume"])
    if not full and not storage.get(node, storage_name).clones:
        raise Died(f"Linked clone feature for '{root['volume']}' is not available", 2)
    print(f"creating a {'clone' if full else 'linked clone'} of container {vmid} with ID {new}")
    claim(node, new)
    Faults(node).point("pct clone:claimed")
    guest = conf.Guest()
    guest.values = {k: v for k, v in source.values.items() if k not in ("template", "lock", "parent", "snaptime")}
    guest.lxc, guest.description = list(source.lxc), source.description
    try:
        root["volume"] = storage.clone(node, root["volume"], new, full, values.get("storage"), sys.stdout)
    except BaseException:
        node.conf(new).unlink()
        raise
    guest.values["rootfs"] = print_properties(root)
    if "hostname" in values:
        guest.values["hostname"] = values["hostname"]
    if "description" in values:
        guest.description = values["description"].rstrip("\n") + "\n"
    cluster.save(node, new, guest)


def template(node, named, values, rest):
    vmid = named["vmid"]
    with cluster.guest_lock(node, vmid):
        guest = cluster.load(node, vmid)
        cluster.check_lock(guest)
        if guest.snapshots:
            raise Died(f"unable to create template, because CT contains snapshots")
        if guest.values.get("template") == "1":
            raise Died("you can't convert a CT to template if the CT is already a template")
        if cluster.running(node, vmid):
            raise Died("you can't convert a CT to template if the CT is running")
        root = parse_properties(guest.values["rootfs"])
        if root["volume"].startswith("/"):
            sys.stderr.write(f"Template feature is not available for '{root['volume']}'\n")
            return 0
        root["volume"] = storage.to_base(node, root["volume"])
        guest.values["rootfs"] = print_properties(root)
        guest.values["template"] = "1"
        cluster.save(node, vmid, guest)


def destroy(node, named, values, rest):
    vmid = named["vmid"]
    cluster.quorum(node)
    guest = cluster.load(node, vmid)
    cluster.check_lock(guest)
    if guest.values.get("protection") == "1":
        raise Died(f"can't remove CT {vmid} - protection mode enabled")
    if cluster.running(node, vmid):
        if values.get("force") != "1":
            raise Died(f"unable to destroy CT {vmid} - container is running")
        print(f"forced to stop CT {vmid} before destroying!")
        cluster.lxc(node, "lxc-stop", vmid, "--kill")
        from .do_life import wait_stopped

        wait_stopped(node, vmid, 10)
    with cluster.guest_lock(node, vmid):
        Faults(node).point("pct destroy:volumes")
        mine = set()
        for key in sorted(guest.values):
            if key == "rootfs" or key.startswith(("mp", "unused")):
                volume = parse_properties(guest.values[key])["volume"]
                if not volume.startswith("/") and storage.owner(volume) == int(vmid):
                    mine.add(volume)
        if values.get("destroy-unreferenced-disks") == "1":
            mine |= set(storage.volumes_of(node, int(vmid)))
        for volume in sorted(mine):
            storage.free(node, volume)
        cluster.leave_pools(node, vmid)
        Faults(node).point("pct destroy:conf")
        try:
            node.conf(vmid).unlink()
        except OSError as error:
            raise Died(f"removing configuration failed: {os.strerror(error.errno)}") from None
        place = node.lxc / str(vmid)
        (place / "config").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (place / "rootfs").rmdir()
