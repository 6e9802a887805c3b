//! The system calls of a command or a process one by one, as strace(1) tells them, and the same again
//! with a kill at one of them; what must be true then.

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
pub struct Step {
    pub call: String,
    pub nth: usize,
}

/// All calls of a trace of one process.
pub fn calls<'l>(trace: impl Iterator<Item = &'l str>) -> Vec<Step> {
    let mut calls: Vec<Step> = Vec::new();
    for call in trace.filter_map(call_of) {
        let nth = 1 + calls.iter().filter(|other| other.call == call).count();
        let call = call.to_owned();
        calls.push(Step { call, nth });
    }
    calls
}

/// The name of the call that a line of a trace is about.
fn call_of(line: &str) -> Option<&str> {
    let (call, _) = line.split_once('(')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    call.chars().all(is_name).then_some(call)
}

/// The steps of a trace of one process.
pub fn steps<'l>(trace: impl Iterator<Item = &'l str>) -> Vec<Step> {
    let lines: Vec<_> = trace.filter(|line| call_of(line).is_some()).collect();
    let calls = calls(lines.iter().copied());
    let is_step = |(step, line): &(Step, &&str)| {
        let opens = step.call.starts_with("open") && step.call != "open_tree";
        !NO_STEPS.contains(&step.call.as_str()) && (!opens || line.contains("O_CREAT"))
    };
    let steps = calls.into_iter().zip(&lines).filter(is_step);
    steps.map(|(step, _)| step).collect()
}

/// What tells strace to kill at a step.
pub fn injection(step: &Step) -> (String, String) {
    let trace = format!("trace={}", step.call);
    let inject = format!("inject={}:signal=KILL:when={}", step.call, step.nth);
    (trace, inject)
}

/// strace before the runtime, whose arguments follow.
pub fn strace(place: &Place, options: &[&str], args: &[&str]) -> std::process::Command {
    let mut command = cmd("strace");
    command.arg("-qq").args(options).arg("--").arg(runtime());
    command.arg("--root").arg(&place.root).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    command
}

/// The steps of a command that goes well.
#[track_caller]
pub fn trace(place: &Place, args: &[&str]) -> Vec<Step> {
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
pub fn kill_at(place: &Place, step: &Step, args: &[&str]) -> bool {
    let (trace, inject) = injection(step);
    let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
    common::command::status(&mut strace(place, &options, args)).signal() == Some(9)
}

/// What `state` says after a command's end is so; `None`: the container doesn't exist.
#[track_caller]
pub fn truth(place: &Place, id: &str, step: &Step) -> Option<String> {
    let state = place.run(&["state", id]);
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
pub fn gone(place: &Place, id: &str, step: &Step) {
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
    // The place of first processes may stand, with none in it.
    let is_empty =
        |name| fs::read_dir(place.root.join(name)).is_ok_and(|mut dir| dir.next().is_none());
    assert!(
        left.iter()
            .all(|name| name == "@filters" || (name == "@inits" && is_empty(name))),
        "{step:?}: {left:?}"
    );
    // Not in the cgroup, but still of this place: such as an init that never got there.
    wait_until(&format!("{step:?}: end of every process"), || {
        processes(place).is_empty()
    });
}

/// Reaps what has ended in the place's cgroups and was left to this process.
pub fn reap_adopted(place: &Place) {
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

pub fn bundle_of(place: &Place) -> String {
    // A filter, a hook and a volume, for their steps.
    let bundle = place.bundle("c", SLEEP, |c| {
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]});
        c["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}], "startContainer": [{"path": "/bin/true"}],
            "poststop": [{"path": "/bin/true"}]});
        let mount = json!({"destination": "/mnt", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]});
        c["mounts"].as_array_mut().unwrap().push(mount);
    });
    bundle.dir.to_str().unwrap().to_owned()
}

pub fn crash(name: &str, test: impl Fn(&Place, &str)) {
    if runc_differs("a killed command leaves processes, cgroups and a state that nobody finds") {
        return;
    }
    let place = Place::new(name);
    let bundle = bundle_of(&place);
    test(&place, &bundle);
}
