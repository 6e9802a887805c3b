//! Signals by number and name, to one process and to all.

use crate::*;

#[test]
fn signals_by_number_and_name() {
    let place = Place::new("names");
    let script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo term; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let c = place.started_sh("c", script);
    // The trap must be set before the first signal comes.
    std::thread::sleep(Duration::from_millis(400));
    for signal in ["1", "SIGUSR1", "USR1", "HUP", "15"] {
        c.kill(signal).ok();
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(c.reap(), exited(c.pid, 0));
    assert_eq!(
        c.streams.stdout.text(),
        "ready\nhup\nusr1\nusr1\nhup\nterm\n"
    );
    place.run(&["kill", "c", "NONSENSE"]).fails();
    place.run(&["delete", "c"]).ok();
}

#[test]
fn kill_without_a_signal_means_term() {
    let place = Place::new("term");
    let c = place.started_sh(
        "c",
        "trap 'exit 12' TERM; echo ready; while :; do sleep 0.05; done",
    );
    std::thread::sleep(Duration::from_millis(400));
    place.run(&["kill", "c"]).ok();
    assert_eq!(c.reap(), exited(c.pid, 12));
}

/// The shim's ShouldKillAllOnExit: without a pid namespace of its own, all must go.
#[test]
fn kill_all_without_a_pid_namespace() {
    let place = Place::new("killall");
    let c = place.create("c", &["sh", "-c", "sleep 300 & sleep 300 & wait"], |c| {
        let namespaces = c["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != "pid");
    });
    c.start();
    let group = format!("{}/c", place.cgroup);
    let dir = cgroup::any_dir(c.pid);
    let count = || {
        fs::read_to_string(dir.join("cgroup.procs"))
            .unwrap()
            .lines()
            .filter(|pid| !common::has_keeper() || *pid != c.pid.to_string())
            .count()
    };
    wait_until("three processes", || count() == 3);
    place.run(&["kill", "--all", "c", "9"]).ok();
    c.reap();
    wait_until("all are gone", || !cgroup::populated(&group));
    place.run(&["delete", "c"]).ok();
}

/// Each process gets a signal to all once, init too.
#[test]
fn kill_all_reaches_each_process_once() {
    let place = Place::new("once");
    let script =
        "trap 'echo usr1' USR1; trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let c = place.started_sh("c", script);
    std::thread::sleep(Duration::from_millis(400));
    for _ in 0..3 {
        place.run(&["kill", "--all", "c", "USR1"]).ok();
        std::thread::sleep(Duration::from_millis(300));
    }
    c.kill("TERM").ok();
    c.reap();
    assert_eq!(c.streams.stdout.text(), "ready\nusr1\nusr1\nusr1\n");
    place.run(&["delete", "c"]).ok();
}
