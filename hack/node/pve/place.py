"""Where the parts of one simulated node lie. Every path is below the node's own directory, so that
several nodes run side by side; nothing else in this package makes up paths."""

import json
import os
from pathlib import Path


class Node:
    """One node, named by its directory."""

    def __init__(self, top):
        self.top = Path(top).absolute()

    def settings(self):
        return json.loads((self.top / "settings.json").read_text())

    @property
    def name(self):
        return self.settings()["name"]

    # What the real host has at the same paths below /.
    @property
    def pve(self):
        return self.top / "etc/pve"

    @property
    def tools(self):
        return self.top / "usr/bin"

    @property
    def lock_dir(self):
        return self.top / "run/lock/lxc"

    @property
    def run(self):
        return self.top / "run/pve"

    @property
    def lxc(self):
        return self.top / "var/lib/lxc"

    @property
    def lxc_config(self):
        return self.top / "usr/share/lxc/config"

    # What only the simulation has.
    @property
    def faults(self):
        return self.top / "faults"

    @property
    def units_socket(self):
        return self.top / "run/units.sock"

    @property
    def log(self):
        return self.top / "calls.log"

    def conf(self, vmid, node=None, kind="lxc"):
        return self.pve / "nodes" / (node or self.name) / kind / f"{vmid}.conf"

    def rootfs(self, vmid):
        return self.lxc / str(vmid) / "rootfs"

    def storage_lines(self):
        path = self.pve / "storage.cfg"
        return path.read_text().splitlines() if path.exists() else []


def here():
    """The node that a tool belongs to: told by the wrapper that started it."""
    return Node(os.environ["PVE_SIM_NODE"])
