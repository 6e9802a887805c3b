//! The process that stands for a container in LXC: what it costs, what it may do, what it passes on.
//! On other backends the pid that callers are told is the container's own, and there is nothing to
//! look at.

use std::process::Command;

use crate::*;

/// Where the backend under test has none, says so.
fn keeper_is_missing() -> bool {
    let missing = !has_keeper();
    if missing {
        println!("NOT RUN HERE: this backend needs no keeper");
    }
    missing
}

/// The keeper's one child.
fn watcher_of(keeper: i32) -> i32 {
    let path = format!("/proc/{keeper}/task/{keeper}/children");
    let children = fs::read_to_string(path).unwrap();
    let mut children = children.split_whitespace();
    let watcher = children.next().expect("a watcher").parse().unwrap();
    assert_eq!(children.next(), None, "the keeper has more than a watcher");
    watcher
}

/// A number of kilobytes in a process's smaps_rollup.
fn memory(pid: i32, key: &str) -> u64 {
    number(&format!("/proc/{pid}/smaps_rollup"), key, 10)
}

fn status(pid: i32, key: &str) -> u64 {
    let radix = if key.starts_with("Cap") { 16 } else { 10 };
    number(&format!("/proc/{pid}/status"), key, radix)
}

fn number(path: &str, key: &str, radix: u32) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let line = line.unwrap_or_else(|| panic!("{path} has no {key}"));
    let word = line.trim_start_matches(':').split_whitespace().next();
    u64::from_str_radix(word.unwrap(), radix).unwrap()
}

/// Both together below a megabyte: what is theirs alone, and what they hold beside files (which
/// counts what they share with each other once).
#[test]
fn keeper_and_watcher_are_small() {
    if keeper_is_missing() {
        return;
    }
    let place = Place::new("small");
    let c = place.started_sh("c", "exec sleep 300");
    let both = [c.pid, watcher_of(c.pid)];
    let sum = |keys: &[&str]| -> u64 {
        let of = |pid| keys.iter().map(|key| memory(pid, key)).sum::<u64>();
        both.into_iter().map(of).sum()
    };
    let private = || sum(&["Private_Clean", "Private_Dirty"]);
    let anonymous = || sum(&["Pss_Anon"]);
    wait_until("less than a megabyte", || {
        private() < 1024 && anonymous() < 1024
    });
    println!("private {} kB, anonymous {} kB", private(), anonymous());
    // A signal that was passed on wakes it; it is small again afterwards.
    kill(Pid::from_raw(c.pid), Signal::SIGCONT).unwrap();
    wait_until("less than a megabyte again", || {
        private() < 1024 && anonymous() < 1024
    });
    c.remove();
}

/// They signal processes of any user, and that is all.
#[test]
fn keeper_and_watcher_have_no_rights_left() {
    if keeper_is_missing() {
        return;
    }
    /// linux/capability.h
    const CAP_KILL: u64 = 1 << 5;
    let place = Place::new("rights");
    let c = place.started_sh("c", "exec sleep 300");
    let watcher = watcher_of(c.pid);
    for pid in [c.pid, watcher] {
        wait_until("rights are given up", || status(pid, "CapEff") == CAP_KILL);
        for set in ["CapPrm", "CapBnd"] {
            assert_eq!(status(pid, set), CAP_KILL, "{set}");
        }
        assert_eq!(status(pid, "CapInh") | status(pid, "CapAmb"), 0);
        assert_eq!(status(pid, "NoNewPrivs"), 1);
    }
    // What is left is enough for a successor of the watcher to do its work.
    kill(Pid::from_raw(watcher), Signal::SIGKILL).unwrap();
    wait_until("a successor", || {
        let path = format!("/proc/{0}/task/{0}/children", c.pid);
        let children = fs::read_to_string(path).unwrap();
        let successor = children.trim().parse().ok().filter(|pid| *pid != watcher);
        successor.is_some_and(|pid| status(pid, "CapEff") == CAP_KILL)
    });
    let init = c.init();
    kill(Pid::from_raw(c.pid), Signal::SIGKILL).unwrap();
    c.reap();
    wait_until("the container's end", || !alive(init));
    place.run(&["delete", "--force", "c"]).ok();
}

