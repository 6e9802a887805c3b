"""The options of a guest and how their values are checked, in Proxmox's words. It knows no guest."""

import re


class Bad(Exception):
    """A value that doesn't pass. `lines` are those of the "400 Parameter verification failed" text;
    `blank` says whether an empty line follows them, as after every format error."""

    def __init__(self, lines, blank):
        super().__init__(lines[0])
        self.lines = lines
        self.blank = blank

    def plain(self):
        first = self.lines[0].split(": ", 1)[-1].replace("invalid format - ", "")
        rest = [line.split(".", 1)[-1].replace("invalid format - ", "") for line in self.lines[1:]]
        return "\n".join([first] + rest)


def bad(key, text):
    raise Bad([f"{key}: {text}"], False)


def bad_format(key, text, *more):
    raise Bad([f"{key}: invalid format - {text}", *more], True)


# --- kinds of values: functions of (key, value)


def boolean(key, value):
    if not re.fullmatch(r"0|1|on|off|yes|no|true|false", value, re.I):
        bad(key, f"type check ('boolean') failed - got '{value}'")


def integer(low=None, high=None):
    def test(key, value):
        if not re.fullmatch(r"-?\d+", value):
            bad(key, f"type check ('integer') failed - got '{value}'")
        limits(key, int(value), low, high)

    return test


def number(low=None, high=None):
    def test(key, value):
        if not re.fullmatch(r"-?\d+(\.\d+)?", value):
            bad(key, f"type check ('number') failed - got '{value}'")
        limits(key, float(value), low, high)

    return test


def limits(key, value, low, high):
    if low is not None and value < low:
        bad(key, f"value must have a minimum value of {low}")
    if high is not None and value > high:
        bad(key, f"value must have a maximum value of {high}")


def one_of(*names):
    def test(key, value):
        if value not in names:
            listed = ", ".join(names)
            bad(key, f"value '{value}' does not have a value in the enumeration '{listed}'")

    return test


def pattern(expression):
    def test(key, value):
        if not re.fullmatch(expression, value):
            bad(key, "value does not match the regex pattern")

    return test


def text(longest):
    def test(key, value):
        if len(value) > longest:
            bad(key, f"value may only be {longest} characters long")

    return test


def dns_name(key, value):
    label = r"([a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?)"
    if not re.fullmatch(rf"({label}\.)*{label}", value):
        bad_format(key, "value does not look like a valid DNS name")


def tags(key, value):
    for tag in re.split(r"[;, ]+", value):
        if tag and not re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9_\-+.]*", tag):
            bad_format(key, "invalid characters in tag")


def vmid(key, value):
    integer()(key, value)
    if not re.fullmatch(r"[1-9][0-9]{2,8}", value):
        bad_format(key, "value does not look like a valid VM ID")


def properties(fields, default=None):
    """A property string: `value,key=value,…` where the first may leave out its key."""

    def test(key, value):
        seen = split(key, value, fields, default)
        for name, part in seen.items():
            try:
                fields[name][0](name, part)
            except Bad as found:
                inner = found.lines[0].split(": ", 1)[1].replace("invalid format - ", "")
                prefix = "invalid format - " if found.blank else ""
                bad_format(key, "format error", f"{key}.{name}: {prefix}{inner}")
        for name, (_, needed) in fields.items():
            if needed and name not in seen:
                bad_format(key, "format error", f"{key}.{name}: property is missing and it is not optional")

    return test


def split(key, value, fields, default):
    seen = {}
    for part in value.split(","):
        name, equals, rest = part.partition("=")
        if not equals:
            if default is None:
                bad_format(key, "value without key, but schema does not define a default key")
            name, rest = default, part
        if name not in fields:
            bad_format(
                key,
                "format error",
                f"{key}.{name}: property is not defined in schema and the schema does not allow additional properties",
            )
        seen[name] = rest
    return seen


def ip_config(words, kind):
    address = r"\d+\.\d+\.\d+\.\d+/\d+" if kind == "ipv4" else r"[0-9a-fA-F:.]+/\d+"

    def test(key, value):
        if value not in words and not re.fullmatch(address, value):
            bad_format(key, f"value does not look like a valid {kind} network configuration")

    return test


def mount_path(key, value):
    if re.search(r"/\.\.?/|/\.\.?$|^\.\./", value):
        bad_format(key, f"{value} contains illegal character sequences")


def anything(key, value):
    pass


