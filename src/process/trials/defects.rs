//! One trial for each defect of libcontainer 0.7 that this room mends.
//! It must not fix what runc does otherwise: where the two differ, runc is right.

use serde_json::{Value, json};

use super::rig::Trial;

const STATUS: &[&str] = &["cat", "/proc/self/status"];

/// Denies `name` with errno 71, which nothing else gives.
pub fn deny(name: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 71},
    ]})
}

#[test]
fn defect_1_exec_keeps_the_seccomp_filter() {
    let mut trial = Trial::new(STATUS).linux("seccomp", deny("mkdir"));
    trial.init = false;
    assert_eq!(trial.status("Seccomp"), "2");
    let mut trial = Trial::new(&["mkdir", "/tmp/x"]).linux("seccomp", deny("mkdir"));
    trial.init = false;
    assert_eq!(
        trial.run(),
        "mkdir: can't create directory '/tmp/x': Protocol error\n"
    );
}

#[test]
fn defect_2_rlimits_are_the_process_s_own() {
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 700, "hard": 777},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]);
    let printed =
        Trial::new(&["sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c"]).with("rlimits", limits);
    assert_eq!(printed.run(), "700\n777\n0\n");
}

#[test]
fn defect_3_signal_dispositions_and_mask_are_reset() {
    for (field, expected) in [
        ("SigIgn", "0000000000000000"),
        ("SigBlk", "0000000000000000"),
    ] {
        let mut trial = Trial::new(STATUS);
        trial.shell = "trap '' HUP TERM; exec \"$@\"";
        trial.spoil = vec!["block"];
        assert_eq!(trial.status(field), expected, "{field}");
    }
}

#[test]
fn defect_4_a_filter_without_no_new_privileges_works() {
    let trial = Trial::new(STATUS).with("noNewPrivileges", json!(false));
    let trial = trial.linux("seccomp", deny("mkdir"));
    assert_eq!(trial.status("Seccomp"), "2");
    assert_eq!(trial.status("NoNewPrivs"), "0");
}

#[test]
fn defect_4_nothing_of_the_admin_right_outlives_execve() {
    for uid in [0, 1000] {
        let caps = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
        let trial = Trial::new(STATUS).with("capabilities", caps);
        let trial = trial.with("user", json!({"uid": uid, "gid": 0}));
        let trial = trial.linux("seccomp", deny("mkdir"));
        for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(trial.status(field), "0000000000000020", "{field} {uid}");
        }
    }
}

#[test]
fn defect_profiles_may_deny_what_a_runtime_uses() {
    for no_new_privileges in [false, true] {
        let names = [
            "capset",
            "prctl",
            "close",
            "sendmsg",
            "accept4",
            "rt_sigaction",
            "munmap",
            "brk",
            "futex",
            "rt_sigprocmask",
            "madvise",
            "capget",
            "seccomp",
            "write",
            "mmap",
        ];
        for name in names {
            let trial = Trial::new(&["true"]).linux(
                "seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO"}],
                }),
            );
            let trial = trial.with("noNewPrivileges", json!(no_new_privileges));
            assert_eq!(trial.run(), "", "{name} {no_new_privileges}");
        }
    }
}

#[test]
fn defect_5_a_mode_0700_executable_of_the_user_runs() {
    let mut trial = Trial::new(&["id", "-u"]).with("user", json!({"uid": 1000, "gid": 1000}));
    let own = trial.root.path().join("bin/own");
    std::fs::create_dir(&own).unwrap();
    let busybox = own.join("busybox");
    crate::sys::forked::copy_program("/bin/busybox".as_ref(), &busybox);
    std::fs::set_permissions(
        &busybox,
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    std::os::unix::fs::chown(&busybox, Some(1000), None).unwrap();
    trial.process["args"][0] = json!("/bin/own/busybox");
    assert_eq!(trial.run(), "1000\n");
    std::os::unix::fs::chown(&busybox, Some(1001), None).unwrap();
    assert_eq!(trial.run(), "exec: \"/bin/own/busybox\": permission denied");
}

#[test]
fn defect_6_no_path_in_the_environment() {
    let trial = Trial::new(&["env"]).with("env", json!(["A=1"]));
    assert_eq!(trial.run(), "A=1\nHOME=/root\n");
}

#[test]
fn defect_10_personality_with_flags_is_only_a_warning() {
    if std::env::consts::ARCH != "x86_64" {
        println!("skipped: the expected machine name is x86_64's");
        return;
    }
    let personality = json!({"domain": "LINUX32", "flags": ["X"]});
    let trial = Trial::new(&["uname", "-m"]).linux("personality", personality);
    assert_eq!(trial.run(), "i686\n");
}

#[test]
fn defect_12_the_environment_arrives_in_order() {
    let env = json!(["Z=1", "PATH=/bin", "A=2", "M=3", "A=4", "HOME="]);
    let trial = Trial::new(&["env"]).with("env", env);
    assert_eq!(trial.run(), "Z=1\nPATH=/bin\nA=4\nM=3\nHOME=/root\n");
}

#[test]
fn defect_masked_equal_compares_in_the_right_order() {
    // Deny chmod when `mode & 0700 == 0`: an ordinary chmod to 0700 must pass.
    let rule = |name, index| {
        json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 71, "args": [
        {"index": index, "value": 0o700, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]})
    };
    let rules = json!([rule("chmod", 1), rule("fchmodat", 2)]);
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let script = "chmod 0700 /tmp && echo done; chmod 0077 /tmp";
    let trial = Trial::new(&["sh", "-c", script]).linux("seccomp", seccomp);
    assert_eq!(trial.run(), "done\nchmod: /tmp: Protocol error\n");
}

#[test]
fn defect_ambient_that_cannot_be_raised_is_only_a_warning() {
    let caps = json!({"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "inheritable": ["CAP_CHOWN"], "effective": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_CHOWN"]});
    let trial = Trial::new(STATUS).with("capabilities", caps);
    assert_eq!(trial.status("CapAmb"), "0000000000000001");
}

#[test]
fn defect_minimal_process_has_its_home_derived() {
    let mut trial = Trial::new(&["env"]).with("user", json!({"uid": 1000, "gid": 1000}));
    trial.process.as_object_mut().unwrap().remove("env");
    trial.init = false;
    assert_eq!(trial.run(), "HOME=/home/u\n");
    let trial = trial.with("user", json!({"uid": 7, "gid": 7}));
    assert_eq!(trial.run(), "HOME=/\n");
}
