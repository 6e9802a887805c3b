//! The life of a container in five calls: create, start, state, kill, delete.

use crate::*;

#[test]
fn the_whole_life_of_a_container() {
    let place = Place::new("life");
    let c = place.create_sh("c", "echo out; echo err >&2; exit 7");
    let state = place.state("c");
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"], c.pid);
    assert_eq!(state["id"], "c");
    assert_eq!(state["bundle"], json!(c.bundle.dir));
    c.start();
    assert_eq!(c.reap(), exited(c.pid, 7));
    assert_eq!(c.streams.stdout.text(), "out\n");
    assert_eq!(
        c.streams.stderr.text(),
        "err\n",
        "nothing but the container writes to its stderr"
    );
    let state = place.state("c");
    assert_eq!(state["status"], "stopped");
    assert_eq!(
        state["pid"].as_i64().unwrap_or(0),
        0,
        "a stopped container has no pid"
    );
    place.run(&["delete", "c"]).ok();
    place.run(&["state", "c"]).fails().says("does not exist");
}

#[test]
fn running_is_what_state_says_while_it_runs() {
    let place = Place::new("running");
    let c = place.started_sh("c", "exec sleep 300");
    assert_eq!(place.status("c"), "running");
    c.remove();
}

/// callers.md §0.1: strconv.Atoi and Rust's parse both fail on a newline; `create_in` parses so.
#[test]
fn pid_file_is_digits_alone_and_nobody_elses_to_write() {
    let place = Place::new("pidfile");
    let c = place.create("c", SLEEP, nothing);
    let file = c.bundle.path("init.pid");
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid.to_string());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "pid-file mode {mode:o}");
    let litter = fs::read_dir(&c.bundle.dir)
        .unwrap()
        .flatten()
        .map(|e| e.file_name());
    let litter: Vec<_> = litter
        .filter(|n| n != "config.json" && n != "init.pid")
        .collect();
    assert!(litter.is_empty(), "temporary files stay: {litter:?}");
    c.remove();
}

/// conmon kills the process group of the pid; it must not be conmon's own.
#[test]
fn init_leads_its_own_session() {
    let place = Place::new("session");
    let c = place.create("c", SLEEP, nothing);
    let pid = Pid::from_raw(c.pid);
    assert_eq!(getsid(Some(pid)).unwrap(), pid);
    assert_eq!(getpgid(Some(pid)).unwrap(), pid);
    c.remove();
}

#[test]
fn the_subreaper_learns_the_signal() {
    let place = Place::new("signalled");
    let c = place.started_sh("c", "exec sleep 300");
    c.kill("9").ok();
    let killed = WaitStatus::Signaled(Pid::from_raw(c.pid), Signal::SIGKILL, false);
    assert_eq!(c.reap(), killed);
    place.run(&["delete", "c"]).ok();
}

/// CRI-O compares the start time in /proc/PID/stat at every step.
#[test]
fn the_pid_is_the_same_process_from_create_to_end() {
    let place = Place::new("sameproc");
    let c = place.create("c", SLEEP, nothing);
    let born = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .nth(19)
            .unwrap()
            .to_owned()
    };
    let before = born(c.pid);
    c.start();
    wait_until("sleep", || {
        fs::read_to_string(format!("/proc/{}/comm", c.init())).unwrap() == "sleep\n"
    });
    assert_eq!(born(c.pid), before);
    assert_eq!(place.state("c")["pid"], c.pid);
    c.remove();
}

/// callers.md §0.3 and §0.4: moby and podman take the netns, the shim and conmon the cgroup,
/// from /proc/PID right after `create`.
#[test]
fn namespaces_and_cgroup_are_final_after_create() {
    let place = Place::new("final");
    let c = place.create("c", SLEEP, nothing);
    let init = c.init();
    let ns = |name: &str| {
        let pid = if name == "pid" { init } else { c.pid };
        fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap()
    };
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let kinds = ["net", "pid", "ipc", "uts", "mnt"];
    let before = kinds.map(ns);
    for (kind, theirs) in kinds.iter().zip(&before) {
        assert_ne!(*theirs, own(kind), "{kind} namespace is the host's");
    }
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", c.pid)).unwrap();
    assert!(groups.contains(&format!("{}/c", place.cgroup)), "{groups}");
    c.start();
    wait_until("sleep", || {
        fs::read_to_string(format!("/proc/{}/comm", c.init())).unwrap() == "sleep\n"
    });
    assert_eq!(kinds.map(ns), before);
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/cgroup", c.pid)).unwrap(),
        groups
    );
    c.remove();
}

/// callers.md §0.5: end of file is how conmon and the shim learn that the container closed a stream.
#[test]
fn the_runtime_keeps_no_stdio_open() {
    let place = Place::new("eof");
    let c = place.create_sh("c", "echo last; exec >/dev/null 2>&1 sleep 300");
    c.start();
    assert_eq!(c.streams.stdout.text(), "last\n");
    assert_eq!(c.streams.stderr.text(), "");
    assert!(alive(c.pid));
    c.remove();
}

#[test]
fn stdin_reaches_the_container() {
    let place = Place::new("stdin");
    let bundle = place.bundle("c", &["cat"], nothing);
    let input = vec![b'x'; 300_000];
    let mut command = place.cmd(&["run", "--bundle"]);
    let output = feed(command.arg(&bundle.dir).arg("c"), &input).ok();
    assert_eq!(output.bytes, input);
}

#[test]
fn a_container_made_of_the_current_directory() {
    let place = Place::new("cwd");
    let bundle = place.bundle("c", &["echo", "here"], nothing);
    assert_eq!(
        run(place.cmd(&["run", "c"]).current_dir(&bundle.dir))
            .ok()
            .out(),
        "here"
    );
}

#[test]
fn start_works_once() {
    let place = Place::new("twice");
    let c = place.started_sh("c", "exec sleep 300");
    place.run(&["start", "c"]).fails();
    assert_eq!(place.status("c"), "running");
    c.remove();
    place.run(&["start", "c"]).fails().says("does not exist");
}

#[test]
fn delete_of_a_running_container_needs_force() {
    let place = Place::new("delforce");
    let c = place.started_sh("c", "exec sleep 300");
    place.run(&["delete", "c"]).fails();
    assert!(alive(c.pid));
    place.run(&["delete", "--force", "c"]).ok();
    reap(c.pid);
    place.run(&["state", "c"]).fails().says("does not exist");
    assert_eq!(
        cgroup::all_with(&format!("{}/c", place.cgroup)),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn delete_force_of_a_created_container() {
    let place = Place::new("delcreated");
    let c = place.create("c", SLEEP, nothing);
    place.run(&["delete", "--force", "c"]).ok();
    reap(c.pid);
    place.run(&["state", "c"]).fails();
}
