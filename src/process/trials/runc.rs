//! The same process object through runc: what the kernel says about both must be the same.
//! It must not fail where runc is missing; it then says so.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::rig::Trial;

/// Lines of `/proc/self/status` that the runtime decides; not SigIgn, where runc 1.1 keeps what its
/// caller ignores of the real-time signals.
const FIELDS: &[&str] = &[
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "SigBlk",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
];

#[test]
fn status_limits_and_environment_are_those_of_runc() {
    if Command::new("runc").arg("--version").output().is_err() {
        println!("skipped: runc is not installed");
        return;
    }
    let script = "cat /proc/self/status; cat /proc/self/limits; env; pwd";
    let kill = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let caps = json!({"bounding": kill, "permitted": kill, "effective": kill});
    let all = json!({"bounding": kill, "permitted": kill, "effective": kill, "inheritable": kill, "ambient": kill});
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 70, "hard": 77}, {"type": "RLIMIT_NPROC", "soft": 500, "hard": 600}]);
    let seccomp = super::defects::deny("mkdir");
    let plain = |args: &[&str]| Trial::new(args).with("capabilities", caps.clone());
    let trials = [
        plain(&["sh", "-c", script]),
        plain(&["sh", "-c", script])
            .with("capabilities", all)
            .with("rlimits", limits)
            .with(
                "user",
                json!({"uid": 1000, "gid": 1000, "additionalGids": [1, 2], "umask": 63}),
            )
            .with("env", json!(["B=1", "PATH=/bin", "A=1", "B=2"]))
            .with("cwd", json!("/tmp")),
        plain(&["sh", "-c", script])
            .with("noNewPrivileges", json!(true))
            .linux("seccomp", seccomp.clone()),
        plain(&["sh", "-c", script])
            .with("noNewPrivileges", json!(false))
            .linux("seccomp", seccomp),
    ];
    for (number, trial) in trials.iter().enumerate() {
        assert_eq!(
            facts(&trial.run()),
            facts(&runc(trial, number)),
            "trial {number}"
        );
    }
}

fn facts(printed: &str) -> Vec<String> {
    let decided = |line: &&str| match line.split_once(":\t") {
        Some((name, _)) => FIELDS.contains(&name),
        None => !line.contains(" kB"),
    };
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    printed.lines().filter(decided).map(words).collect()
}

fn runc(trial: &Trial, number: usize) -> String {
    let bundle = tempfile::tempdir().unwrap();
    let namespaces: Vec<Value> = ["pid", "mount", "ipc", "uts"]
        .iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    let mut linux = trial.linux.clone();
    linux["namespaces"] = json!(namespaces);
    let config = json!({
        "ociVersion": "1.0.2", "process": trial.process, "linux": linux,
        "root": {"path": trial.root.path()},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    });
    std::fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
    let id = format!("pxrun-trial-{}-{number}", std::process::id());
    let mut command = Command::new("runc");
    command
        .args(["run", "--bundle"])
        .arg(bundle.path())
        .arg(id)
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
