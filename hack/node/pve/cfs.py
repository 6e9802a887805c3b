"""The cluster file system, as a FUSE mount with pmxcfs's own rules: regular files and directories
only, modes and owners fixed, a guest's number used once in the cluster, locks by mkdir under
priv/lock, read-only without quorum, `.vmlist` and `.members` made on reading. It knows nothing of
what the files say.

The replication between nodes isn't simulated; that O_EXCL isn't atomic between nodes shows by the
fault `rival`, which lets another node's guest appear in the middle of somebody's claim."""

import errno
import json
import os
import re
import stat
import sys
import threading
import time

try:
    from fusepy import FUSE, FuseOSError, Operations
except ImportError:  # outside of Debian the module has the other name
    from fuse import FUSE, FuseOSError, Operations

from .faults import Faults
from .place import Node

MAX_FILE = 1024 * 1024
LOCK_LIFE = 120
GUEST = re.compile(r"^/nodes/([^/]+)/(lxc|qemu-server)/(\d+)\.conf$")


class Entry:
    def __init__(self, directory):
        self.directory = directory
        self.data = b""
        self.time = time.time()


class Memory(Operations):
    """All entries by path. One lock: FUSE calls come from several threads."""

    use_ns = False

    def __init__(self, node):
        self.node = node
        self.name = node.name
        self.faults = Faults(node)
        self.guard = threading.RLock()
        self.version = 1
        self.entries = {}
        self.guest_versions = {}
        self.opened, self.handles = {}, 0
        settings = node.settings()
        self.nodes = [self.name] + settings.get("others", [])
        for path in ["/", "/priv", "/priv/lock", "/nodes"]:
            self.entries[path] = Entry(True)
        for name in self.nodes:
            for path in ["", "/lxc", "/qemu-server"]:
                self.entries[f"/nodes/{name}{path}"] = Entry(True)

    # --- what every call asks first

    def real(self, path):
        """/lxc, /qemu-server and /local are links to this node's own directory."""
        for link in ("lxc", "qemu-server"):
            if path.startswith(f"/{link}/"):
                return f"/nodes/{self.name}{path}"
        return path

    def entry(self, path):
        found = self.entries.get(self.real(path))
        if found is None:
            raise FuseOSError(errno.ENOENT)
        return found

    def writable(self):
        if not self.quorate() or self.faults.on("cfs-readonly"):
            raise FuseOSError(errno.EACCES)

    def quorate(self):
        return not self.faults.on("no-quorum")

    def parent(self, path):
        found = self.entry(os.path.dirname(path))
        if not found.directory:
            raise FuseOSError(errno.ENOTDIR)

    def number_taken(self, path, moving=None):
        """A guest's number belongs to one node and kind in the whole cluster."""
        target = GUEST.match(path)
        if not target:
            return
        for other in self.entries:
            match = GUEST.match(other)
            if match and match[3] == target[3] and other not in (path, moving):
                raise FuseOSError(errno.EEXIST)

    def changed(self, path):
        self.version += 1
        self.entries["/"].time = time.time()
        match = GUEST.match(path)
        if match:
            self.guest_versions[path] = self.version

    # --- files that are made on reading

    def made(self, path):
        if path == "/.vmlist":
            return self.vmlist()
        if path == "/.members":
            return self.members()
        if path == "/.version":
            return json.dumps({"version": self.version}).encode() + b"\n"
        return None

    def vmlist(self):
        lines = []
        for path in self.entries:
            match = GUEST.match(path)
            if match:
                kind = "lxc" if match[2] == "lxc" else "qemu"
                version = self.guest_versions.get(path, 1)
                lines.append(
                    f'"{match[3]}": {{ "node": "{match[1]}", "type": "{kind}", "version": {version} }}'
                )
        body = ",\n".join(lines)
        return f'{{\n"version": {self.version},\n"ids": {{\n{body}}}\n\n}}\n'.encode()

    def members(self):
        out = {"nodename": self.name, "version": self.version}
        if len(self.nodes) > 1:
            out["cluster"] = {
                "name": "sim",
                "version": len(self.nodes),
                "nodes": len(self.nodes),
                "quorate": int(self.quorate()),
            }
            out["nodelist"] = {
                name: {"id": at + 1, "online": 1, "ip": f"192.0.2.{at + 1}"}
                for at, name in enumerate(self.nodes)
            }
        return json.dumps(out, indent=0).encode() + b"\n"

    # --- reading

    def getattr(self, path, fh=None):
        with self.guard:
            if path in ("/lxc", "/qemu-server", "/local"):
                return {"st_mode": stat.S_IFLNK | 0o777, "st_nlink": 1}
            made = self.made(path)
            if made is not None:
                return {"st_mode": stat.S_IFREG | 0o440, "st_nlink": 1, "st_size": len(made)}
            entry = self.entry(path)
            private = self.real(path).startswith("/priv")
            if entry.directory:
                mode = stat.S_IFDIR | (0o700 if private else 0o755)
                return {"st_mode": mode, "st_nlink": 2, "st_mtime": entry.time}
            mode = stat.S_IFREG | (0o600 if private else 0o640)
            return {
                "st_mode": mode,
                "st_nlink": 1,
                "st_size": len(entry.data),
                "st_mtime": entry.time,
            }

    def readlink(self, path):
        where = f"nodes/{self.name}"
        return where if path == "/local" else f"{where}{path}"

    def readdir(self, path, fh):
        with self.guard:
            if not self.entry(path).directory:
                raise FuseOSError(errno.ENOTDIR)
            real = self.real(path).rstrip("/")
            names = [
                other.rsplit("/", 1)[1]
                for other in self.entries
                if other != "/" and other.rsplit("/", 1)[0] == real
            ]
            if path == "/":
                names += ["lxc", "qemu-server", "local", ".vmlist", ".members", ".version"]
            return [".", ".."] + names

    def open(self, path, flags):
        with self.guard:
            made = self.made(path)
            if made is not None:
                # As it is now, however many reads it takes.
                self.handles += 1
                self.opened[self.handles] = made
                return self.handles
            self.entry(path)
            if flags & (os.O_WRONLY | os.O_RDWR):
                self.writable()
            return 0

    def read(self, path, size, offset, fh):
        with self.guard:
            data = self.opened[fh] if fh in self.opened else self.entry(path).data
            return data[offset : offset + size]

    def release(self, path, fh):
        with self.guard:
            self.opened.pop(fh, None)

    # --- writing

    def create(self, path, mode, fi=None):
        with self.guard:
            path = self.real(path)
            self.writable()
            self.parent(path)
            self.rival(path)
            if path in self.entries:
                raise FuseOSError(errno.EEXIST)
            self.number_taken(path)
            self.entries[path] = Entry(False)
            self.changed(path)
            return 0

    def rival(self, path):
        """The fault by which another node takes the number just before us."""
        match = GUEST.match(path)
        if match and len(self.nodes) > 1 and self.faults.take("rival"):
            other = f"/nodes/{self.nodes[1]}/qemu-server/{match[3]}.conf"
            self.entries[other] = Entry(False)
            self.entries[other].data = b"name: rival\n"
            self.changed(other)

    def write(self, path, data, offset, fh):
        with self.guard:
            path = self.real(path)
            self.writable()
            if offset + len(data) > MAX_FILE:
                raise FuseOSError(errno.EFBIG)
            self.number_taken(path)
            entry = self.entry(path)
            old = entry.data.ljust(offset, b"\0")
            entry.data = old[:offset] + data + old[offset + len(data) :]
            entry.time = time.time()
            self.changed(path)
            return len(data)

    def truncate(self, path, length, fh=None):
        with self.guard:
            self.writable()
            entry = self.entry(path)
            entry.data = entry.data[:length].ljust(length, b"\0")
            self.changed(self.real(path))

    def unlink(self, path):
        with self.guard:
            path = self.real(path)
            self.writable()
            if self.entry(path).directory:
                raise FuseOSError(errno.EISDIR)
            del self.entries[path]
            self.changed(path)

    def mkdir(self, path, mode):
        with self.guard:
            path = self.real(path)
            self.writable()
            self.parent(path)
            if path in self.entries:
                raise FuseOSError(errno.EEXIST)
            self.entries[path] = Entry(True)
            self.changed(path)

    def rmdir(self, path):
        with self.guard:
            path = self.real(path)
            self.writable()
            if not self.entry(path).directory:
                raise FuseOSError(errno.ENOTDIR)
            if any(other.startswith(path + "/") for other in self.entries):
                raise FuseOSError(errno.ENOTEMPTY)
            del self.entries[path]
            self.changed(path)

    def rename(self, old, new):
        with self.guard:
            old, new = self.real(old), self.real(new)
            self.writable()
            entry = self.entry(old)
            if entry.directory and old.startswith("/priv/lock/"):
                raise FuseOSError(errno.EACCES)
            self.parent(new)
            self.rival(new)
            self.number_taken(new, moving=old)
            if entry.directory:
                raise FuseOSError(errno.EACCES)
            self.entries[new] = entry
            del self.entries[old]
            self.changed(old)
            self.changed(new)

    def utimens(self, path, times=None):
        with self.guard:
            real = self.real(path)
            entry = self.entry(path)
            wanted = times[1] if times else time.time()
            if real.startswith("/priv/lock/") and entry.directory and wanted < entry.time:
                # "Unlock, please": heard only when the holder has been silent for long.
                if time.time() - entry.time > LOCK_LIFE:
                    del self.entries[real]
                    return
                raise FuseOSError(errno.EACCES)
            self.writable()
            entry.time = wanted
            self.changed(real)

    def chmod(self, path, mode):
        if stat.S_IMODE(self.getattr(path)["st_mode"]) != stat.S_IMODE(mode):
            raise FuseOSError(errno.EPERM)

    def chown(self, path, uid, gid):
        if uid not in (0, 0xFFFFFFFF, -1):
            raise FuseOSError(errno.EPERM)

    def symlink(self, target, source):
        raise FuseOSError(errno.ENOSYS)

    def link(self, target, source):
        raise FuseOSError(errno.ENOSYS)

    def statfs(self, path):
        return {"f_bsize": 4096, "f_blocks": 32768, "f_bavail": 30000, "f_bfree": 30000}


def serve(top):
    node = Node(top)
    # Attributes are never remembered: every reader sees the last write, as on pmxcfs.
    FUSE(
        Memory(node),
        str(node.pve),
        foreground=True,
        allow_other=True,
        fsname="/dev/fuse",
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        direct_io=True,
    )


if __name__ == "__main__":
    serve(sys.argv[1])
