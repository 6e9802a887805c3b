//! Each rule: a document that breaks it with the exact message, and one beside it that does not.

use serde_json::{Value, json};

use super::{HostFacts, Validated, WARNED, template};

/// The template with every kind of namespace and mappings for the user namespace.
fn base() -> Value {
    let mut spec = template::default_spec(false, 0, 0, true);
    put(&mut spec, "/linux/namespaces/6", json!({"type": "user"}));
    put(&mut spec, "/linux/namespaces/7", json!({"type": "time"}));
    let map = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
    put(&mut spec, "/linux/uidMappings", map.clone());
    put(&mut spec, "/linux/gidMappings", map);
    spec
}

/// Sets the value at a JSON pointer, with the objects and list items on the way.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let mut node = document;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/");
        node = match (node, step.parse::<usize>()) {
            (Value::Array(items), Ok(index)) => {
                if index == items.len() {
                    items.push(Value::Null);
                }
                &mut items[index]
            }
            (Value::Null, Ok(_)) => panic!("{pointer}: no list"),
            (node, _) => &mut node[step.as_str()],
        };
    }
    *node = value;
}

fn judge(pointer: &str, value: &Value, host: &HostFacts) -> Result<Vec<String>, String> {
    let mut document = base();
    match pointer {
        "" => value.clone_into(&mut document),
        _ => put(&mut document, pointer, value.clone()),
    }
    let valid = Validated::new(document, host).map_err(|error| error.to_string())?;
    Ok(valid.warnings().to_vec())
}

/// Callers read a meaning into these words (podman's `getOCIRuntimeError`, moby's
/// `setExitCodeFromError`, containerd's `checkKillError`, CRI-O's `runtimeCmd`).
const TAKEN: &[&str] = &[
    "no such",
    "not found",
    "does not exist",
    "permission denied",
    "operation not permitted",
    "a directory",
    "not running",
    "invalid process",
    "already finished",
    "path is empty",
];

/// A broken rule: where, what stands there, the whole message, and what could stand there.
type Row = (&'static str, Value, &'static str, Value);

fn run(table: Vec<Row>, host: &HostFacts) {
    for (pointer, bad, expected, good) in table {
        match judge(pointer, &bad, host) {
            Err(text) => {
                assert_eq!(text, expected, "{pointer} = {bad}");
                let lower = text.to_lowercase();
                // An empty command is "no such command", in the words that say so.
                if !lower.contains("executable file not found in $path") {
                    let word = TAKEN.iter().find(|word| lower.contains(**word));
                    assert_eq!(word, None, "{text}");
                }
            }
            Ok(_) => panic!("{pointer} = {bad} passed"),
        }
        if let Err(text) = judge(pointer, &good, host) {
            panic!("{pointer} = {good}: {text}");
        }
    }
}

fn v1() -> HostFacts {
    HostFacts::default()
}

fn v2() -> HostFacts {
    HostFacts {
        cgroup_v2: true,
        ..v1()
    }
}

fn rootless() -> HostFacts {
    HostFacts {
        rootless: true,
        ..v2()
    }
}

/// The namespaces of the base without one type.
fn without(typ: &str) -> Value {
    let mut list = base()["linux"]["namespaces"].clone();
    let list = list.as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != typ);
    json!(list)
}

/// The base without a user namespace and its mappings, with one more change.
fn no_userns(pointer: &str, value: Value) -> Value {
    let mut spec = base();
    put(&mut spec, "/linux/namespaces", without("user"));
    put(&mut spec, "/linux/uidMappings", json!(null));
    put(&mut spec, "/linux/gidMappings", json!(null));
    put(&mut spec, pointer, value);
    spec
}

/// The base without a namespace, with one more change.
fn lacking(typ: &str, pointer: &str, value: Value) -> Value {
    let mut spec = base();
    put(&mut spec, "/hostname", json!(""));
    put(&mut spec, "/linux/namespaces", without(typ));
    put(&mut spec, pointer, value);
    spec
}

