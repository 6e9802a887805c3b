"""`pct`: the table of its commands, their usage lines, and how an outcome becomes output and exit
code. What a command does is in the `do_…` modules."""

import sys

from . import args, cluster, do_conf, do_life, do_make, do_misc, schema
from .faults import Faults
from .place import here

ANY = lambda key, value: None
CONFIG = {key: check for key, check in schema.OPTIONS.items() if key not in ("parent", "snaptime")}
MAKE = CONFIG | {
    name: ANY
    for name in "storage force restore unique pool password ssh-public-keys ignore-unpack-errors bwlimit start ha-managed".split()
}
CLONE = {name: ANY for name in "hostname pool snapname storage full target bwlimit description".split()}

# command: (usage after the name, positional, optional positional, options, rest allowed, function)
COMMANDS = {
    "clone": ("<vmid> <newid> [OPTIONS]", ["vmid", "newid"], [], CLONE, False, do_make.clone),
    "create": ("<vmid> <ostemplate> [OPTIONS]", ["vmid", "ostemplate"], [], MAKE, False, do_make.create),
    "destroy": ("<vmid> [OPTIONS]", ["vmid"], [], {"force": schema.boolean, "purge": schema.boolean, "destroy-unreferenced-disks": schema.boolean}, False, do_make.destroy),
    "list": ("", [], [], {}, False, do_misc.list_guests),
    "migrate": ("<vmid> <target> [OPTIONS]", ["vmid", "target"], [], {"online": ANY, "restart": ANY, "timeout": ANY, "bwlimit": ANY, "target-storage": ANY}, False, do_misc.migrate),
    "move-volume": ("<vmid> <volume> [<storage>] [<target-vmid>] [<target-volume>] [OPTIONS]", ["vmid", "volume"], ["storage", "target-vmid", "target-volume"], {"delete": ANY, "digest": ANY, "bwlimit": ANY}, False, do_misc.move_volume),
    "pending": ("<vmid>", ["vmid"], [], {}, False, do_conf.pending),
    "resize": ("<vmid> <disk> <size> [OPTIONS]", ["vmid", "disk", "size"], [], {"digest": ANY}, False, do_misc.resize),
    "restore": ("<vmid> <ostemplate> [OPTIONS]", ["vmid", "ostemplate"], [], MAKE, False, do_make.restore),
    "template": ("<vmid>", ["vmid"], [], {}, False, do_make.template),
    "config": ("<vmid> [OPTIONS]", ["vmid"], [], {"current": schema.boolean, "snapshot": ANY}, False, do_conf.config),
    "set": ("<vmid> [OPTIONS]", ["vmid"], [], CONFIG | {"delete": ANY, "revert": ANY, "digest": ANY}, False, do_conf.set_options),
    "delsnapshot": ("<vmid> <snapname> [OPTIONS]", ["vmid", "snapname"], [], {"force": ANY}, False, do_misc.delsnapshot),
    "listsnapshot": ("<vmid>", ["vmid"], [], {}, False, do_misc.listsnapshot),
    "rollback": ("<vmid> <snapname> [OPTIONS]", ["vmid", "snapname"], [], {"start": ANY}, False, do_misc.rollback),
    "snapshot": ("<vmid> <snapname> [OPTIONS]", ["vmid", "snapname"], [], {"description": ANY}, False, do_misc.snapshot),
    "reboot": ("<vmid> [OPTIONS]", ["vmid"], [], {"timeout": ANY}, False, do_life.reboot),
    "resume": ("<vmid>", ["vmid"], [], {}, False, do_life.resume),
    "shutdown": ("<vmid> [OPTIONS]", ["vmid"], [], {"timeout": ANY, "forceStop": ANY}, False, do_life.shutdown),
    "start": ("<vmid> [OPTIONS]", ["vmid"], [], {"skiplock": ANY, "debug": ANY}, False, do_life.start),
    "stop": ("<vmid> [OPTIONS]", ["vmid"], [], {"skiplock": ANY, "overrule-shutdown": ANY}, False, do_life.stop),
    "suspend": ("<vmid>", ["vmid"], [], {}, False, do_life.suspend),
    "console": ("<vmid> [OPTIONS]", ["vmid"], [], {"escape": ANY}, False, do_life.console),
    "cpusets": ("", [], [], {}, False, do_misc.cpusets),
    "df": ("<vmid>", ["vmid"], [], {}, False, do_misc.df),
    "enter": ("<vmid> [OPTIONS]", ["vmid"], [], {"keep-env": ANY}, False, do_life.enter),
    "exec": ("<vmid> [<extra-args>] [OPTIONS]", ["vmid"], [], {"keep-env": ANY}, True, do_life.execute),
    "fsck": ("<vmid> [OPTIONS]", ["vmid"], [], {"device": ANY, "force": ANY}, False, do_misc.fsck),
    "fstrim": ("<vmid> [OPTIONS]", ["vmid"], [], {"ignore-mountpoints": ANY}, False, do_misc.fstrim),
    "mount": ("<vmid>", ["vmid"], [], {}, False, do_misc.mount),
    "pull": ("<vmid> <path> <destination> [OPTIONS]", ["vmid", "path", "destination"], [], {"user": ANY, "group": ANY, "perms": ANY}, False, do_misc.pull),
    "push": ("<vmid> <file> <destination> [OPTIONS]", ["vmid", "file", "destination"], [], {"user": ANY, "group": ANY, "perms": ANY}, False, do_misc.push),
    "rescan": (" [OPTIONS]", [], [], {"vmid": ANY, "dryrun": ANY}, False, do_misc.rescan),
    "status": ("<vmid> [OPTIONS]", ["vmid"], [], {"verbose": schema.boolean}, False, do_misc.status),
    "unlock": ("<vmid>", ["vmid"], [], {}, False, do_conf.unlock),
    "unmount": ("<vmid>", ["vmid"], [], {}, False, do_misc.unmount),
}
GROUPS = [
    "clone create destroy list migrate move-volume pending resize restore template",
    "config set",
    "delsnapshot listsnapshot rollback snapshot",
    "reboot resume shutdown start stop suspend",
    "console cpusets df enter exec fsck fstrim mount pull push remote-migrate rescan status unlock unmount",
    "help",
]
USAGE_ONLY = {
    "remote-migrate": "<vmid> [<target-vmid>] <target-endpoint> --target-bridge <string> --target-storage <string> [OPTIONS]",
    "help": "[<extra-args>] [OPTIONS]",
}