/// Creates and starts a container whose keeper learns the end by process events, if so asked.
fn started(place: &Place, id: &str, args: &[&str], events: bool) -> (i32, OwnedFd) {
    let bundle = place.bundle(id, args, nothing);
    let file = bundle.path("pid");
    let (stdin, writer) = nix::unistd::pipe().unwrap();
    let mut create = place.cmd(&["create", "--bundle"]);
    create.arg(&bundle.dir).arg("--pid-file").arg(&file).arg(id);
    create.stdin(Stdio::from(stdin));
    if events {
        create.env("PXRUN_EXIT_EVENTS", "1");
    }
    assert!(common::command::status(&mut create).success());
    place.run(&["start", id]).ok();
    (pid_in(&file), writer)
}

/// By the pidfd, and by process events as on kernels before 6.15: nothing wakes it while others come
/// and go, and it ends as the container does.
#[test]
fn asleep_until_the_end_which_it_learns_either_way() {
    if keeper_is_missing() {
        return;
    }
    let place = Place::new("asleep");
    for events in [false, true] {
        let args = ["sh", "-c", "read x; exit 7"];
        let (pid, writer) = started(&place, "code", &args, events);
        std::thread::sleep(Duration::from_millis(300));
        let wakes = || {
            let of = |pid| status(pid, "voluntary_ctxt_switches");
            of(pid) + of(watcher_of(pid))
        };
        let before = wakes();
        for _ in 0..50 {
            assert!(Command::new("true").status().unwrap().success());
        }
        assert_eq!(wakes(), before, "woken up, with events: {events}");
        drop(writer);
        assert_eq!(reap(pid), exited(pid, 7), "with events: {events}");
        place.run(&["delete", "code"]).ok();

        let (pid, _writer) = started(&place, "signal", SLEEP, events);
        place.run(&["kill", "signal", "KILL"]).ok();
        let by = WaitStatus::Signaled(Pid::from_raw(pid), Signal::SIGKILL, false);
        assert_eq!(reap(pid), by, "with events: {events}");
        place.run(&["delete", "signal"]).ok();
    }
}

/// With a limit of one process the container runs and makes no second one, and can be ended.
#[test]
fn a_limit_of_one_process() {
    if lacks("pids-controller") {
        return;
    }
    let place = Place::new("one");
    let script = "echo alive; sleep 0; echo forked";
    let c = place.create("c", &["sh", "-c", script], |c| {
        c["linux"]["resources"]["pids"] = json!({"limit": 1});
    });
    c.start();
    // What a shell says that can't fork.
    assert_eq!(c.reap(), exited(c.pid, 2));
    let said = c.streams.stdout.text();
    assert_eq!(said, "alive\n", "{}", c.streams.stderr.text());
    place.run(&["delete", "c"]).ok();
}

/// Without the rights that LXC needs the refusal says which.
#[test]
fn a_root_that_may_not_mount_is_told_what_is_missing() {
    if common::backend().as_deref() != Some("lxc") {
        println!("NOT RUN HERE: about the backend `lxc`");
        return;
    }
    let place = Place::new("mount");
    let bundle = place.bundle("c", SLEEP, nothing);
    let mut create = cmd("setpriv");
    create.args(["--bounding-set", "-sys_admin", "--"]);
    create.arg(runtime()).arg("--root").arg(&place.root);
    create
        .args(["create", "--bundle"])
        .arg(&bundle.dir)
        .arg("c");
    run(&mut create)
        .fails()
        .says("backend `lxc` needs root with CAP_SYS_ADMIN");
    place.run(&["state", "c"]).fails().says("does not exist");
}

/// As systemd does: what the kernel refuses while a process is left at the top.
#[test]
fn a_container_hands_controllers_on() {
    let place = Place::new("handson");
    let script = "top=/sys/fs/cgroup; [ ! -d $top/unified ] || top=$top/unified; \
        read c rest <$top/cgroup.controllers || exit 9; mkdir $top/in; \
        echo 1 >$top/in/cgroup.procs; echo +$c >$top/cgroup.subtree_control || exit 8; \
        grep -q $c $top/cgroup.subtree_control && echo handed on";
    let c = place.create("c", &["sh", "-c", script], |c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup",
            "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "rw"]}));
        let namespaces = c["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        namespaces.push(json!({"type": "cgroup"}));
    });
    c.start();
    let ended = c.reap();
    let said = c.streams.stdout.text();
    place.run(&["delete", "c"]).ok();
    if ended == exited(c.pid, 9) {
        println!("NOT RUN HERE: cgroup v2 has no controller to hand on");
        return;
    }
    assert_eq!(said, "handed on\n", "{ended:?} {}", c.streams.stderr.text());
}