#[test]
fn top_level() {
    let bind = |more: Value| {
        let mut mount = json!({"destination": "/m", "source": "/s", "options": ["bind"]});
        for (name, value) in more.as_object().unwrap() {
            mount[name.as_str()] = value.clone();
        }
        mount
    };
    let map = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
    let table: Vec<Row> = vec![
        (
            "",
            json!([]),
            "config.json: `[]`, expected an object",
            base(),
        ),
        (
            "/ociVersion",
            json!(null),
            "ociVersion: missing, expected a string",
            json!("1.3.0"),
        ),
        (
            "/ociVersion",
            json!(1.2),
            "ociVersion: `1.2`, expected a string",
            json!("1.2.9"),
        ),
        (
            "/ociVersion",
            json!("2.0.0"),
            "ociVersion: `2.0.0`, expected a version 1.x",
            json!("1.0.0-rc1"),
        ),
        (
            "/ociVersion",
            json!("0.6.0"),
            "ociVersion: `0.6.0`, expected a version 1.x",
            json!("1.99.0"),
        ),
        (
            "/ociVersion",
            json!("1.0"),
            "ociVersion: `1.0`, expected a version such as `1.2.0` (SemVer 2.0.0)",
            json!("1.0.2-dev"),
        ),
        (
            "/root",
            json!(null),
            "root: missing, expected an object",
            json!({"path": "/r"}),
        ),
        (
            "/root/path",
            json!(""),
            "root.path: ``, expected a name",
            json!("../r"),
        ),
        (
            "/root/path",
            json!("a\0"),
            "root.path: `a\\u{0}`, expected no NUL byte",
            json!("a b"),
        ),
        (
            "/root/readonly",
            json!("true"),
            "root.readonly: `true`, expected true or false",
            json!(null),
        ),
        (
            "/hostname",
            json!("h".repeat(65)),
            "hostname: `hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh`, expected a name of at most 64 bytes",
            json!("h".repeat(64)),
        ),
        (
            "",
            lacking("uts", "/hostname", json!("h")),
            "hostname: `h`, expected a `uts` entry in linux.namespaces",
            lacking("uts", "/hostname", json!("")),
        ),
        (
            "",
            lacking("uts", "/domainname", json!("d")),
            "domainname: `d`, expected a `uts` entry in linux.namespaces",
            lacking("uts", "/domainname", json!(null)),
        ),
        (
            "/annotations",
            json!({"": "x"}),
            "annotations: empty key, expected a name",
            json!({"a": ""}),
        ),
        (
            "/annotations",
            json!({"a": 1}),
            "annotations[a]: `1`, expected a string",
            json!({"a": "\0"}),
        ),
        (
            "/hooks",
            json!({"poststop": [{"path": "h"}]}),
            "hooks.poststop[0].path: `h`, expected an absolute path",
            json!({"poststop": [{"path": "/h"}]}),
        ),
        (
            "/hooks",
            json!({"prestart": [{"path": "/h", "timeout": 0}]}),
            "hooks.prestart[0].timeout: `0`, expected a number of seconds greater than 0",
            json!({"prestart": [{"path": "/h", "timeout": 1}]}),
        ),
        (
            "/hooks",
            json!({"createRuntime": [{}]}),
            "hooks.createRuntime[0].path: missing, expected an absolute path",
            json!({"createRuntime": []}),
        ),
        (
            "/hooks",
            json!({"startContainer": [{"path": "/h", "args": ["a\0"]}]}),
            "hooks.startContainer[0].args[0]: `a\\u{0}`, expected no NUL byte",
            json!({"unknown": 1}),
        ),
        (
            "/mounts/0",
            json!({"type": "proc"}),
            "mounts[0].destination: missing, expected a name",
            json!({"destination": "/p", "type": "proc"}),
        ),
        (
            "/mounts/0",
            json!({"destination": "/p"}),
            "mounts[0].type: missing, expected a file system type, or the option `bind`",
            json!({"destination": "/p", "options": ["remount", "ro"]}),
        ),
        (
            "/mounts/7",
            bind(json!({"source": ""})),
            "mounts[7].source: missing, expected the path to bind",
            bind(json!({"source": "relative"})),
        ),
        (
            "/mounts/7",
            bind(json!({"options": ["bind", "rrro"]})),
            "mounts[7].options[1]: `rrro`, expected a mount option",
            bind(json!({"options": ["rbind", "rro", "rnosuid"]})),
        ),
        (
            "/mounts/7",
            bind(json!({"uidMappings": map})),
            "mounts[7].gidMappings: missing, expected mappings: uidMappings and gidMappings go together",
            bind(json!({"uidMappings": map, "gidMappings": map})),
        ),
        (
            "/mounts/7",
            json!({"destination": "/m", "type": "tmpfs", "uidMappings": map, "gidMappings": map}),
            "mounts[7]: id mappings, which only bind mounts can have",
            bind(json!({"options": ["rbind", "idmap"]})),
        ),
        (
            "/mounts/7",
            bind(json!({"uidMappings": [{"size": 0}], "gidMappings": map})),
            "mounts[7].uidMappings[0].size: `0`, expected a number of ids greater than 0",
            bind(json!({"uidMappings": [{"size": 1}], "gidMappings": map})),
        ),
        (
            "",
            no_userns("/mounts/7", bind(json!({"options": ["bind", "ridmap"]}))),
            "mounts[7].options: `idmap` without mappings, expected a `user` entry in linux.namespaces",
            no_userns(
                "/mounts/7",
                bind(json!({"uidMappings": map, "gidMappings": map})),
            ),
        ),
        (
            "/mounts/0/options",
            json!(["a\0"]),
            "mounts[0].options[0]: `a\\u{0}`, expected no NUL byte",
            json!(["a"]),
        ),
    ];
    run(table, &v1());
}