def usage(command):
    text = COMMANDS[command][0] if command in COMMANDS else USAGE_ONLY[command]
    return f"pct {command} {text}"


def all_usage(problem):
    lines = [f"ERROR: {problem}", "USAGE: pct <COMMAND> [ARGS] [OPTIONS]"]
    for group in GROUPS:
        lines.append("")
        lines += [f"       {usage(name)}" for name in group.split()]
    return "\n".join(lines)


def main(argv):
    node = here()
    with open(node.log, "a") as log:
        log.write(" ".join(["pct", *argv]).replace("\n", "\\n") + "\n")
    if not argv:
        return say(all_usage("no command specified"), 255)
    command, rest = argv[0], argv[1:]
    if command not in COMMANDS:
        return say(all_usage(f"unknown command 'pct {command}'"), 255)
    Faults(node).point(f"pct {command}:before")
    _, positional, optional, options, extra, run = COMMANDS[command]
    try:
        named, values, tail = args.parse(rest, positional, options, optional, extra)
        args.verify(named | values, options | {"vmid": schema.vmid, "newid": schema.vmid})
        code = run(node, named, values, tail) or 0
    except args.Usage as problem:
        return say("\n".join([*problem.lines, usage(command)]), 2)
    except cluster.Died as died:
        return say(died.text, died.rc)
    Faults(node).point(f"pct {command}:after")
    return code


def say(text, code):
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    return code
