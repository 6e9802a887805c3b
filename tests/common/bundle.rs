//! A bundle as podman and containerd build them, changed by each test where it needs to.
//! It must not run anything.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A directory with a config.json.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
}

impl Bundle {
    /// Writes a bundle in `dir` for `args`, after `change` had its way with config.json.
    pub fn new(
        dir: &Path,
        rootfs: &Path,
        cgroup: &str,
        args: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Self {
        std::fs::create_dir_all(dir).expect("make the bundle's directory");
        let mut config = config(rootfs, cgroup, args);
        change(&mut config);
        std::fs::write(dir.join("config.json"), config.to_string()).expect("write config.json");
        Self {
            dir: dir.to_owned(),
            config,
        }
    }

    /// A path inside the bundle.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Names of the capabilities that callers give by default, without those a machine may deny.
pub const CAPABILITIES: [&str; 5] = [
    "CAP_CHOWN",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_NET_BIND_SERVICE",
];

/// A process.json, as callers write it for `exec --process`.
pub fn process(args: &[&str]) -> Value {
    json!({
        "terminal": false,
        "user": {"uid": 0, "gid": 0},
        "args": args,
        "env": ["PATH=/bin", "HOME=/root"],
        "cwd": "/",
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": true,
    })
}

fn config(rootfs: &Path, cgroup: &str, args: &[&str]) -> Value {
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": process(args),
        "root": {"path": rootfs, "readonly": false},
        "hostname": "inside",
        "mounts": mounts(),
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    if let Some(backend) = super::backend() {
        config["annotations"] = json!({super::BACKEND_ANNOTATION: backend});
    }
    config
}

fn mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
    ])
}
