//! Stop, kill, pause, restart, health, and what Docker shows of a container.

use crate::*;

#[test]
fn stop_is_term_then_kill() {
    let c = Stays::run(
        &[],
        "trap 'echo bye; exit 11' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    let from = Instant::now();
    c.call(&["stop", "--time", "20"]).ok();
    assert!(
        from.elapsed() < Duration::from_secs(10),
        "TERM was not honoured"
    );
    assert_eq!(c.inspect(".State.ExitCode"), "11");
    let c = Stays::run(
        &[],
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    c.call(&["stop", "--time", "1"]).ok();
    assert_eq!(c.inspect(".State.ExitCode"), "137");
}

#[test]
fn kill_with_a_signal() {
    let c = Stays::run(
        &[],
        "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    c.call(&["kill", "--signal", "USR1"]).ok();
    c.until("usr1");
    c.call(&["kill"]).ok();
    assert_eq!(c.wait(), "137");
    c.call(&["kill"]).fails();
}

#[test]
fn init_reaps_and_passes_signals() {
    let c = Stays::run(
        &["--init"],
        "trap 'exit 21' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    assert!(
        c.exec(&[], &["cat", "/proc/1/comm"])
            .ok()
            .out()
            .contains("init")
    );
    c.call(&["stop", "--time", "10"]).ok();
    assert_eq!(c.wait(), "21");
}

#[test]
fn healthcheck() {
    let c = Stays::run(
        &[
            "--health-cmd",
            "test -e /tmp/well",
            "--health-interval",
            "300ms",
            "--health-retries",
            "1",
        ],
        FOREVER,
    );
    wait_until("unhealthy", || {
        c.inspect(".State.Health.Status") == "unhealthy"
    });
    c.exec(&[], &["touch", "/tmp/well"]).ok();
    wait_until("healthy", || c.inspect(".State.Health.Status") == "healthy");
}

#[test]
fn logs_follow_top_stats() {
    let c = Stays::run(&[], "echo one; echo two >&2; sleep 0.5; echo three");
    let output = c.call(&["logs", "--follow"]).ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("one\nthree\n", "two\n")
    );
    let c = Stays::run(&["--memory", "64m"], "sleep 291 & exec sleep 300");
    wait_until("two processes", || {
        c.call(&["top"]).ok().stdout.matches("sleep").count() == 2
    });
    let stats = call(&[
        "stats",
        "--no-stream",
        "--format",
        "{{.PIDs}} {{.MemUsage}}",
        &c.0,
    ])
    .ok();
    let pids = format!("{} ", 2 + keepers());
    assert!(stats.out().starts_with(&pids), "{stats}");
}

#[test]
fn pause_and_unpause() {
    let c = Stays::run(&[], FOREVER);
    c.call(&["pause"]).ok();
    assert_eq!(c.inspect(".State.Status"), "paused");
    c.exec(&[], &["true"]).fails();
    c.call(&["unpause"]).ok();
    assert_eq!(c.inspect(".State.Status"), "running");
    c.call(&["pause"]).ok();
    c.call(&["rm", "--force"]).ok();
}

#[test]
fn restart_and_start_again() {
    let c = Stays::run(
        &[],
        "echo up >>/root/count; trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    let first = c.pid();
    c.call(&["restart", "--time", "5"]).ok();
    assert_ne!(c.pid(), first);
    wait_until("second time", || {
        c.exec(&[], &["cat", "/root/count"]).stdout == "up\nup\n"
    });
    let policy = Stays::run(&["--restart", "on-failure:2"], "echo once; exit 1");
    wait_until("three starts", || {
        policy.call(&["logs"]).stdout.matches("once").count() == 3
    });
}

#[test]
fn copy_and_attach() {
    let file = docker().sandbox.write(&unique("copy"), "from outside\n");
    let c = Stays::run(
        &["--interactive"],
        "while read line; do echo got $line; [ $line = end ] && sleep 0.5 && exit 4; done",
    );
    call(&["cp", &file.to_string_lossy(), &format!("{}:/root/in", c.0)]).ok();
    assert_eq!(c.exec(&[], &["cat", "/root/in"]).ok().out(), "from outside");
    let mut attach = start(docker().cmd(&["attach", &c.0]).stdin(Stdio::piped()));
    let mut stdin = attach.child.stdin.take().expect("stdin is a pipe");
    for line in ["one\n", "end\n"] {
        // The client must be attached before the container writes.
        std::thread::sleep(Duration::from_millis(500));
        stdin
            .write_all(line.as_bytes())
            .expect("write to the container");
    }
    assert_eq!(attach.end().exits(4).stdout, "got one\ngot end\n");
}

#[test]
fn rm_leaves_nothing() {
    for before in [&["stop", "--time", "0"][..], &["kill"], &["pause"]] {
        let c = Stays::run(&["--memory", "64m", "--tmpfs", "/data"], FOREVER);
        let (pid, id) = (c.pid(), c.0.clone());
        let record = || find_record(&docker().sandbox.path("exec"), &id);
        assert!(
            record().is_some(),
            "no record of the runtime found: this test looks in the wrong place"
        );
        c.call(before).ok();
        c.call(&["rm", "--force"]).ok();
        assert!(!alive(pid), "{before:?}");
        assert_eq!(record(), None, "{before:?}");
        wait_until("its cgroups are gone", || cgroup::all_with(&id).is_empty());
        wait_until("its mounts are gone", || {
            mounts_below(&docker().sandbox.dir)
                .iter()
                .all(|m| !m.contains(&id))
        });
    }
}

/// The runtime's own directory of a container, below `runtime-*` of the daemon's exec-root.
fn find_record(exec_root: &Path, id: &str) -> Option<PathBuf> {
    let roots = fs::read_dir(exec_root).ok()?.flatten().map(|e| e.path());
    let mut roots = roots.filter(|p| {
        p.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("runtime-"))
    });
    roots.find_map(|root| Some(root.join("moby").join(id)).filter(|p| p.exists()))
}
