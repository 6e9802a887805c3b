//! The one table of what an environment may truly lack; anything else that fails is a failure.
//! It must not excuse a defect of the runtime under test.

use std::path::Path;
use std::process::Command;

use super::command::sh;

struct Lack {
    key: &'static str,
    reason: &'static str,
    missing: fn() -> bool,
}

const TABLE: &[Lack] = &[
    Lack {
        key: "subuid",
        reason: "`--userns=auto` takes its ranges from the user `containers` in /etc/subuid, which has none here",
        missing: || !file_has("/etc/subuid", "containers:"),
    },
    Lack {
        key: "bridge",
        reason: "the kernel can't make a bridge with a veth pair",
        missing: || {
            !sh("ip link add pxtprobe type bridge && ip link del pxtprobe")
                .status()
                .is_ok_and(|s| s.success())
        },
    },
    Lack {
        key: "memory-controller",
        reason: "no memory controller on this machine",
        missing: || super::cgroup::dir(std::process::id() as i32, "memory").is_none(),
    },
    Lack {
        key: "pids-controller",
        reason: "no pids controller on this machine",
        missing: || super::cgroup::dir(std::process::id() as i32, "pids").is_none(),
    },
    Lack {
        key: "cri",
        reason: "containerd's CRI is reached through curl with HTTP/2, which is not installed",
        missing: || !help_has("curl", &["--version"], "HTTP2"),
    },
];

/// True, with the reason printed, when the environment lacks what the test needs.
#[track_caller]
pub fn lacks(key: &str) -> bool {
    let row = TABLE.iter().find(|row| row.key == key);
    let row = row.unwrap_or_else(|| panic!("`{key}` stands in no row of the table of lacks"));
    let missing = (row.missing)();
    if missing {
        println!("NOT RUN HERE: {}", row.reason);
    }
    missing
}

fn file_has(path: impl AsRef<Path>, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|all| all.contains(text))
}

fn help_has(program: &str, args: &[&str], text: &str) -> bool {
    let output = Command::new(program).args(args).output();
    output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(text))
}