#[test]
fn process() {
    let table: Vec<Row> = vec![
        (
            "/process",
            json!(null),
            "process: missing, expected an object",
            json!({"args": ["a"], "cwd": "/"}),
        ),
        (
            "/process/cwd",
            json!(""),
            "process.cwd: ``, expected an absolute path",
            json!("/"),
        ),
        (
            "/process/cwd",
            json!("tmp"),
            "process.cwd: `tmp`, expected an absolute path",
            json!("/tmp"),
        ),
        (
            "/process/args",
            json!([]),
            "process.args: empty, expected a program and its arguments",
            json!(["a", ""]),
        ),
        (
            "/process/args",
            json!([""]),
            "process.args[0]: exec: \"\": executable file not found in $PATH",
            json!(["a"]),
        ),
        (
            "/process/args",
            json!(["a", "b\0"]),
            "process.args[1]: `b\\u{0}`, expected no NUL byte",
            json!(["a\n"]),
        ),
        (
            "/process/args",
            json!("sh"),
            "process.args: `sh`, expected a list",
            json!(["sh"]),
        ),
        (
            "/process/env",
            json!(["A"]),
            "process.env[0]: `A`, expected NAME=value",
            json!(["A="]),
        ),
        (
            "/process/env",
            json!(["=A"]),
            "process.env[0]: `=A`, expected NAME=value",
            json!(["A=="]),
        ),
        (
            "/process/env",
            json!(["A=\0"]),
            "process.env[0]: `A=\\u{0}`, expected no NUL byte",
            json!(null),
        ),
        (
            "/process/user/uid",
            json!(-1),
            "process.user.uid: `-1`, expected an id from 0 to 4294967294",
            json!(1),
        ),
        (
            "/process/user/gid",
            json!(4294967295_u32),
            "process.user.gid: `4294967295`, expected an id from 0 to 4294967294",
            json!(1),
        ),
        (
            "/process/user/uid",
            json!(65536),
            "process.user.uid: `65536`, expected an id that linux.uidMappings maps",
            json!(65535),
        ),
        (
            "/process/user/additionalGids",
            json!([1, 65536]),
            "process.user.additionalGids[1]: `65536`, expected an id that linux.gidMappings maps",
            json!([1]),
        ),
        (
            "/process/user/additionalGids",
            json!(vec![0; 65537]),
            "process.user.additionalGids: `65537`, expected at most 65536 groups",
            json!(vec![0; 65536]),
        ),
        (
            "/process/user/umask",
            json!(512),
            "process.user.umask: `512`, expected file mode bits from 0 to 511 (0777)",
            json!(63),
        ),
        (
            "/process/consoleSize",
            json!({"height": 65536, "width": 1}),
            "process.consoleSize.height: `65536`, expected a number of characters up to 65535",
            json!({"height": 65535, "width": 1}),
        ),
        (
            "/process/oomScoreAdj",
            json!(1001),
            "process.oomScoreAdj: `1001`, expected a number from -1000 to 1000",
            json!(-1000),
        ),
        (
            "/process/noNewPrivileges",
            json!(0),
            "process.noNewPrivileges: `0`, expected true or false",
            json!(false),
        ),
        (
            "/process/capabilities/bounding",
            json!([7]),
            "process.capabilities.bounding[0]: `7`, expected a string",
            json!([]),
        ),
        (
            "/process/rlimits/0/type",
            json!("RLIMIT_FOO"),
            "process.rlimits[0].type: `RLIMIT_FOO`, expected the name of a limit such as RLIMIT_NOFILE",
            json!("RLIMIT_CORE"),
        ),
        (
            "/process/rlimits/0/soft",
            json!(1025),
            "process.rlimits[0].soft: `1025`, expected at most the hard limit `1024`",
            json!(0),
        ),
        (
            "/process/rlimits/1",
            json!({"type": "RLIMIT_NOFILE"}),
            "process.rlimits[1].type: `RLIMIT_NOFILE`, expected each type once",
            json!({"type": "RLIMIT_CPU"}),
        ),
        (
            "/process/scheduler",
            json!({"nice": 1}),
            "process.scheduler.policy: missing, expected a scheduling policy: SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE, SCHED_DEADLINE",
            json!({"policy": "SCHED_BATCH", "nice": -20, "priority": 0, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]}),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            "process.scheduler.nice: `20`, expected a number from -20 to 19",
            json!({"policy": "SCHED_ISO"}),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "priority": 1}),
            "process.scheduler.priority: `1`, expected a priority only with SCHED_FIFO or SCHED_RR",
            json!({"policy": "SCHED_RR", "priority": 99}),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_FIFO"}),
            "process.scheduler.priority: `0`, expected a number from 1 to 99",
            json!({"policy": "SCHED_FIFO", "priority": 1}),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "period": 1}),
            "process.scheduler.period: `1`, expected a time only with SCHED_DEADLINE",
            json!({"policy": "SCHED_OTHER", "period": 0}),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 2048, "deadline": 1024}),
            "process.scheduler: `2048, 1024, 1024`, expected 1024 ns <= runtime <= deadline <= period",
            json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2048}),
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_IDLE", "flags": ["X"]}),
            "process.scheduler.flags[0]: `X`, expected a scheduling flag: SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_UTIL_CLAMP_MIN, SCHED_FLAG_UTIL_CLAMP_MAX",
            json!({"policy": "SCHED_IDLE", "flags": []}),
        ),
        (
            "/process/ioPriority",
            json!({"class": ""}),
            "process.ioPriority.class: ``, expected a class: IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE",
            json!({"class": "IOPRIO_CLASS_RT"}),
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "process.ioPriority.priority: `8`, expected a number from 0 to 7",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 7}),
        ),
        (
            "/process/execCPUAffinity",
            json!({"initial": "a"}),
            "process.execCPUAffinity.initial: `a`, expected a list of CPUs such as `0-1,3`",
            json!({"initial": "0", "final": ""}),
        ),
        (
            "/process/selinuxLabel",
            json!("a:b"),
            "process.selinuxLabel: `a:b`, expected no label: SELinux is off on this host",
            json!(""),
        ),
        (
            "/process/apparmorProfile",
            json!("p"),
            "process.apparmorProfile: `p`, expected no profile: AppArmor is off on this host",
            json!("unconfined"),
        ),
    ];
    run(table, &v1());
    let all_on = HostFacts {
        selinux: true,
        apparmor: true,
        ..v1()
    };
    assert_eq!(
        judge("/process/selinuxLabel", &json!("a:b"), &all_on),
        Ok(vec![])
    );
    assert_eq!(
        judge("/process/apparmorProfile", &json!("p"), &all_on),
        Ok(vec![])
    );
    assert_eq!(
        judge("/linux/mountLabel", &json!("a:b"), &all_on),
        Ok(vec![])
    );
}

