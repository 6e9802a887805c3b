//! Stop, kill, pause, restart, attach, health, and what podman shows of a container.

use super::leftovers::nothing_left;
use crate::*;

#[test]
fn logs_and_follow() {
    let c = Stays::run(&[], "echo one; echo two >&2; sleep 0.5; echo three");
    let output = call(&["logs", "--follow", &c.name]).ok();
    assert_eq!(output.stdout, "one\nthree\n");
    assert_eq!(output.stderr, "two\n");
}

#[test]
fn stop_is_term_first() {
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
    assert_eq!(
        (c.wait().as_str(), c.inspect(".State.ExitCode").as_str()),
        ("11", "11")
    );
    assert!(c.logs().ends_with("bye\n"));
}

#[test]
fn stop_is_kill_after_the_time() {
    let c = Stays::run(
        &[],
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    let pid = c.pid();
    c.call(&["stop", "--time", "1"]).ok();
    assert!(!alive(pid));
    assert_eq!(c.wait(), "137");
}

#[test]
fn stop_signal_of_the_containers_choice() {
    let c = Stays::run(
        &["--stop-signal", "USR2"],
        "trap 'exit 14' USR2; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    c.call(&["stop", "--time", "10"]).ok();
    assert_eq!(c.wait(), "14");
}

#[test]
fn kill_with_a_signal() {
    let c = Stays::run(
        &[],
        "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done",
    );
    c.until("ready");
    call(&["kill", "--signal", "USR1", &c.name]).ok();
    c.until("usr1");
    call(&["kill", "--signal", "KILL", &c.name]).ok();
    assert_eq!(c.wait(), "137");
    call(&["kill", &c.name]).fails();
}

/// Without a handler TERM doesn't reach an init; with `--init` the child dies of it.
#[test]
fn exit_code_after_a_signal() {
    let c = Stays::run(&["--init"], "exec sleep 300");
    wait_until("init's child", || {
        c.call(&["top"]).ok().stdout.contains("sleep")
    });
    call(&["kill", "--signal", "TERM", &c.name]).ok();
    assert_eq!(c.wait(), "143");
    let c = Stays::run(&[], FOREVER);
    call(&["kill", "--signal", "9", &c.name]).ok();
    assert_eq!(c.wait(), "137");
    assert_eq!(c.inspect(".State.ExitCode"), "137");
}

#[test]
fn pause_and_unpause() {
    let c = Stays::run(
        &[],
        "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done",
    );
    c.until("3");
    c.call(&["pause"]).ok();
    assert_eq!(c.inspect(".State.Status"), "paused");
    std::thread::sleep(Duration::from_millis(100));
    let before = c.logs();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(c.logs(), before, "it runs while it is paused");
    c.exec(&[], &["true"]).fails();
    c.call(&["unpause"]).ok();
    wait_until("it goes on", || c.logs().len() > before.len());
    c.call(&["pause"]).ok();
    c.call(&["rm", "--force", "--time", "0"]).ok();
}

#[test]
fn restart() {
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
}

#[test]
fn restart_policy() {
    let c = Stays::run(&["--restart", "on-failure:2"], "echo once; exit 1");
    wait_until("three starts", || c.logs().matches("once").count() == 3);
}

#[test]
fn create_start_attach() {
    let c = Stays::make(
        "create",
        &["--interactive"],
        "read line; echo got $line; exit 9",
    );
    assert_eq!(c.inspect(".State.Status"), "created");
    let output = feed(
        &mut podman().cmd(&["start", "--attach", "--interactive", &c.name]),
        b"word\n",
    )
    .exits(9);
    assert_eq!(output.out(), "got word");
}

#[test]
fn attach_to_a_running_container() {
    let c = Stays::run(
        &["--interactive"],
        "while read line; do echo got $line; [ $line = end ] && exit 0; done",
    );
    let mut attach = podman().cmd(&["attach", "--sig-proxy=false", &c.name]);
    let mut running = start(attach.stdin(std::process::Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    stdin.write_all(b"one\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    stdin.write_all(b"end\n").unwrap();
    assert_eq!(running.end().ok().out(), "got one\ngot end");
}

#[test]
fn healthcheck() {
    // No timer without systemd: it is run by hand.
    let c = Stays::run(
        &[
            "--health-cmd",
            "test -e /tmp/well",
            "--health-interval",
            "disable",
            "--health-retries",
            "1",
        ],
        FOREVER,
    );
    call(&["healthcheck", "run", &c.name]).exits(1);
    c.exec(&[], &["touch", "/tmp/well"]).ok();
    call(&["healthcheck", "run", &c.name]).ok();
}

#[test]
fn top_and_stats() {
    let c = Stays::run(&[], "sleep 296 & exec sleep 300");
    wait_until("two processes", || {
        c.call(&["top"]).ok().stdout.matches("sleep").count() == 2
    });
    let top = call(&["top", &c.name, "pid", "hpid", "user", "comm"]).ok();
    assert!(
        top.stdout
            .lines()
            .any(|l| l.starts_with("1 ") && l.contains(&init_of(c.pid()).to_string())),
        "{top}"
    );
    let stats = call(&["stats", "--no-stream", "--format", "json", &c.name])
        .ok()
        .json();
    let pids = (2 + keepers()).to_string();
    assert_eq!(stats[0]["pids"].as_str(), Some(&*pids), "{stats}");
}

#[test]
fn copy_and_commit() {
    let sandbox = &podman().sandbox;
    let file = sandbox.write(&unique("copy"), "from outside\n");
    let c = Stays::run(&[], FOREVER);
    call(&[
        "cp",
        &file.to_string_lossy(),
        &format!("{}:/root/in", c.name),
    ])
    .ok();
    assert_eq!(c.exec(&[], &["cat", "/root/in"]).ok().out(), "from outside");
    let back = sandbox.path(unique("back"));
    call(&[
        "cp",
        &format!("{}:/root/in", c.name),
        &back.to_string_lossy(),
    ])
    .ok();
    assert_eq!(fs::read_to_string(back).unwrap(), "from outside\n");
    let image = format!("pxrun.test/{}:1", unique("commit"));
    call(&["commit", "--quiet", &c.name, &image]).ok();
    let parent = format!("/{}", sandbox.name);
    let mut again = podman().cmd(&["run", "--rm", "--network=none", "--cgroup-parent", &parent]);
    assert_eq!(
        run(again.args([&image, "cat", "/root/in"])).ok().out(),
        "from outside"
    );
    call(&["rmi", "--force", &image]).ok();
}

#[test]
fn ten_containers_at_once() {
    let running: Vec<_> = (0..10)
        .map(|n| {
            start(&mut container(
                "run",
                &["--rm"],
                &["sh", "-c", &format!("sleep 0.2; echo {n}; exit {n}")],
            ))
        })
        .collect();
    for (n, one) in running.into_iter().enumerate() {
        assert_eq!(one.end().exits(n as i32).out(), n.to_string());
    }
}

#[test]
fn mass_of_short_runs() {
    for _ in 0..10 {
        assert_eq!(once(&[], &["echo", "x"]).ok().out(), "x");
    }
}

#[test]
fn network_of_a_pid_by_path() {
    let first = Stays::run(&[], FOREVER);
    let path = format!("ns:/proc/{}/ns/net", first.pid());
    let second = Stays::run(&["--network", &path], FOREVER);
    let ns = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(ns(first.pid()), ns(second.pid()));
}

/// What podman and conmon do when conmon is killed: the container runs on, and can be removed.
#[test]
fn a_killed_conmon() {
    let c = Stays::run(&[], FOREVER);
    let pid = c.pid();
    let conmon: i32 = c.inspect(".State.ConmonPid").parse().unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(conmon),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    wait_until("conmon is gone", || !alive(conmon));
    assert!(alive(pid), "the container died with conmon");
    c.call(&["rm", "--force", "--time", "0"]).ok();
    // podman 4.3 forgets such a container without asking the runtime to delete it.
    run(common::command::cmd(runtime()).args(["delete", "--force", &c.id])).ok();
    wait_until("the container is gone", || !alive(pid));
    nothing_left(&c.id);
}