IDMAP = pattern(r"(passthrough|[ug]:\d+:\d+:\d+(;[ug]:\d+:\d+:\d+)*)")
VOLUME = {
    "volume": (anything, True),
    "acl": (boolean, False),
    "mountoptions": (pattern(r"(discard|lazytime|noatime|nodev|noexec|nosuid)(;(discard|lazytime|noatime|nodev|noexec|nosuid))*"), False),
    "quota": (boolean, False),
    "replicate": (boolean, False),
    "ro": (boolean, False),
    "shared": (boolean, False),
    "size": (pattern(r"\d+(\.\d+)?[KMGT]?"), False),
    "idmap": (IDMAP, False),
}
MOUNT = {
    **VOLUME,
    "mp": (mount_path, True),
    "backup": (boolean, False),
    "keepattrs": (boolean, False),
}
NETWORK = {
    "name": (pattern(r"[-_.\w\d]+"), True),
    "bridge": (pattern(r"[-_.\w\d]+"), False),
    "firewall": (boolean, False),
    "gw": (anything, False),
    "gw6": (anything, False),
    "host-managed": (boolean, False),
    "hwaddr": (pattern(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}"), False),
    "ip": (ip_config(("dhcp", "manual"), "ipv4"), False),
    "ip6": (ip_config(("auto", "dhcp", "manual"), "ipv6"), False),
    "link_down": (boolean, False),
    "mtu": (integer(64, 65535), False),
    "rate": (number(0), False),
    "tag": (integer(1, 4094), False),
    "trunks": (pattern(r"\d+(;\d+)*"), False),
    "type": (one_of("veth"), False),
}
DEVICE = {
    "path": (anything, True),
    "mode": (pattern(r"0[0-7]{3}"), False),
    "uid": (integer(0), False),
    "gid": (integer(0), False),
    "deny-write": (boolean, False),
}
FEATURES = {
    name: (boolean, False) for name in ("nesting", "keyctl", "fuse", "mknod", "force_rw_sys")
} | {"mount": (anything, False)}

OSTYPES = "debian devuan ubuntu centos fedora opensuse archlinux alpine gentoo nixos unmanaged".split()
LOCKS = "backup create destroyed disk fstrim migrate mounted rollback snapshot snapshot-delete".split()

OPTIONS = {
    "arch": one_of("amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"),
    "cmode": one_of("shell", "console", "tty"),
    "console": boolean,
    "cores": integer(1, 8192),
    "cpulimit": number(0, 8192),
    "cpuunits": integer(0, 500000),
    "debug": boolean,
    "description": text(8192),
    "entrypoint": text(4096),
    "env": pattern(r"(?:\w+=[^\x00-\x08\x10-\x1F\x7F]*)(?:\0\w+=[^\x00-\x08\x10-\x1F\x7F]*)*"),
    "features": properties(FEATURES),
    "hookscript": anything,
    "hostname": dns_name,
    "lock": one_of(*LOCKS),
    "memory": integer(16),
    "nameserver": anything,
    "onboot": boolean,
    "ostype": one_of(*OSTYPES),
    "parent": anything,
    "protection": boolean,
    "rootfs": properties(VOLUME, "volume"),
    "searchdomain": anything,
    "snaptime": integer(0),
    "startup": pattern(r"(?:(?:order=)?\d+|up=\d+|down=\d+)(?:,(?:order=\d+|up=\d+|down=\d+))*"),
    "swap": integer(0),
    "tags": tags,
    "template": boolean,
    "timezone": anything,
    "tty": integer(0, 6),
    "unprivileged": boolean,
}
OPTIONS |= {f"mp{i}": properties(MOUNT, "volume") for i in range(256)}
OPTIONS |= {f"unused{i}": anything for i in range(256)}
OPTIONS |= {f"net{i}": properties(NETWORK) for i in range(32)}
OPTIONS |= {f"dev{i}": properties(DEVICE, "path") for i in range(256)}


def check(key, value):
    OPTIONS[key](key, value)


def parse_properties(value, default="volume"):
    """A property string that has passed, as a dictionary."""
    out = {}
    for part in value.split(","):
        name, equals, rest = part.partition("=")
        out[name if equals else default] = rest if equals else part
    return out


def print_properties(values, default="volume"):
    first = [values[default]] if default in values else []
    return ",".join(first + [f"{k}={values[k]}" for k in sorted(values) if k != default])