#[test]
fn linux() {
    let first = json!({"containerID": 0, "hostID": 0, "size": 10});
    let many: Vec<_> = (0..341)
        .map(|id| json!({"containerID": id, "hostID": id, "size": 1}))
        .collect();
    let table: Vec<Row> = vec![
        (
            "/linux/namespaces/6",
            json!({"type": "pid"}),
            "linux.namespaces[6].type: `pid`, expected each type once; linux.uidMappings: mappings, expected a `user` entry in linux.namespaces; linux.gidMappings: mappings, expected a `user` entry in linux.namespaces",
            json!({"type": "user"}),
        ),
        (
            "/linux/namespaces/0",
            json!({"type": "foo"}),
            "linux.namespaces[0].type: `foo`, expected a namespace type: cgroup, ipc, mount, network, pid, time, user, uts",
            json!({"type": "pid", "path": "/proc/1/ns/pid"}),
        ),
        (
            "/linux/namespaces/0",
            json!({"type": "pid", "path": "p"}),
            "linux.namespaces[0].path: `p`, expected an absolute path",
            json!({"type": "pid", "path": ""}),
        ),
        (
            "/linux/uidMappings",
            json!([]),
            "linux.uidMappings: missing, expected at least one mapping for the new user namespace",
            json!([first]),
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 1, "hostID": 1, "size": 1}]),
            "process.user.uid: `0`, expected an id that linux.uidMappings maps; linux.uidMappings: `1 1 1`, expected a mapping for id 0 in the container",
            json!([first]),
        ),
        (
            "/linux/uidMappings",
            json!([first, {"containerID": 9, "hostID": 20, "size": 1}]),
            "linux.uidMappings[1]: `9 20 1`, expected ids that no earlier mapping has",
            json!([first, {"containerID": 10, "hostID": 20, "size": 1}]),
        ),
        (
            "/linux/gidMappings",
            json!([first, {"containerID": 20, "hostID": 9, "size": 1}]),
            "linux.gidMappings[1]: `20 9 1`, expected ids that no earlier mapping has",
            json!([first, {"containerID": 20, "hostID": 10, "size": 1}]),
        ),
        (
            "/linux/gidMappings",
            json!([{"size": 1, "hostID": 4294967295_u32}]),
            "linux.gidMappings[0]: `0 4294967295 1`, expected ids that end before 4294967295",
            json!([{"size": 1, "hostID": 4294967294_u32}]),
        ),
        (
            "/linux/gidMappings",
            json!(many),
            "linux.gidMappings: `341`, expected at most 340 mappings",
            json!(&many[..340]),
        ),
        (
            "",
            lacking(
                "time",
                "/linux/timeOffsets",
                json!({"monotonic": {"secs": 1}}),
            ),
            "linux.timeOffsets: offsets, expected a `time` entry without path in linux.namespaces",
            lacking("time", "/linux/timeOffsets", json!({})),
        ),
        (
            "/linux/timeOffsets",
            json!({"realtime": {}}),
            "linux.timeOffsets: `realtime`, expected monotonic or boottime",
            json!({"monotonic": {"secs": -1, "nanosecs": 999999999}}),
        ),
        (
            "/linux/timeOffsets",
            json!({"boottime": {"nanosecs": 1000000000}}),
            "linux.timeOffsets[boottime].nanosecs: `1000000000`, expected a number of nanoseconds less than a second",
            json!({"boottime": {}}),
        ),
        (
            "/linux/netDevices",
            json!({"a/b": {}}),
            "linux.netDevices: `a/b`, expected an interface name of 1 to 15 bytes without `/`, `:` and spaces",
            json!({"eth0": null}),
        ),
        (
            "/linux/netDevices",
            json!({"eth0": {"name": ".."}}),
            "linux.netDevices[eth0].name: `..`, expected an interface name of 1 to 15 bytes without `/`, `:` and spaces",
            json!({"eth0": {"name": "..."}}),
        ),
        (
            "/linux/netDevices",
            json!({"eth0": {"name": "abcdefghijklmnop"}}),
            "linux.netDevices[eth0].name: `abcdefghijklmnop`, expected an interface name of 1 to 15 bytes without `/`, `:` and spaces",
            json!({"eth0": {"name": "abcdefghijklmno"}}),
        ),
        (
            "/linux/netDevices",
            json!({"a": {}, "b": {"name": "a"}}),
            "linux.netDevices[b].name: `a`, expected a name that `a` does not take",
            json!({"a": {"name": "b"}, "b": {"name": "a"}}),
        ),
        (
            "",
            lacking("network", "/linux/netDevices", json!({"a": {}})),
            "linux.netDevices: devices, expected a `network` entry in linux.namespaces",
            lacking("network", "/linux/netDevices", json!({})),
        ),
        (
            "/linux/intelRdt",
            json!({"closID": ".."}),
            "linux.intelRdt.closID: `..`, expected the name of one directory",
            json!({"closID": "a"}),
        ),
        (
            "/linux/intelRdt",
            json!({"closID": "a/b"}),
            "linux.intelRdt.closID: `a/b`, expected the name of one directory",
            json!({"closID": ""}),
        ),
        (
            "/linux/intelRdt",
            json!({"memBwSchema": "L3:0=1"}),
            "linux.intelRdt.memBwSchema: `L3:0=1`, expected one line that starts with `MB:`",
            json!({"memBwSchema": "MB:0=20"}),
        ),
        (
            "/linux/intelRdt",
            json!({"schemata": ["a\nb"]}),
            "linux.intelRdt.schemata[0]: `a\\nb`, expected one line",
            json!({"schemata": ["a", "b"]}),
        ),
        (
            "/linux/memoryPolicy",
            json!({"nodes": "0"}),
            "linux.memoryPolicy.mode: missing, expected a memory policy mode: MPOL_BIND, MPOL_DEFAULT, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_PREFERRED, MPOL_PREFERRED_MANY, MPOL_WEIGHTED_INTERLEAVE",
            json!({"mode": "MPOL_LOCAL"}),
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND"}),
            "linux.memoryPolicy.nodes: missing, expected a list of nodes for MPOL_BIND",
            json!({"mode": "MPOL_PREFERRED"}),
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_DEFAULT", "nodes": "0"}),
            "linux.memoryPolicy.nodes: `0`, expected no nodes with MPOL_DEFAULT",
            json!({"mode": "MPOL_DEFAULT", "nodes": ""}),
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "1-0"}),
            "linux.memoryPolicy.nodes: `1-0`, expected a list of nodes such as `0-1,3`",
            json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_NUMA_BALANCING"]}),
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            "linux.memoryPolicy.flags: `MPOL_PREFERRED`, expected MPOL_F_NUMA_BALANCING only with MPOL_BIND or MPOL_PREFERRED_MANY",
            json!({"mode": "MPOL_PREFERRED", "nodes": "1", "flags": ["MPOL_F_STATIC_NODES"]}),
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
            "linux.memoryPolicy.flags: `MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES`, expected at most one of the two",
            json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
        ),
        (
            "/linux/sysctl",
            json!({"kernel.core_pattern": "x"}),
            "linux.sysctl[kernel.core_pattern]: belongs to no namespace, setting it would change the host",
            json!({"kernel.sem": "1", "kernel/domainname": "x", "fs.mqueue.msg_max": "1"}),
        ),
        (
            "/linux/sysctl",
            json!({"kernel.hostname": "x"}),
            "linux.sysctl[kernel.hostname]: conflicts with the field `hostname`",
            json!({"net/ipv4/ip_forward": "1"}),
        ),
        (
            "/linux/sysctl",
            json!({"net/../kernel/core_pattern": "x"}),
            "linux.sysctl[net/../kernel/core_pattern]: expected the name of a kernel parameter",
            json!({}),
        ),
        (
            "/linux/sysctl",
            json!({"net.x": 1}),
            "linux.sysctl[net.x]: `1`, expected a string",
            json!({"net.x": "1"}),
        ),
        (
            "",
            lacking("network", "/linux/sysctl", json!({"net.x": "1"})),
            "linux.sysctl[net.x]: expected a `network` entry in linux.namespaces",
            lacking("network", "/linux/sysctl", json!({"kernel.sem": "1"})),
        ),
        (
            "",
            lacking("ipc", "/linux/sysctl", json!({"fs.mqueue.x": "1"})),
            "linux.sysctl[fs.mqueue.x]: expected an `ipc` entry in linux.namespaces",
            lacking("ipc", "/linux/sysctl", json!({"net.x": "1"})),
        ),
        (
            "",
            lacking("uts", "/linux/sysctl", json!({"kernel.domainname": "x"})),
            "linux.sysctl[kernel.domainname]: expected a `uts` entry in linux.namespaces",
            lacking("uts", "/linux/sysctl", json!(null)),
        ),
        (
            "/linux/maskedPaths",
            json!(["proc"]),
            "linux.maskedPaths[0]: `proc`, expected an absolute path",
            json!(["/proc/x", "/proc/x"]),
        ),
        (
            "/linux/readonlyPaths",
            json!(["/a\0"]),
            "linux.readonlyPaths[0]: `/a\\u{0}`, expected no NUL byte",
            json!(null),
        ),
        (
            "",
            lacking("mount", "/linux/maskedPaths", json!(null)),
            "linux.readonlyPaths: paths, expected a `mount` entry in linux.namespaces",
            base(),
        ),
        (
            "",
            lacking("mount", "/linux/readonlyPaths", json!([])),
            "linux.maskedPaths: paths, expected a `mount` entry in linux.namespaces",
            base(),
        ),
        (
            "/linux/rootfsPropagation",
            json!("x"),
            "linux.rootfsPropagation: `x`, expected a propagation: private, rprivate, rshared, rslave, runbindable, shared, slave, unbindable",
            json!("rshared"),
        ),
        (
            "/linux/personality",
            json!({"domain": ""}),
            "linux.personality.domain: ``, expected an execution domain: LINUX, LINUX32",
            json!({"domain": "LINUX32"}),
        ),
        (
            "/linux/devices",
            json!([{"path": "dev/x", "type": "c", "major": 1, "minor": 3}]),
            "linux.devices[0].path: `dev/x`, expected an absolute path",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]),
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "a"}]),
            "linux.devices[0].type: `a`, expected a device type: c, b, u, p",
            json!([{"path": "/dev/x", "type": "p"}]),
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "b", "major": 8}]),
            "linux.devices[0].minor: missing, expected a device number from 0 to 1048575",
            json!([{"path": "/dev/x", "type": "b", "major": 4095, "minor": 1048575}]),
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "p", "uid": 4294967295_u32}]),
            "linux.devices[0].uid: `4294967295`, expected an id from 0 to 4294967294",
            json!([{"path": "/dev/x", "type": "p", "uid": 1}]),
        ),
    ];
    run(table, &v1());
}

