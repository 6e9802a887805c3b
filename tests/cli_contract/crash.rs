//! A command that is killed at any of its steps: `state` goes on telling the truth, and
//! `delete --force` removes processes, cgroups, mounts and record. The steps are those of a trace by
//! strace, which then kills the command at each of them.

use std::os::unix::process::ExitStatusExt;

use crate::*;

/// Calls that change nothing outside the process itself. All others are steps.
const NO_STEPS: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "clock_nanosleep",
    "close",
    "epoll_wait",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "getsockname",
    "getsockopt",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "newfstatat",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "umask",
    "uname",
];

/// The `nth` call of this name, counted from one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    call: String,
    nth: usize,
}

/// The steps of a trace of one process.
fn steps<'l>(trace: impl Iterator<Item = &'l str>) -> Vec<Step> {
    let mut seen: Vec<String> = Vec::new();
    let mut steps = Vec::new();
    for line in trace {
        let Some((call, rest)) = line.split_once('(') else {
            continue;
        };
        if !call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        seen.push(call.to_owned());
        let opens = call.starts_with("open") && call != "open_tree";
        if NO_STEPS.contains(&call) || (opens && !rest.contains("O_CREAT")) {
            continue;
        }
        let nth = seen.iter().filter(|other| *other == call).count();
        let call = call.to_owned();
        steps.push(Step { call, nth });
    }
    steps
}

/// strace before the runtime, whose arguments follow.
fn strace(place: &Place, options: &[&str], args: &[&str]) -> std::process::Command {
    let mut command = cmd("strace");
    command.arg("-qq").args(options).arg("--").arg(runtime());
    command.arg("--root").arg(&place.root).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    command
}

/// The steps of a command that goes well.
#[track_caller]
fn trace(place: &Place, args: &[&str]) -> Vec<Step> {
    let file = place.dir.join("trace");
    let path = file.to_str().unwrap();
    let status = common::command::status(&mut strace(place, &["-o", path], args));
    assert!(status.success(), "trace of {args:?}: {status}");
    let text = fs::read_to_string(&file).unwrap();
    let steps = steps(text.lines());
    assert!(!steps.is_empty(), "no trace of {args:?}: {text}");
    steps
}

/// Kills the command at a step; whether it got there.
fn kill_at(place: &Place, step: &Step, args: &[&str]) -> bool {
    let trace = format!("trace={}", step.call);
    let inject = format!("inject={}:signal=KILL:when={}", step.call, step.nth);
    let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
    common::command::status(&mut strace(place, &options, args)).signal() == Some(9)
}

/// What `state` says after a command's end is so; `None`: the container doesn't exist.
#[track_caller]
fn truth(place: &Place, id: &str, step: &Step) -> Option<String> {
    let mut state = place.run(&["state", id]);
    if state.stdout.contains("\"created\"") {
        // Killed between the record's last writing and its last word to init, `create` leaves an
        // init that ends as soon as it hears nothing more.
        std::thread::sleep(Duration::from_millis(500));
        state = place.run(&["state", id]);
    }
    if state.code() != 0 {
        state.fails().says("does not exist");
        return None;
    }
    let state = state.json();
    let status = state["status"].as_str().unwrap().to_owned();
    let pid = state["pid"].as_i64().unwrap_or(0) as i32;
    match status.as_str() {
        "created" | "running" | "paused" => {
            assert!(pid > 0 && alive(pid), "{step:?}: {state}, which is dead");
        }
        "stopped" => {}
        // Whoever creates it is dead.
        _ => panic!("{step:?}: {state}"),
    }
    Some(status)
}

/// `delete --force` leaves nothing.
#[track_caller]
fn gone(place: &Place, id: &str, step: &Step) {
    place.run(&["delete", "--force", id]).ok();
    let part = format!("{}/{id}", place.cgroup);
    assert_eq!(
        cgroup::all_with(&part),
        Vec::<std::path::PathBuf>::new(),
        "{step:?}"
    );
    let mounts = common::sandbox::mounts_below(&place.dir);
    assert!(mounts.is_empty(), "{step:?}: {mounts:?}");
    let left: Vec<_> = fs::read_dir(&place.root)
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert!(
        left.iter().all(|name| name == "@filters"),
        "{step:?}: {left:?}"
    );
    // Not in the cgroup, but still of this place: such as an init that never got there.
    wait_until(&format!("{step:?}: end of every process"), || {
        processes(place).is_empty()
    });
}

/// Reaps what has ended in the place's cgroups and was left to this process.
fn reap_adopted(place: &Place) {
    let own = format!("PPid:\t{}\n", std::process::id());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let text = |name| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        if text("status").contains(&own) && text("cgroup").contains(&place.cgroup) {
            let pid = entry.file_name().to_string_lossy().parse().unwrap();
            let flag = nix::sys::wait::WaitPidFlag::WNOHANG;
            let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), Some(flag));
        }
    }
}

/// Processes that are the runtime's own, by the root in their arguments. Zombies have none.
fn processes(place: &Place) -> Vec<String> {
    let root = place.root.to_str().unwrap().to_owned();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(&root)).collect()
}

/// Kills `args` at each step of `steps`. `before` makes the container, `after` looks at it; then
/// nothing may be left.
fn at_each(
    place: &Place,
    steps: &[Step],
    args: &[&str],
    before: impl Fn(),
    after: impl Fn(&Step, Option<String>),
) {
    let mut killed = 0;
    for step in steps {
        before();
        killed += usize::from(kill_at(place, step, args));
        after(step, truth(place, "c", step));
        gone(place, "c", step);
    }
    println!("{}: killed at {killed} of {} steps", args[0], steps.len());
    // A few calls come and go with what other containers have left in the cgroups above.
    assert!(killed * 10 >= steps.len() * 9, "{killed} of {steps:?}");
}

