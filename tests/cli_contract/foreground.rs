//! `run` in the foreground and detached: exit codes and signals.

use crate::*;

#[test]
fn run_in_the_foreground_returns_the_code() {
    let place = Place::new("runcode");
    for (n, (script, code)) in [("exit 0", 0), ("exit 5", 5), ("exit 255", 255)]
        .iter()
        .enumerate()
    {
        let id = format!("c{n}");
        let bundle = place.bundle(&id, &["sh", "-c", script], nothing);
        run(place.cmd(&["run", "--bundle"]).arg(&bundle.dir).arg(&id)).exits(*code);
        place.run(&["state", &id]).fails().says("does not exist");
    }
}

/// A command that ends at once must not be missed: libcontainer hung in 6 of 25 such runs.
#[test]
fn short_runs_never_hang() {
    let place = Place::new("short");
    let bundle = place.bundle("c", &["true"], nothing);
    for _ in 0..25 {
        run(place.cmd(&["run", "--bundle"]).arg(&bundle.dir).arg("c")).ok();
    }
}

#[test]
fn run_passes_signals_on() {
    let place = Place::new("signals");
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 33' TERM; echo ready >&2; while :; do sleep 0.05; done";
    let bundle = place.bundle("c", &["sh", "-c", script], nothing);
    let running = start(place.cmd(&["run", "--bundle"]).arg(&bundle.dir).arg("c"));
    let pid = Pid::from_raw(running.pid());
    wait_until("the container runs", || {
        place.run(&["state", "c"]).stdout.contains("running")
    });
    std::thread::sleep(Duration::from_millis(300));
    kill(pid, Signal::SIGUSR1).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(pid, Signal::SIGTERM).unwrap();
    let output = running.end().exits(33);
    assert_eq!(output.out(), "usr1\nterm");
}

#[test]
fn run_of_a_killed_container_gives_128_and_the_signal() {
    let place = Place::new("run137");
    let bundle = place.bundle("c", SLEEP, nothing);
    let running = start(place.cmd(&["run", "--bundle"]).arg(&bundle.dir).arg("c"));
    wait_until("the container runs", || {
        place.run(&["state", "c"]).stdout.contains("running")
    });
    place.run(&["kill", "c", "KILL"]).ok();
    running.end().exits(137);
}

#[test]
fn run_detached_with_pid_file() {
    let place = Place::new("rundetach");
    let bundle = place.bundle("c", &["sh", "-c", "exec sleep 300"], nothing);
    let pid_file = bundle.path("pid");
    let mut command = place.cmd(&["run", "--detach", "--bundle"]);
    detach(
        command
            .arg(&bundle.dir)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg("c"),
    );
    let pid = pid_in(&pid_file);
    assert_eq!(place.state("c")["pid"], pid);
    assert_eq!(place.status("c"), "running");
    place.run(&["kill", "c", "KILL"]).ok();
    reap(pid);
    place.run(&["delete", "c"]).ok();
}