#[test]
fn resources() {
    let table: Vec<Row> = vec![
        (
            "/linux/resources/memory",
            json!({"limit": -5}),
            "linux.resources.memory.limit: `-5`, expected a number of bytes, or -1 for none",
            json!({"limit": -1}),
        ),
        (
            "/linux/resources/memory",
            json!({"limit": "5"}),
            "linux.resources.memory.limit: `5`, expected a number of bytes, or -1 for none",
            json!({"limit": 0}),
        ),
        (
            "/linux/resources/memory",
            json!({"limit": 5, "swap": 4}),
            "linux.resources.memory.swap: `4`, expected at least the memory limit `5`, which it includes",
            json!({"limit": 5, "swap": 5}),
        ),
        (
            "/linux/resources/memory",
            json!({"swap": 4}),
            "linux.resources.memory.swap: `4`, expected a memory limit beside it",
            json!({"swap": -1}),
        ),
        (
            "/linux/resources/memory",
            json!({"swappiness": 101}),
            "linux.resources.memory.swappiness: `101`, expected a number from 0 to 100",
            json!({"swappiness": 100}),
        ),
        (
            "/linux/resources/cpu",
            json!({"quota": -2}),
            "linux.resources.cpu.quota: `-2`, expected a number of microseconds, or -1 for none",
            json!({"quota": -1, "shares": 0}),
        ),
        (
            "/linux/resources/cpu",
            json!({"cpus": "x"}),
            "linux.resources.cpu.cpus: `x`, expected a list of numbers such as `0-1,3`",
            json!({"cpus": "0-3,5", "mems": ""}),
        ),
        (
            "/linux/resources/cpu",
            json!({"mems": "1-"}),
            "linux.resources.cpu.mems: `1-`, expected a list of numbers such as `0-1,3`",
            json!({"mems": "0"}),
        ),
        (
            "/linux/resources/cpu",
            json!({"idle": 2}),
            "linux.resources.cpu.idle: `2`, expected 0 or 1",
            json!({"idle": 1}),
        ),
        (
            "/linux/resources/pids",
            json!({"limit": -2}),
            "linux.resources.pids.limit: `-2`, expected a number of processes, or -1 for none",
            json!({}),
        ),
        (
            "/linux/resources/devices",
            json!([{"allow": true}]),
            "linux.resources.devices[0].access: missing, expected letters of `rwm`",
            json!([{"allow": true, "access": "m"}]),
        ),
        (
            "/linux/resources/devices",
            json!([{"access": "x"}]),
            "linux.resources.devices[0].access: `x`, expected letters of `rwm`",
            json!(null),
        ),
        (
            "/linux/resources/devices",
            json!([{"type": "p", "access": "r"}]),
            "linux.resources.devices[0].type: `p`, expected a device type: a, b, c",
            json!([{"type": "", "access": "r"}]),
        ),
        (
            "/linux/resources/devices",
            json!([{"major": -2, "access": "r"}]),
            "linux.resources.devices[0].major: `-2`, expected a device number, or -1 for all",
            json!([{"major": -1, "access": "r"}]),
        ),
        (
            "/linux/resources/blockIO",
            json!({"weight": 1001}),
            "linux.resources.blockIO.weight: `1001`, expected a weight from 10 to 1000, or 0 for none",
            json!({"weight": 1000}),
        ),
        (
            "/linux/resources/blockIO",
            json!({"throttleReadIOPSDevice": [{"major": 8, "minor": 0}]}),
            "linux.resources.blockIO.throttleReadIOPSDevice[0].rate: missing, expected a number from 0 on",
            json!({"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 1}]}),
        ),
        (
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "../2MB", "limit": 1}]),
            "linux.resources.hugepageLimits[0].pageSize: `../2MB`, expected a size such as `2MB` or `1GB`",
            json!([{"pageSize": "64KB", "limit": 1}]),
        ),
        (
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 1}, {"pageSize": "2MB", "limit": 2}]),
            "linux.resources.hugepageLimits[1].pageSize: `2MB`, expected each size once",
            json!([]),
        ),
        (
            "/linux/resources/network",
            json!({"priorities": [{"name": "a b", "priority": 1}]}),
            "linux.resources.network.priorities[0].name: `a b`, expected an interface name",
            json!({"classID": 1, "priorities": [{"name": "lo", "priority": 1}]}),
        ),
        (
            "/linux/resources/rdma",
            json!({"mlx": {}}),
            "linux.resources.rdma[mlx]: missing, expected hcaHandles or hcaObjects",
            json!({"mlx": {"hcaObjects": 0}}),
        ),
        (
            "/linux/resources/rdma",
            json!({"a b": {"hcaObjects": 0}}),
            "linux.resources.rdma[a b]: expected the name of an RDMA device",
            json!({}),
        ),
        (
            "/linux/resources/unified",
            json!({"a/b.c": "1"}),
            "linux.resources.unified: `a/b.c`, expected the name of a file such as `memory.high`",
            json!({"memory.high": "1"}),
        ),
        (
            "/linux/resources/unified",
            json!({"..": "1"}),
            "linux.resources.unified: `..`, expected the name of a file such as `memory.high`",
            json!({}),
        ),
    ];
    run(table, &v2());
    let table: Vec<Row> = vec![(
        "/linux/resources/unified",
        json!({"memory.high": "1"}),
        "linux.resources.unified: cgroup v2 parameters, but this host has cgroup v1",
        json!({}),
    )];
    run(table, &v1());
    assert_eq!(
        judge("/linux/resources/memory", &json!({"swap": 4}), &v1()),
        Ok(vec![])
    );
}