fn bundle_of(place: &Place) -> String {
    // A filter, a hook and a volume, for their steps.
    let bundle = place.bundle("c", SLEEP, |c| {
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]});
        c["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}], "poststop": [{"path": "/bin/true"}]});
        let mount = json!({"destination": "/mnt", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]});
        c["mounts"].as_array_mut().unwrap().push(mount);
    });
    bundle.dir.to_str().unwrap().to_owned()
}

fn crash(name: &str, test: impl Fn(&Place, &str)) {
    if runc_differs("a killed command leaves processes, cgroups and a state that nobody finds") {
        return;
    }
    let place = Place::new(name);
    let bundle = bundle_of(&place);
    test(&place, &bundle);
}

#[test]
fn create_killed_at_each_step() {
    crash("crashcreate", |place, bundle| {
        let pid_file = place.dir.join("pid");
        let args = [
            "create",
            "--bundle",
            bundle,
            "--pid-file",
            pid_file.to_str().unwrap(),
            "c",
        ];
        // The first one fills the filter cache.
        detach(&mut place.cmd(&args));
        place.run(&["delete", "--force", "c"]).ok();
        let steps = trace(place, &args);
        place.run(&["delete", "--force", "c"]).ok();
        at_each(
            place,
            &steps,
            &args,
            || (),
            |step, status| match status.as_deref() {
                // Only the exit was missing, or the last word to init, which is ending then.
                Some("created") => {
                    let now = match place.run(&["start", "c"]).code() {
                        0 => "running",
                        _ => "stopped",
                    };
                    wait_until(&format!("{step:?}: {now}"), || place.status("c") == now);
                }
                None | Some("stopped") => {
                    place.run(&["start", "c"]).fails();
                }
                other => panic!("{step:?}: {other:?}"),
            },
        );
    });
}

#[test]
fn start_killed_at_each_step() {
    crash("crashstart", |place, bundle| {
        let create = || detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
        create();
        let steps = trace(place, &["start", "c"]);
        place.run(&["delete", "--force", "c"]).ok();
        at_each(
            place,
            &steps,
            &["start", "c"],
            create,
            |step, status| match status.as_deref() {
                Some("created") => {
                    place.run(&["start", "c"]).ok();
                    assert_eq!(place.status("c"), "running", "{step:?}");
                }
                Some("running") => {}
                other => panic!("{step:?}: {other:?}"),
            },
        );
    });
}

#[test]
fn exec_killed_at_each_step() {
    crash("crashexec", |place, bundle| {
        detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
        place.run(&["start", "c"]).ok();
        let pid_file = place.dir.join("pid");
        let args = [
            "exec",
            "--detach",
            "--pid-file",
            pid_file.to_str().unwrap(),
            "c",
            "sleep",
            "300",
        ];
        let steps = trace(place, &args);
        for step in &steps {
            kill_at(place, step, &args);
            assert_eq!(truth(place, "c", step).as_deref(), Some("running"));
            // The container goes on, and takes others.
            place.run(&["exec", "c", "true"]).ok();
        }
        println!("exec: {} steps", steps.len());
        // The orphans of killed commands are this process's to reap, else init can't end.
        std::thread::scope(|scope| {
            let (done, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                while wait.recv_timeout(Duration::from_millis(20))
                    == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    reap_adopted(place);
                }
            });
            gone(place, "c", &steps[0]);
            drop(done);
        });
    });
}

#[test]
fn delete_killed_at_each_step() {
    crash("crashdelete", |place, bundle| {
        let running = || {
            detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
            place.run(&["start", "c"]).ok();
        };
        running();
        let steps = trace(place, &["delete", "--force", "c"]);
        at_each(
            place,
            &steps,
            &["delete", "--force", "c"],
            running,
            |step, status| {
                assert!(
                    [None, Some("running"), Some("stopped")].contains(&status.as_deref()),
                    "{step:?}: {status:?}"
                );
            },
        );
    });
}

/// `pause` may leave some of the hierarchy's files written: what it says then is so.
#[test]
fn pause_and_resume_killed_at_each_step() {
    crash("crashpause", |place, bundle| {
        detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
        place.run(&["start", "c"]).ok();
        for (args, undo) in [
            (["pause", "c"], ["resume", "c"]),
            (["resume", "c"], ["pause", "c"]),
        ] {
            let steps = trace(place, &args);
            place.run(&undo).ok();
            for step in &steps {
                kill_at(place, step, &args);
                let status = truth(place, "c", step).unwrap();
                assert!(
                    ["running", "paused"].contains(&status.as_str()),
                    "{step:?}: {status}"
                );
                // The opposite of what is so can always be done, and is so then.
                let (next, then) = match status.as_str() {
                    "paused" => ("resume", "running"),
                    _ => ("pause", "paused"),
                };
                place.run(&[next, "c"]).ok();
                assert_eq!(place.status("c"), then, "{step:?}");
                let status = place.status("c");
                if (status == "paused") != (args[0] == "resume") {
                    place.run(&undo).ok();
                }
            }
            place.run(&args).ok();
        }
        gone(
            place,
            "c",
            &Step {
                call: "none".into(),
                nth: 0,
            },
        );
    });
}
