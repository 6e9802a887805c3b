"""What the tools share: reading and writing guests under Proxmox's own locks, the quorum, whether a
guest runs. It prints nothing and knows no command."""

import contextlib
import fcntl
import json
import os
import subprocess
import time

from . import conf, units


class Died(Exception):
    """The end of a command: a text for stderr and an exit code."""

    def __init__(self, text, rc=255):
        super().__init__(text)
        self.text = text
        self.rc = rc


def missing(node, vmid, rc=2):
    return Died(f"Configuration file 'nodes/{node.name}/lxc/{vmid}.conf' does not exist", rc)


def load(node, vmid, rc=2, out=None):
    """A guest of this node. Warnings about its file go to `out`, by default standard error."""
    try:
        text = node.conf(vmid).read_text()
    except FileNotFoundError:
        raise missing(node, vmid, rc) from None
    return conf.parse(vmid, text, **({"out": out} if out else {}))


def save(node, vmid, guest):
    """Writes like Proxmox: a temporary file beside, then a rename."""
    path = node.conf(vmid)
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        temporary.write_text(guest.file())
        os.rename(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise Died(f"unable to open file '{path}.tmp.{os.getpid()}' - {os.strerror(error.errno)}") from None


def quorum(node):
    if os.path.exists(node.faults / "no-quorum"):
        raise Died("cluster not ready - no quorum?")


@contextlib.contextmanager
def guest_lock(node, vmid, timeout=10):
    node.lock_dir.mkdir(parents=True, exist_ok=True)
    path = node.lock_dir / f"pve-config-{vmid}.lock"
    with open(path, "a") as file:
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Died(f"can't lock file '/run/lock/lxc/pve-config-{vmid}.lock' - got timeout") from None
                time.sleep(0.02)
        yield


# --- pools: `pool:NAME:COMMENT:VMIDS:STORAGES:` in user.cfg


def pools(node):
    path = node.pve / "user.cfg"
    return path.read_text().splitlines() if path.exists() else []


def check_pool(node, pool):
    if not any(line.startswith(f"pool:{pool}:") for line in pools(node)):
        raise Died(f"pool '{pool}' does not exist")


def change_pools(node, vmid, wanted):
    lines = []
    for line in pools(node):
        if line.startswith("pool:"):
            parts = (line.split(":") + [""] * 6)[:6]
            numbers = {n for n in parts[3].split(",") if n} - {str(vmid)}
            if parts[1] == wanted:
                numbers.add(str(vmid))
            parts[3] = ",".join(sorted(numbers, key=int))
            line = ":".join(parts)
        lines.append(line)
    if lines != pools(node):
        path = node.pve / "user.cfg"
        temporary = path.with_name(f"user.cfg.tmp.{os.getpid()}")
        temporary.write_text("\n".join(lines) + "\n")
        os.rename(temporary, path)


@contextlib.contextmanager
def pools_lock(node):
    path = node.pve / "priv/lock/file-user_cfg"
    end = time.monotonic() + 10
    while True:
        try:
            path.mkdir()
            break
        except FileExistsError:
            if time.monotonic() > end:
                raise Died("cfs-lock 'file-user_cfg' error: got lock request timeout") from None
            time.sleep(0.02)
    try:
        yield
    finally:
        path.rmdir()


def join_pool(node, pool, vmid):
    with pools_lock(node):
        change_pools(node, vmid, pool)


def leave_pools(node, vmid):
    with pools_lock(node):
        change_pools(node, vmid, None)


def check_lock(guest):
    lock = guest.values.get("lock")
    if lock and lock != "mounted":
        raise Died(f"CT is locked ({lock})")


def vmlist(node):
    return json.loads((node.pve / ".vmlist").read_text())["ids"]


def running(node, vmid):
    """Whether a container of this number runs, started by whomever."""
    return pid_of(node, vmid) is not None


def pid_of(node, vmid):
    if not (node.lxc / str(vmid) / "config").exists():
        return None
    out = lxc(node, "lxc-info", vmid, "-pH")
    return int(out.stdout) if out.returncode == 0 and out.stdout.strip().isdigit() else None


def lxc(node, tool, vmid, *args):
    return subprocess.run(
        [tool, "-P", str(node.lxc), "-n", str(vmid), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def unit(node, verb, vmid):
    return units.ask(node, {"verb": verb, "unit": f"pve-container@{vmid}"})
