//! Namespaces, limits, volumes, filters.

use crate::*;

#[test]
fn the_default_profile_holds_in_exec() {
    let c = Stays::run(&[], FOREVER);
    assert_eq!(
        c.exec(&[], &["grep", "Seccomp:", "/proc/self/status"])
            .ok()
            .out(),
        "Seccomp:\t2"
    );
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
    let file = docker().sandbox.write("seccomp.json", &profile.to_string());
    let c = Stays::run(
        &["--security-opt", &format!("seccomp={}", file.display())],
        FOREVER,
    );
    c.exec(&[], &["mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    once(
        &["--security-opt", "no-new-privileges"],
        &["grep", "NoNewPrivs:\t1", "/proc/self/status"],
    )
    .ok();
    let none = once(
        &["--cap-drop", "ALL"],
        &["grep", "CapEff", "/proc/self/status"],
    )
    .ok();
    assert!(none.out().ends_with("\t0000000000000000"), "{none}");
}

#[test]
fn namespaces_of_another_container() {
    let first = Stays::run(
        &["--ipc", "shareable", "--hostname", "first"],
        "exec sleep 292",
    );
    let peer = format!("container:{}", first.0);
    let ns = |c: &Stays, kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", c.pid())).unwrap();
    for (flag, kind) in [("--pid", "pid"), ("--network", "net"), ("--ipc", "ipc")] {
        let second = Stays::run(&[flag, &peer].map(|f| f), FOREVER);
        assert_eq!(ns(&first, kind), ns(&second, kind), "{flag}");
        if flag == "--pid" {
            let seen = second.exec(&[], &["ps", "-o", "args"]).ok();
            assert!(
                seen.stdout.contains("sleep 292") && seen.stdout.contains("sleep 300"),
                "{seen}"
            );
            second.call(&["stop", "--time", "0"]).ok();
            assert!(alive(first.pid()));
        }
    }
    let host = Stays::run(
        &["--pid", "host", "--network", "host"],
        "sleep 300 & exec sleep 300",
    );
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(ns(&host, "pid"), own);
    let group = cgroup::dir(host.pid(), "pids").expect("a pids cgroup");
    host.call(&["kill"]).ok();
    wait_until("all processes are gone", || {
        fs::read_to_string(group.join("cgroup.procs"))
            .unwrap_or_default()
            .is_empty()
    });
}

/// callers.md §0.3: dockerd binds /proc/PID/ns/net between create and start.
#[test]
fn the_sandbox_key_is_the_containers_network() {
    let c = Stays::run(&["--network=none"], FOREVER);
    let key = c.inspect(".NetworkSettings.SandboxKey");
    // The binding is in this mount namespace, below the daemon's private directory.
    let key = PathBuf::from(key.replace(
        "/var/run/docker",
        &docker().sandbox.path("exec").to_string_lossy(),
    ));
    use std::os::unix::fs::MetadataExt;
    let bound = fs::metadata(&key)
        .unwrap_or_else(|e| panic!("{}: {e}", key.display()))
        .ino();
    let link = fs::read_link(format!("/proc/{}/ns/net", c.pid())).unwrap();
    assert_eq!(link.to_string_lossy(), format!("net:[{bound}]"));
}

#[test]
fn limits_and_their_update() {
    let c = Stays::run(
        &["--memory", "64m", "--pids-limit", "50", "--cpus", "0.5"],
        FOREVER,
    );
    let pid = c.pid();
    assert_eq!(cgroup::value(pid, "pids", "pids.max", "pids.max"), "50");
    let quota = cgroup::value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["50000", "50000 100000"].contains(&quota.as_str()),
        "{quota}"
    );
    call(&["update", "--pids-limit", "60", &c.0]).ok();
    assert_eq!(cgroup::value(pid, "pids", "pids.max", "pids.max"), "60");
    if lacks("memory-controller") {
        return;
    }
    let memory = || cgroup::value(pid, "memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory(), "67108864");
    call(&["update", "--memory", "96m", "--memory-swap", "-1", &c.0]).ok();
    assert_eq!(memory(), "100663296");
}

#[test]
fn volumes_tmpfs_devices_read_only_sysctl() {
    let dir = docker().sandbox.mkdir(&unique("volume"));
    fs::write(dir.join("file"), "content\n").unwrap();
    let volume = format!("{}:/data:ro,rprivate", dir.display());
    let script = "cat /data/file; touch /data/no 2>&1; touch /no 2>&1; touch /scratch/yes && echo written; cat /proc/sys/kernel/msgmax; hostname; ls -l /dev/mynull | cut -c1";
    let flags = [
        "--volume",
        &volume,
        "--read-only",
        "--tmpfs",
        "/scratch:size=1m",
        "--sysctl",
        "kernel.msgmax=12345",
        "--hostname",
        "named",
        "--device",
        "/dev/null:/dev/mynull",
        "--ulimit",
        "nofile=512:512",
    ];
    let output = once(&flags, &["sh", "-c", script]).ok();
    for text in ["content\n", "written\n12345\nnamed\nc\n"] {
        assert!(output.stdout.contains(text), "no `{text}`: {output}");
    }
    assert_eq!(
        output.stdout.matches("Read-only file system").count(),
        2,
        "{output}"
    );
}
