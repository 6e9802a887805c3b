"""`pct start`, `stop` and the rest of a guest's life, on real containers."""

import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

from . import cluster, lxcconf, storage
from .cluster import Died
from .faults import Faults

# How long the real one takes from LXC's "running" to its look at the pid.
SETTLE = 0.05


def hybrid():
    """None on a unified host; else which of version 1's limits the kernel has."""
    if not os.path.exists("/sys/fs/cgroup/memory/cgroup.procs"):
        return None
    return SimpleNamespace(swap=os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"))


def start(node, named, values, rest):
    vmid = named["vmid"]
    cluster.quorum(node)
    if cluster.running(node, vmid):
        raise Died(f"CT {vmid} already running")
    with cluster.guest_lock(node, vmid):
        guest = cluster.load(node, vmid, rc=255, out=sys.stdout)
        if values.get("skiplock") != "1":
            cluster.check_lock(guest)
        if guest.values.get("template") == "1":
            raise Died("you can't start a CT if it's a template")
        for key, value in list(guest.pending.values.items()):
            guest.values[key] = value
            del guest.pending.values[key]
        if guest.values.get("lock") == "mounted":
            del guest.values["lock"]
        cluster.save(node, vmid, guest)
        place = node.lxc / str(vmid)
        (place / "rootfs").mkdir(parents=True, exist_ok=True)
        (place / "config").write_text(lxcconf.generate(node, vmid, guest, hybrid()))
        node.run.mkdir(parents=True, exist_ok=True)
        (node.run / f"ct-{vmid}.warnings").touch()
        hookscript(node, vmid, guest, "pre-start", True)
        Faults(node).point("pct start:unit")
        wait_stopped(node, vmid, 5)
        cluster.unit(node, "reset-failed", vmid)
        cluster.unit(node, "start", vmid)
        wait_running(node, vmid)
        hookscript(node, vmid, guest, "post-start", False)


def hookscript(node, vmid, guest, phase, stop_on_error):
    """Runs the guest's own script, `SCRIPT VMID PHASE`."""
    volume = guest.values.get("hookscript")
    if volume is None:
        return
    script = storage.path(node, volume)
    text = None
    if "/snippets/" not in str(script):
        text = f"'{volume}' is not in the snippets directory"
    elif not script.is_file():
        text = f"script '{volume}' does not exist"
    elif not os.access(script, os.X_OK):
        text = f"script '{volume}' is not executable"
    elif code := subprocess.run([script, str(vmid), phase], check=False).returncode:
        text = f"hookscript error for {vmid} on {phase}: command '{script} {vmid} {phase}' failed: exit code {code}"
    if text and stop_on_error:
        raise Died(text)
    if text:
        sys.stderr.write(text + "\n")


def wait_running(node, vmid):
    """Until LXC says RUNNING or the unit has ended, whichever is first."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        shown = cluster.unit(node, "show", vmid)["unit"]
        # An init that ends at once has run all the same: the unit's end is looked at second.
        info = cluster.lxc(node, "lxc-info", vmid, "-sH")
        if info.returncode and "Failed to load config" in info.stderr + info.stdout:
            print("problem with monitor socket, but continuing anyway: got timeout\n")
            print(info.stderr.strip())
            raise Died(f"command 'lxc-info -n {vmid} -p' failed: exit code 1")
        if info.stdout.strip() == "RUNNING":
            time.sleep(SETTLE)
            if cluster.pid_of(node, vmid) is None:
                raise Died(f"unable to get PID for CT {vmid} (not running?)")
            return
        if shown["ActiveState"] != "active":
            ended(node, vmid, shown)
        time.sleep(0.01)
    raise Died(f"startup for container '{vmid}' failed")


def ended(node, vmid, shown):
    if shown["Result"] == "success":
        raise Died(f"unable to get PID for CT {vmid} (not running?)")
    with open(node.run / f"ct-{vmid}.stderr", errors="replace") as file:
        for line in file:
            match = re.match(r"lxc-start: \S+: \S+: (\w+: \d+ .*)", line)
            # The last lines come after Proxmox has looked.
            if match and not re.match(r"(lxc_start_)?main: |__lxc_start: .* spawn", match[1]):
                print(match[1])
    raise Died(f"startup for container '{vmid}' failed")


def must_run(node, vmid, words="CT {} not running"):
    if not cluster.running(node, vmid):
        raise Died(words.format(vmid))


def stop(node, named, values, rest):
    vmid = named["vmid"]
    must_run(node, vmid)
    with cluster.guest_lock(node, vmid):
        if values.get("skiplock") != "1":
            cluster.check_lock(cluster.load(node, vmid))
        hookscript(node, vmid, cluster.load(node, vmid), "pre-stop", False)
        Faults(node).point("pct stop:unit")
        cluster.lxc(node, "lxc-stop", vmid, "--kill")
        wait_stopped(node, vmid, 10)


def wait_stopped(node, vmid, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        active = cluster.unit(node, "is-active", vmid).get("text")
        if not cluster.running(node, vmid) and active != "active":
            return True
        time.sleep(0.02)
    return False


def shutdown(node, named, values, rest):
    vmid = named["vmid"]
    must_run(node, vmid)
    timeout = int(values.get("timeout", 60))
    guest = cluster.load(node, vmid)
    cluster.check_lock(guest)
    cluster.lxc(node, "lxc-stop", vmid, "--nokill", "-t", str(timeout))
    if wait_stopped(node, vmid, 1):
        return
    if values.get("forceStop") != "1":
        raise Died(f"container did not stop")
    cluster.lxc(node, "lxc-stop", vmid, "--kill")
    wait_stopped(node, vmid, 10)


def reboot(node, named, values, rest):
    vmid = named["vmid"]
    must_run(node, vmid, "VM {} not running")
    (node.lxc / str(vmid) / "reboot").touch()
    shutdown(node, named, values, rest)


def suspend(node, named, values, rest):
    must_run(node, named["vmid"])
    done = cluster.lxc(node, "lxc-checkpoint", named["vmid"], "-s", "-D", "/var/lib/vz/dump")
    print(done.stderr.strip())
    raise Died(f"command 'lxc-checkpoint -n {named['vmid']} -s -D /var/lib/vz/dump' failed: exit code 1")


def resume(node, named, values, rest):
    vmid = named["vmid"]
    print(f"lxc-checkpoint: {vmid}: ../src/lxc/tools/lxc_checkpoint.c: lxc_checkpoint_main: 299 {vmid} is not defined")
    raise Died(f"command 'lxc-checkpoint -n {vmid} -r --foreground -D /var/lib/vz/dump' failed: exit code 1")


def attach(node, vmid, keep, command):
    """Becomes lxc-attach."""
    cluster.load(node, vmid)
    if not cluster.running(node, vmid):
        raise Died(f"container '{vmid}' not running!")
    argv = ["lxc-attach", "-P", str(node.lxc), "-n", str(vmid)]
    argv.append("--keep-env" if keep else "--clear-env")
    sys.stdout.flush()
    os.execvp("lxc-attach", argv + (["--"] + command if command else []))


def execute(node, named, values, rest):
    if not rest:
        raise Died("missing command at /usr/share/perl5/PVE/CLI/pct.pm line 246.")
    attach(node, named["vmid"], values.get("keep-env", "1") == "1", rest)


def enter(node, named, values, rest):
    attach(node, named["vmid"], values.get("keep-env", "1") == "1", [])


def console(node, named, values, rest):
    vmid = named["vmid"]
    cluster.load(node, vmid)
    if not cluster.running(node, vmid):
        text = f"lxc-console: {vmid}: ../src/lxc/tools/lxc_console.c: lxc_console_main: 130 {vmid} is not running"
        raise Died(text, 1)
    os.execvp("lxc-console", ["lxc-console", "-P", str(node.lxc), "-n", str(vmid), "-e", "-1"])
