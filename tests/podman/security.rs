//! Capabilities, seccomp, no-new-privileges.

use crate::*;

#[test]
fn capabilities_dropped_and_added() {
    let show = [
        "sh",
        "-c",
        "grep -E 'Cap(Eff|Bnd|Prm)' /proc/self/status | tr -d '\\t'",
    ];
    let none = once(&["--cap-drop", "all"], &show).ok();
    assert_eq!(
        none.stdout,
        "CapPrm:0000000000000000\nCapEff:0000000000000000\nCapBnd:0000000000000000\n"
    );
    let one = once(&["--cap-drop", "all", "--cap-add", "net_admin"], &show).ok();
    assert_eq!(
        one.stdout,
        "CapPrm:0000000000001000\nCapEff:0000000000001000\nCapBnd:0000000000001000\n"
    );
    let flags = [
        "--cap-drop",
        "all",
        "--cap-add",
        "net_admin",
        "--user",
        "1000",
    ];
    let ambient = once(&flags, &["grep", "CapAmb", "/proc/self/status"]).ok();
    assert!(ambient.stdout.ends_with("1000\n"), "{ambient}");
}

#[test]
fn no_new_privileges() {
    let show = ["grep", "NoNewPrivs", "/proc/self/status"];
    assert_eq!(
        once(&["--security-opt", "no-new-privileges"], &show)
            .ok()
            .stdout,
        "NoNewPrivs:\t1\n"
    );
    assert_eq!(once(&[], &show).ok().stdout, "NoNewPrivs:\t0\n");
}

fn no_mkdir() -> String {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
    let file = podman()
        .sandbox
        .write(&unique("seccomp"), &profile.to_string());
    format!("seccomp={}", file.display())
}

#[test]
fn seccomp_holds_in_run_and_in_exec() {
    let profile = no_mkdir();
    once(&["--security-opt", &profile], &["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    let c = Stays::run(&["--security-opt", &profile], FOREVER);
    c.exec(&[], &["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    c.exec(&["--user", "1000"], &["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    assert!(
        c.exec(&[], &["grep", "Seccomp:", "/proc/self/status"])
            .ok()
            .stdout
            .ends_with("2\n")
    );
    // podman's own profile is a filter too; unconfined is none.
    let show = ["grep", "Seccomp:", "/proc/self/status"];
    assert!(once(&[], &show).ok().stdout.ends_with("2\n"));
    assert!(
        once(&["--security-opt", "seccomp=unconfined"], &show)
            .ok()
            .stdout
            .ends_with("0\n")
    );
}