#[test]
fn seccomp() {
    let rule = |action: &str, more: Value| {
        let mut rule = json!({"names": ["read"], "action": action});
        for (name, value) in more.as_object().unwrap() {
            rule[name.as_str()] = value.clone();
        }
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "syscalls": [rule]})
    };
    let arg = |more: Value| {
        let mut arg = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
        for (name, value) in more.as_object().unwrap() {
            arg[name.as_str()] = value.clone();
        }
        rule("SCMP_ACT_LOG", json!({"args": [arg]}))
    };
    let table: Vec<Row> = vec![
        (
            "/linux/seccomp",
            json!({"defaultAction": "X"}),
            "linux.seccomp.defaultAction: `X`, expected an action: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, SCMP_ACT_TRAP",
            json!({"defaultAction": "SCMP_ACT_KILL"}),
        ),
        (
            "/linux/seccomp",
            json!({"syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG"}]}),
            "linux.seccomp.defaultAction: missing, expected an action",
            json!({"defaultAction": "SCMP_ACT_LOG"}),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_LOG", "architectures": ["x"]}),
            "linux.seccomp.architectures[0]: `x`, expected an architecture such as SCMP_ARCH_X86_64",
            json!({"defaultAction": "SCMP_ACT_LOG", "architectures": super::seccomp::ARCHS}),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_LOG", "flags": ["x"]}),
            "linux.seccomp.flags[0]: `x`, expected a filter flag: SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            json!({"defaultAction": "SCMP_ACT_LOG", "flags": super::seccomp::FLAGS}),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
            "linux.seccomp.defaultErrnoRet: `1`, expected no errno with SCMP_ACT_ALLOW",
            json!({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65535}),
        ),
        (
            "/linux/seccomp",
            rule("SCMP_ACT_ERRNO", json!({"errnoRet": 4096})),
            "linux.seccomp.syscalls[0].errnoRet: `4096`, expected an errno up to 4095",
            rule("SCMP_ACT_ERRNO", json!({"errnoRet": 4095})),
        ),
        (
            "/linux/seccomp",
            rule("SCMP_ACT_TRACE", json!({"errnoRet": 65536})),
            "linux.seccomp.syscalls[0].errnoRet: `65536`, expected a number up to 65535",
            rule("SCMP_ACT_TRACE", json!({})),
        ),
        (
            "/linux/seccomp",
            rule("", json!({})),
            "linux.seccomp.syscalls[0].action: ``, expected an action: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, SCMP_ACT_TRAP",
            rule("SCMP_ACT_TRAP", json!({})),
        ),
        (
            "/linux/seccomp",
            rule("SCMP_ACT_LOG", json!({"names": [""]})),
            "linux.seccomp.syscalls[0].names: ``, expected names of system calls",
            rule("SCMP_ACT_LOG", json!({"names": ["future_call"]})),
        ),
        (
            "/linux/seccomp",
            arg(json!({"index": 6})),
            "linux.seccomp.syscalls[0].args[0].index: `6`, expected the index of an argument from 0 to 5",
            arg(json!({"index": 5})),
        ),
        (
            "/linux/seccomp",
            arg(json!({"op": "EQ"})),
            "linux.seccomp.syscalls[0].args[0].op: `EQ`, expected an operator: SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_LE, SCMP_CMP_LT, SCMP_CMP_MASKED_EQ, SCMP_CMP_NE",
            arg(json!({"op": "SCMP_CMP_MASKED_EQ", "valueTwo": 1})),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
            "linux.seccomp.defaultAction: `SCMP_ACT_NOTIFY`, expected any other action",
            rule("SCMP_ACT_NOTIFY", json!({})),
        ),
        (
            "/linux/seccomp",
            rule("SCMP_ACT_NOTIFY", json!({"names": ["write"]})),
            "linux.seccomp.syscalls: SCMP_ACT_NOTIFY for `write`, which the runtime itself needs",
            rule("SCMP_ACT_NOTIFY", json!({"names": ["mkdir"]})),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]}),
            "linux.seccomp.listenerPath: missing, expected the socket of the agent for SCMP_ACT_NOTIFY",
            json!({"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/s"}),
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "m"}),
            "linux.seccomp.listenerMetadata: metadata, expected a listenerPath",
            json!({"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "m", "listenerPath": "/s"}),
        ),
    ];
    run(table, &v1());
}

