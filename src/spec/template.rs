//! The configuration that `spec` writes: a shell in a sandbox, to be edited.
//! It must not look at the host or write a file.

use serde_json::{Value, json};

/// Version of the OCI runtime spec that the template claims: one that other runtimes take too.
const VERSION: &str = "1.2.0";

/// A new `config.json`. With `rootless`, `uid` and `gid` become root inside a user namespace.
/// `cgroup_v2` adds a cgroup namespace, without which the container would see the host's tree.
pub fn default_spec(rootless: bool, uid: u32, gid: u32, cgroup_v2: bool) -> Value {
    let mut spec = json!({
        "ociVersion": VERSION,
        "process": process(),
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "pxrun",
        "mounts": mounts(rootless),
        "linux": linux(cgroup_v2),
    });
    if rootless {
        make_rootless(&mut spec["linux"], uid, gid);
    }
    spec
}

fn process() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": true,
        "user": { "uid": 0, "gid": 0 },
        "args": ["sh"],
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
        ],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
            "ambient": capabilities,
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": true,
    })
}

/// Without root, group 5 (tty) has no mapping, and a new sysfs needs a network namespace.
fn mounts(rootless: bool) -> Value {
    let mut pts = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    let mut sys = ("sysfs", "sysfs", vec!["nosuid", "noexec", "nodev", "ro"]);
    if rootless {
        sys = (
            "none",
            "/sys",
            vec!["rbind", "nosuid", "noexec", "nodev", "ro"],
        );
    } else {
        pts.push("gid=5");
    }
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        { "destination": "/sys", "type": sys.0, "source": sys.1, "options": sys.2 },
        {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ])
}

fn linux(cgroup_v2: bool) -> Value {
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    if cgroup_v2 {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<_> = namespaces
        .into_iter()
        .map(|t| json!({ "type": t }))
        .collect();
    json!({
        "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "namespaces": namespaces,
        "maskedPaths": [
            "/proc/acpi",
            "/proc/asound",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi",
        ],
        "readonlyPaths": [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ],
    })
}

/// No control over cgroups, the caller's network, and one id of each kind.
fn make_rootless(linux: &mut Value, uid: u32, gid: u32) {
    if let Some(linux) = linux.as_object_mut() {
        linux.shift_remove("resources");
    }
    linux["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
    linux["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "user" }));
    }
}
