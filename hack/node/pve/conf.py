"""A guest's configuration file: read with Proxmox's warnings, written in Proxmox's order. It knows
the form of the file and which lxc keys may stand in it, not what an option means."""

import re
import sys

from .schema import OPTIONS, Bad, check

LXC_KEYS = set(
    """lxc.apparmor.profile lxc.apparmor.allow_incomplete lxc.apparmor.allow_nesting lxc.apparmor.raw
    lxc.selinux.context lxc.include lxc.arch lxc.uts.name lxc.signal.halt lxc.signal.reboot
    lxc.signal.stop lxc.init.cmd lxc.init.cwd lxc.init.uid lxc.init.gid lxc.init.groups lxc.pty.max
    lxc.console.logfile lxc.console.path lxc.tty.max lxc.devtty.dir lxc.hook.autodev
    lxc.hook.pre-start lxc.hook.pre-mount lxc.hook.mount lxc.hook.start lxc.hook.stop
    lxc.hook.post-stop lxc.hook.clone lxc.hook.destroy lxc.hook.version lxc.autodev lxc.kmsg
    lxc.mount.fstab lxc.mount.entry lxc.mount.auto lxc.rootfs.mount lxc.cap.drop lxc.cap.keep
    lxc.seccomp.profile lxc.seccomp.notify.proxy lxc.seccomp.notify.cookie lxc.idmap lxc.log.level
    lxc.log.file lxc.start.auto lxc.start.delay lxc.start.order lxc.group lxc.environment
    lxc.environment.runtime lxc.environment.hooks lxc.sysctl.fs.mqueue lxc.sysctl.kernel.msgmax
    lxc.sysctl.kernel.msgmnb lxc.sysctl.kernel.msgmni lxc.sysctl.kernel.sem lxc.sysctl.kernel.shmall
    lxc.sysctl.kernel.shmmax lxc.sysctl.kernel.shmmni lxc.sysctl.kernel.shm_rmid_forced""".split()
)
LXC_PREFIXES = ("lxc.cgroup.", "lxc.cgroup2.", "lxc.prlimit.", "lxc.net.")
REFUSED = {
    "lxc.rootfs.path": "lxc.rootfs.path is auto generated from rootfs",
    "lxc.rootfs.options": "lxc.rootfs.options is not supported, please use mount point options"
    ' in the "rootfs" key',
}


class Section:
    """The settings of the guest, of its pending changes, or of one snapshot."""

    def __init__(self):
        self.values = {}
        self.lxc = []
        self.description = ""

    def has_lxc(self, key):
        return any(found == key for found, _ in self.lxc)

    def text(self):
        out = "".join(f"#{encode(line)}\n" for line in self.description.rstrip("\n").split("\n") if self.description)
        out += "".join(f"{key}: {self.values[key]}\n" for key in sorted(self.values))
        return out + "".join(f"{key}: {value}\n" for key, value in self.lxc)


class Guest(Section):
    """The whole file."""

    def __init__(self):
        super().__init__()
        self.pending = Section()
        self.snapshots = {}

    def file(self):
        out = self.text()
        if self.pending.values:
            out += "\n[pve:pending]\n" + self.pending.text()
        for name in sorted(self.snapshots):
            out += f"\n[{name}]\n" + self.snapshots[name].text()
        return out


def encode(text):
    out = "".join(
        c if 32 <= ord(c) < 127 and c not in "%:" else "".join(f"%{b:02X}" for b in c.encode())
        for c in text
    )
    return out


def decode(text):
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())
    return raw.decode("utf-8", "replace")


def parse(vmid, text, out=sys.stderr):
    """Reads a file. Lines that Proxmox doesn't take are told on `out` and are gone."""
    guest = Guest()
    section = guest
    in_pending = False

    def warn(what):
        out.write(f"vm {vmid} - {what}\n")

    for line in text.split("\n"):
        if not line.strip():
            continue
        if re.fullmatch(r"\[pve:pending\]\s*", line, re.I):
            section, in_pending = guest.pending, True
            continue
        if match := re.fullmatch(r"\[([a-z][a-z0-9_-]+)\]\s*", line, re.I):
            section, in_pending = guest.snapshots.setdefault(match[1], Section()), False
            continue
        if line.startswith("#"):
            section.description += decode(line[1:].rstrip()) + "\n"
        elif match := re.fullmatch(r"(lxc\.[a-z0-9_.-]+)(?::|\s*=)\s*(.*?)\s*", line):
            lxc_line(section, match[1], match[2], line, warn)
        elif match := re.fullmatch(r"delete:\s*(.*\S)\s*", line):
            if in_pending:
                section.values["delete"] = match[1]
            else:
                warn("property 'delete' is only allowed in [pve:pending]")
        elif match := re.fullmatch(r"([a-z][a-z_]*\d*):\s*(\S.*?)\s*", line):
            section.values[match[1]] = match[2]
            if match[1] not in OPTIONS:
                warn(f"unable to parse value of '{match[1]}' - unknown setting '{match[1]}'")
                continue
            try:
                check(match[1], match[2])
            except Bad as bad:
                warn(f"unable to parse value of '{match[1]}' - {bad.plain()}")
        else:
            warn(f"unable to parse config: {line}")
    return guest


def lxc_line(section, key, value, line, warn):
    if key in REFUSED:
        warn(f"{key}: {REFUSED[key]}")
    elif key in LXC_KEYS or key.startswith(LXC_PREFIXES):
        section.lxc.append((key, value))
    else:
        warn(f"unable to parse config: {line}")


def shown(section):
    """What `pct config` prints: sorted, the description on one line, runtime variables as `env`."""
    values = dict(section.values)
    if section.description:
        values["description"] = encode_config(section.description)
    env = [value for key, value in section.lxc if key == "lxc.environment.runtime"]
    if env:
        values["env"] = "\0".join(env)
    lines = [f"{key}: {values[key]}" for key in sorted(values) if key not in ("digest",)]
    lines += [f"{k}: {v}" for k, v in section.lxc if k != "lxc.environment.runtime"]
    return lines


def encode_config(text):
    return encode(text)