#[test]
fn without_root() {
    let map = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
    let idmapped = json!({"destination": "/m", "source": "/s", "type": "bind", "uidMappings": map, "gidMappings": map});
    let pts = |gid: &str| json!({"destination": "/d", "type": "devpts", "options": [gid]});
    let table: Vec<Row> = vec![
        (
            "",
            no_userns("/hostname", json!("h")),
            "linux.namespaces: no `user` entry, which a runtime without root needs",
            base(),
        ),
        (
            "/mounts/7",
            idmapped,
            "mounts[7]: id mappings, which only root can mount with",
            json!({"destination": "/m", "type": "tmpfs"}),
        ),
        (
            "/mounts/2",
            pts("gid=65536"),
            "mounts[2].options[0]: `gid=65536`, expected an id that linux.gidMappings maps",
            pts("gid=5"),
        ),
        (
            "/linux/netDevices",
            json!({"a": {}}),
            "linux.netDevices: devices, which only root can move",
            json!({}),
        ),
    ];
    run(table, &rootless());
}

#[test]
fn many_problems_end_in_a_count() {
    let mut spec = base();
    put(
        &mut spec,
        "/process/env",
        json!(["a", "b", "c", "d", "e", "f", "g"]),
    );
    let text = Validated::new(spec, &v1()).unwrap_err().to_string();
    assert!(text.starts_with("process.env[0]: `a`, expected NAME=value; process.env[1]"));
    assert!(text.ends_with("process.env[4]: `e`, expected NAME=value; and 2 more"));
}

#[test]
fn each_warned_case_warns() {
    let mut joined = base();
    put(
        &mut joined,
        "/linux/namespaces/6/path",
        json!("/proc/1/ns/user"),
    );
    let table = [
        (
            "/process/capabilities/ambient",
            json!(["CAP_KILL", "kill", "CAP_\n"]),
            vec![
                "process.capabilities.ambient: `kill`: unknown capability, dropped",
                "process.capabilities.ambient: `CAP_\\n`: unknown capability, dropped",
            ],
        ),
        (
            "/linux/personality",
            json!({"domain": "LINUX", "flags": ["F"]}),
            vec!["linux.personality.flags: `F`: no personality flag is supported, ignored"],
        ),
        (
            "/linux/resources/memory",
            json!({"kernel": 1}),
            vec![
                "linux.resources.memory.kernel: `1`: kernels no longer limit kernel memory apart, ignored",
            ],
        ),
        (
            "/mounts/0/destination",
            json!("proc"),
            vec!["mounts[0].destination: `proc`: relative destination, taken from `/`"],
        ),
        (
            "/linux/mountLabel",
            json!("a:b"),
            vec!["linux.mountLabel: `a:b`: SELinux is off on this host, ignored"],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "", "syscalls": null}),
            vec!["linux.seccomp: `{}`: no default action and no rules, no filter is loaded"],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": null, "action": "SCMP_ACT_LOG"}]}),
            vec!["linux.seccomp.syscalls[0].names: `[]`: rule without system calls, dropped"],
        ),
        (
            "",
            joined,
            vec![
                "linux.uidMappings: `0 100000 65536`: the user namespace to join brings its own mappings, these are not written",
                "linux.gidMappings: `0 100000 65536`: the user namespace to join brings its own mappings, these are not written",
            ],
        ),
    ];
    let mut seen = Vec::new();
    for (pointer, value, expected) in table {
        let warnings = judge(pointer, &value, &v1()).unwrap();
        assert_eq!(warnings, expected, "{pointer}");
        seen.extend(warnings);
    }
    for warned in WARNED {
        let reached = seen.iter().any(|line| line.ends_with(warned.reason));
        assert!(reached, "{}: no test", warned.path);
    }
}
