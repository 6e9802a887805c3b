//! The command line's contract with its callers, without the callers: argument lists, pid-files,
//! stdio, exit statuses and texts as conmon, conmon-rs, go-runc, CRI-O and kubelet demand them.
//! Where runc 1.1.5 doesn't keep it, `runc_differs` says so.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::bundle::process;
use common::command::{cmd, detach, feed, limited, run, sh, start};
use common::oci::{Place, Streams, exited, pid_in, reap};
use common::{alive, cgroup, runc_differs, runtime, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, getpgid, getsid};
use serde_json::{Value, json};

const SLEEP: &[&str] = &["sleep", "300"];

fn nothing(_: &mut Value) {}

// --- create, start, state, kill, delete ---

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
        fs::read_to_string(format!("/proc/{}/comm", c.pid)).unwrap() == "sleep\n"
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
    let ns = |name: &str| fs::read_link(format!("/proc/{}/ns/{name}", c.pid)).unwrap();
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
        fs::read_to_string(format!("/proc/{}/comm", c.pid)).unwrap() == "sleep\n"
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

// --- texts that callers match ---

#[test]
fn texts_for_what_is_not_there() {
    let place = Place::new("texts");
    place.run(&["delete", "--force", "nobody"]).ok();
    for args in [
        &["state", "nobody"][..],
        &["kill", "nobody", "9"],
        &["delete", "nobody"],
        &["start", "nobody"],
    ] {
        place.run(args).exits(1).says("does not exist");
    }
}

/// checkKillError of the shim and CRI-O's runtimeCmd look for it in small letters.
#[test]
fn kill_of_a_stopped_container() {
    let place = Place::new("killstopped");
    let c = place.started_sh("c", "true");
    c.reap();
    for args in [
        &["kill", "c", "9"][..],
        &["kill", "c", "KILL"],
        &["kill", "c", "15"],
    ] {
        place.run(args).exits(1).says("container not running");
    }
    place.run(&["delete", "c"]).ok();
}

/// podman tells 127 from 126 by these texts, docker too.
#[test]
fn commands_that_cannot_run() {
    let place = Place::new("cannot");
    let cases = [
        (&["no-such-command"][..], "executable file not found in"),
        (&["/no/such/command"], "no such file or directory"),
        (&["/bin/not-executable"], "permission denied"),
        (&["/etc"], "permission denied"),
    ];
    for (n, (args, text)) in cases.iter().enumerate() {
        let id = format!("c{n}");
        let bundle = place.bundle(&id, args, nothing);
        if args[0] == "/etc" && runc_differs("a directory as command: is a directory") {
            continue;
        }
        let mut command = place.cmd(&["create", "--bundle"]);
        let output = run(command.arg(&bundle.dir).arg(&id)).fails();
        assert!(
            output.stderr.to_lowercase().contains(text),
            "{args:?} should say `{text}`: {output}"
        );
        place.run(&["state", &id]).fails().says("does not exist");
    }
}

#[test]
fn exec_of_commands_that_cannot_run() {
    let place = Place::new("execcannot");
    let c = place.started_sh("c", "exec sleep 300");
    let cases = [
        ("no-such-command", "executable file not found in"),
        ("/no/such/command", "no such file or directory"),
        ("/bin/not-executable", "permission denied"),
    ];
    for (command, text) in cases {
        let output = place.run(&["exec", "c", command]).fails();
        assert!(
            output.stderr.to_lowercase().contains(text),
            "{command} should say `{text}`: {output}"
        );
    }
    assert!(alive(c.pid));
    c.remove();
    place
        .run(&["exec", "c", "true"])
        .fails()
        .says("does not exist");
}

#[test]
fn exec_needs_a_running_container() {
    let place = Place::new("execstopped");
    let c = place.started_sh("c", "true");
    c.reap();
    place.run(&["exec", "c", "true"]).fails();
}

/// callers.md §0.6 and §0.7.
#[test]
fn an_error_is_one_json_object_and_one_line() {
    let place = Place::new("errors");
    let log = place.dir.join("log.json");
    let mut command = cmd(runtime());
    command
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "--root"])
        .arg(&place.root);
    let output = run(command.args(["start", "nobody"])).exits(1);
    assert_eq!(output.stdout, "");
    let text = fs::read_to_string(&log).unwrap();
    let entry: Value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("the whole file is one object ({e}): {text}"));
    assert_eq!(entry["level"], "error");
    let message = entry["msg"].as_str().unwrap();
    assert!(message.contains("does not exist"), "{message}");
    assert!(
        output.stderr.contains(message),
        "stderr says the same: {output}"
    );
    let time = entry["time"].as_str().unwrap();
    run(cmd("date").args(["-d", time])).ok();
    assert_eq!(&time[10..11], "T", "RFC 3339: {time}");
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    if mode & 0o027 != 0 && !runc_differs("the log is readable by everybody") {
        panic!("log mode {mode:o}");
    }
}

#[test]
fn nothing_is_logged_when_all_is_well() {
    let place = Place::new("quiet");
    let log = place.dir.join("log.json");
    let bundle = place.bundle("c", &["echo", "hi"], nothing);
    let mut command = place.bare();
    command
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "run", "--bundle"])
        .arg(&bundle.dir);
    let output = run(command.arg("c")).ok();
    assert_eq!((output.out(), output.stderr.as_str()), ("hi", ""));
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn the_log_is_appended_to() {
    let place = Place::new("append");
    let log = place.dir.join("log.json");
    for _ in 0..2 {
        let mut command = place.bare();
        command
            .arg("--log")
            .arg(&log)
            .args(["--log-format", "json"]);
        run(command.args(["state", "nobody"])).fails();
    }
    let text = fs::read_to_string(&log).unwrap();
    let entries: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(entries.len(), 2, "{text}");
}

/// callers.md §0.8: conmon-rs gives them twice.
#[test]
fn global_flags_may_be_repeated() {
    let place = Place::new("repeated");
    let mut command = place.bare();
    command
        .arg("--root")
        .arg(&place.root)
        .args(["--log-format=json", "--log-format", "json"]);
    command
        .arg("--log")
        .arg("/dev/null")
        .arg("--log")
        .arg(place.dir.join("log"));
    assert_eq!(run(command.args(["list", "-q"])).ok().out(), "");
}

/// callers.md §0.9: podman clears the environment, PATH too.
#[test]
fn an_empty_environment_is_enough() {
    let place = Place::new("noenv");
    let bundle = place.bundle("c", SLEEP, nothing);
    let naked = |args: &[&str]| run(place.cmd(args).env_clear()).ok();
    let dir = bundle.dir.to_string_lossy().into_owned();
    detach(
        place
            .cmd(&["run", "--detach", "--bundle", &dir, "c"])
            .env_clear(),
    );
    let pid = place.state("c")["pid"].as_i64().unwrap() as i32;
    assert_eq!(
        naked(&["exec", "c", "sh", "-c", "echo $PATH"]).out(),
        "/bin"
    );
    naked(&["pause", "c"]);
    naked(&["resume", "c"]);
    naked(&["kill", "c", "9"]);
    reap(pid);
    naked(&["delete", "--force", "c"]);
}

/// moby's parseRuntimeVersion, go-runc's parseVersion.
#[test]
fn version_and_features() {
    let version = run(cmd(runtime()).arg("--version").env_clear()).ok();
    let first = version.stdout.lines().next().unwrap();
    let words: Vec<_> = first.split(' ').collect();
    assert_eq!(words[1], "version", "{first}");
    assert!(
        words[2].starts_with(|c: char| c.is_ascii_digit()),
        "{first}"
    );
    assert!(
        version.stdout.lines().any(|l| l.starts_with("spec: 1.")),
        "{version}"
    );
    let features = run(cmd(runtime()).arg("features").env_clear()).ok();
    assert_eq!(features.stderr, "");
    let features = features.json();
    for key in [
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
    ] {
        assert!(!features[key].is_null(), "features has no {key}");
    }
    for key in ["namespaces", "capabilities", "cgroup", "seccomp"] {
        assert!(
            !features["linux"][key].is_null(),
            "features.linux has no {key}"
        );
    }
}

// --- ids that race ---

#[test]
fn an_id_is_taken_once() {
    let place = Place::new("double");
    let c = place.create("c", SLEEP, nothing);
    let again = place.bundle("again", SLEEP, nothing);
    let mut command = place.cmd(&["create", "--bundle"]);
    run(command.arg(&again.dir).arg("c")).fails();
    assert_eq!(place.state("c")["pid"], c.pid);
    assert_eq!(place.status("c"), "created");
    c.start();
    c.remove();
}

#[test]
fn of_eight_creates_of_one_id_one_wins() {
    if runc_differs("stat and MkdirAll race: several creates of one id may pass") {
        return;
    }
    let place = Place::new("race");
    for round in 0..5 {
        let id = format!("c{round}");
        let bundle = place.bundle(&id, SLEEP, nothing);
        let racers: Vec<_> = (0..8)
            .map(|n| {
                let pid_file = place.dir.join(format!("{id}.{n}.pid"));
                let mut command = place.cmd(&["create", "--bundle"]);
                command
                    .arg(&bundle.dir)
                    .arg("--pid-file")
                    .arg(&pid_file)
                    .arg(&id);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                (command.spawn().expect("run `create`"), pid_file)
            })
            .collect();
        let ended = racers
            .into_iter()
            .map(|(mut child, file)| (child.wait().unwrap().success(), file));
        let won: Vec<_> = ended.filter(|(success, _)| *success).collect();
        assert_eq!(won.len(), 1, "round {round}");
        let pid = pid_in(&won[0].1);
        assert_eq!(place.state(&id)["pid"], pid);
        place.run(&["delete", "--force", &id]).ok();
        reap(pid);
    }
}

/// Equal ids under different roots never meet, in the cgroup neither when the path is left out.
#[test]
fn roots_do_not_know_each_other() {
    let (one, two) = (Place::new("rootone"), Place::new("roottwo"));
    let a = one.create("same", SLEEP, nothing);
    let b = two.create("same", SLEEP, nothing);
    one.run(&["delete", "--force", "same"]).ok();
    a.reap();
    assert!(alive(b.pid));
    assert_eq!(two.status("same"), "created");
    b.remove();
}

/// What a `create` that was killed leaves behind must be found and removed by `delete --force`.
#[test]
fn a_killed_create_leaves_nothing_after_delete_force() {
    let place = Place::new("crash");
    for round in 0..24_u64 {
        let id = format!("c{round}");
        let bundle = place.bundle(&id, SLEEP, nothing);
        let mut command = place.cmd(&["create", "--bundle"]);
        let mut child = command
            .arg(&bundle.dir)
            .arg(&id)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(round * 1500));
        child.kill().unwrap();
        child.wait().unwrap();
        let state = place.run(&["state", &id]);
        assert!(state.code() == 0 || state.code() == 1, "{state}");
        if round == 0
            && runc_differs(
                "processes and cgroups of a killed `create` stay: it has no record of them yet",
            )
        {
            return;
        }
        place.run(&["delete", "--force", &id]).ok();
        let part = format!("{}/{id}", place.cgroup);
        wait_until("no process of the container left", || {
            !cgroup_has_process(&part)
        });
        assert_eq!(
            cgroup::all_with(&part),
            Vec::<std::path::PathBuf>::new(),
            "round {round}"
        );
        place.run(&["state", &id]).fails().says("does not exist");
        let record = fs::read_dir(&place.root)
            .into_iter()
            .flatten()
            .flatten()
            .find(|e| e.file_name() == *id);
        assert!(record.is_none(), "round {round}: {record:?} stays");
    }
}

fn cgroup_has_process(part: &str) -> bool {
    let groups = cgroup::all_with(part);
    groups
        .iter()
        .any(|dir| fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|p| !p.is_empty()))
}

// --- terminals ---

/// conmon and the shim accept one connection and want one descriptor, a pty's master.
fn receive_master(listener: &UnixListener) -> OwnedFd {
    listener
        .set_nonblocking(true)
        .expect("accept without waiting");
    let mut accepted = None;
    wait_until("the runtime connects to the console socket", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (socket, _) = accepted.expect("just accepted");
    socket.set_nonblocking(false).expect("receive with waiting");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("limit the wait");
    let mut name = [0; 4096];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let mut buffers = [IoSliceMut::new(&mut name)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags).expect("receive");
    assert!(message.bytes > 0, "the payload must not be empty");
    let fds: Vec<RawFd> = message
        .cmsgs()
        .expect("control messages")
        .flat_map(rights)
        .collect();
    assert_eq!(fds.len(), 1, "exactly one descriptor");
    own(fds[0])
}

fn rights(message: ControlMessageOwned) -> Vec<RawFd> {
    match message {
        ControlMessageOwned::ScmRights(fds) => fds,
        _ => Vec::new(),
    }
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: recvmsg just made this descriptor for this process, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What the terminal's other side writes, line by line, each within ten seconds.
fn lines_of(master: &OwnedFd) -> impl FnMut() -> String {
    let file = fs::File::from(master.try_clone().expect("duplicate the master"));
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|l| send.send(l))
    });
    move || {
        let line = receive
            .recv_timeout(Duration::from_secs(10))
            .expect("a line from the terminal");
        line.trim_end().to_owned()
    }
}

/// Rows and columns, asked of the master.
fn size_of(master: &OwnedFd) -> String {
    let fd = master.try_clone().expect("duplicate the master");
    run(cmd("stty").arg("size").stdin(Stdio::from(fd)))
        .ok()
        .out()
        .to_owned()
}

#[test]
fn console_socket_gets_one_master_of_the_asked_size() {
    let place = Place::new("console");
    let bundle = place.bundle(
        "c",
        &[
            "sh",
            "-c",
            "tty; stty size; read line; echo got $line; stty size",
        ],
        |c| {
            c["process"]["terminal"] = json!(true);
            c["process"]["consoleSize"] = json!({"height": 31, "width": 97});
        },
    );
    let socket = place.dir.join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut command = place.cmd(&["create", "--bundle"]);
    command
        .arg(&bundle.dir)
        .arg("--pid-file")
        .arg(bundle.path("pid"))
        .arg("--console-socket")
        .arg(&socket);
    run(command.arg("c")).ok();
    let master = receive_master(&listener);
    assert_eq!(size_of(&master), "31 97");
    let mut line = lines_of(&master);
    place.run(&["start", "c"]).ok();
    assert!(
        line().starts_with("/dev/"),
        "the container's tty has a name"
    );
    assert_eq!(line(), "31 97");
    let fd = master.try_clone().unwrap();
    run(cmd("stty")
        .args(["rows", "40", "cols", "120"])
        .stdin(Stdio::from(fd)))
    .ok();
    nix::unistd::write(&master, b"word\n").unwrap();
    assert_eq!([line(), line(), line()], ["word", "got word", "40 120"]);
    let pid = pid_in(&bundle.path("pid"));
    assert_eq!(reap(pid), exited(pid, 0));
}

#[test]
fn exec_with_a_console_socket() {
    let place = Place::new("execconsole");
    let c = place.started_sh("c", "exec sleep 300");
    let mut spec = process(&["sh", "-c", "stty size; exit 4"]);
    spec["terminal"] = json!(true);
    spec["consoleSize"] = json!({"height": 20, "width": 70});
    let file = place.dir.join("process.json");
    fs::write(&file, spec.to_string()).unwrap();
    let socket = place.dir.join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let pid_file = place.dir.join("exec.pid");
    let mut command = place.cmd(&["exec", "--detach", "--process"]);
    command
        .arg(&file)
        .arg("--pid-file")
        .arg(&pid_file)
        .arg("--console-socket")
        .arg(&socket);
    run(command.arg("c")).ok();
    let master = receive_master(&listener);
    let size = lines_of(&master)();
    if !runc_differs("consoleSize is not applied to an exec'd process's terminal") {
        assert_eq!(size, "20 70");
    }
    let pid = pid_in(&pid_file);
    assert_eq!(reap(pid), exited(pid, 4));
    c.remove();
}

#[test]
fn terminal_and_console_socket_go_together() {
    let place = Place::new("pairing");
    let bundle = place.bundle("c", SLEEP, |c| c["process"]["terminal"] = json!(true));
    let mut command = place.cmd(&["create", "--bundle"]);
    run(command.arg(&bundle.dir).arg("c")).fails();
    place.run(&["state", "c"]).fails().says("does not exist");
    let bundle = place.bundle("d", SLEEP, nothing);
    let socket = place.dir.join("s");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut command = place.cmd(&["create", "--console-socket"]);
    run(command
        .arg(&socket)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg("d"))
    .fails();
    place.run(&["state", "d"]).fails().says("does not exist");
}

/// script(1) is the terminal's other side; its size must arrive, and its changes too.
#[test]
fn run_in_the_foreground_makes_its_own_pty() {
    let place = Place::new("runtty");
    let script =
        "trap 'stty size; exit 6' WINCH; stty size; echo ready; while :; do sleep 0.1; done";
    let bundle = place.bundle("c", &["sh", "-c", script], |c| {
        c["process"]["terminal"] = json!(true)
    });
    let line = format!(
        "stty rows 27 cols 91; (sleep 1.5; stty rows 28 cols 92 </dev/tty)& {} --root {} run --bundle {} c; echo code $?",
        runtime().display(),
        place.root.display(),
        bundle.dir.display()
    );
    let output = run(cmd("script").args(["-qec", &line, "/dev/null"]));
    for text in ["27 91", "ready", "28 92", "code 6"] {
        assert!(output.stdout.contains(text), "no `{text}`: {output}");
    }
}

// --- exec ---

#[test]
fn exec_in_the_foreground_returns_the_code() {
    let place = Place::new("execcode");
    let c = place.started_sh("c", "exec sleep 300");
    assert_eq!(place.run(&["exec", "c", "echo", "hi"]).ok().out(), "hi");
    place.run(&["exec", "c", "sh", "-c", "exit 42"]).exits(42);
    // 128 + the signal, as a shell has it.
    place
        .run(&["exec", "c", "sh", "-c", "kill -TERM $$"])
        .exits(143);
    place
        .run(&["exec", "c", "sh", "-c", "kill -KILL $$"])
        .exits(137);
    let input = feed(&mut place.cmd(&["exec", "c", "cat"]), b"through").ok();
    assert_eq!(input.out(), "through");
    c.remove();
}

/// The shim and conmon: process.json, detached, the pid is the process itself.
#[test]
fn exec_detached_with_process_and_pid_file() {
    let place = Place::new("execdetach");
    let c = place.started_sh("c", "exec sleep 300");
    let mut spec = process(&[
        "sh",
        "-c",
        "echo $GREETING from $(pwd) as $(id -u):$(id -g); exec 1>/dev/null 2>&1; sleep 0.3; exit 9",
    ]);
    spec["env"] = json!(["PATH=/bin", "GREETING=hi"]);
    spec["cwd"] = json!("/home/user");
    spec["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [2000]});
    let file = place.dir.join("process.json");
    fs::write(&file, spec.to_string()).unwrap();
    let pid_file = place.dir.join("exec.pid");
    let mut command = place.cmd(&["exec", "--process"]);
    command
        .arg(&file)
        .arg("--detach")
        .arg("--pid-file")
        .arg(&pid_file)
        .arg("c");
    let streams = Streams::give(&mut command);
    limited(&mut command);
    drop(command);
    let pid = pid_in(&pid_file);
    let ns = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_eq!(
        ns(pid),
        ns(c.pid),
        "the pid is the process in the container"
    );
    assert_eq!(streams.stdout.text(), "hi from /home/user as 1000:1000\n");
    assert_eq!(reap(pid), exited(pid, 9));
    c.remove();
}

#[test]
fn exec_process_is_in_the_containers_cgroup_and_killed_with_it() {
    let place = Place::new("execcgroup");
    let c = place.started_sh("c", "exec sleep 300");
    let pid_file = place.dir.join("exec.pid");
    let mut command = place.cmd(&["exec", "-d", "--pid-file"]);
    detach(command.arg(&pid_file).args(["c", "sleep", "300"]));
    let pid = pid_in(&pid_file);
    let groups = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(groups(pid), groups(c.pid));
    place.run(&["kill", "--all", "c", "9"]).ok();
    // pid_namespaces(7): init ends after all others of its namespace are reaped.
    reap(pid);
    c.reap();
    place.run(&["delete", "c"]).ok();
}

/// conmon-rs: argv form, twice the globals; user, env and cwd come from config.json.
#[test]
fn exec_as_conmon_rs_does() {
    let place = Place::new("conmonrs");
    let c = place.create("c", &["sleep", "300"], |c| {
        c["process"]["cwd"] = json!("/home/user");
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        c["process"]["env"] = json!(["PATH=/bin", "COLOUR=green"]);
    });
    c.start();
    let root = format!("--root={}", place.root.display());
    let pid_file = place.dir.join("exec.pid");
    let pid_flag = format!("--pid-file={}", pid_file.display());
    let mut command = cmd(runtime());
    command.args([
        &root,
        &root,
        "exec",
        "-d",
        &pid_flag,
        "c",
        "sh",
        "-c",
        "echo $COLOUR $(pwd) $(id -u); exit 3",
    ]);
    let streams = Streams::give(&mut command);
    limited(&mut command);
    drop(command);
    assert_eq!(streams.stdout.text(), "green /home/user 1000\n");
    let pid = pid_in(&pid_file);
    assert_eq!(reap(pid), exited(pid, 3));
    c.remove();
}

#[test]
fn exec_flags() {
    let place = Place::new("execflags");
    let c = place.started_sh("c", "exec sleep 300");
    let line = "echo $(id -u):$(id -g) $(pwd) $A";
    let out = place
        .run(&[
            "exec",
            "--user",
            "1000:2000",
            "--cwd",
            "/tmp",
            "--env",
            "A=b",
            "c",
            "sh",
            "-c",
            line,
        ])
        .ok();
    assert_eq!(out.out(), "1000:2000 /tmp b");
    // HOME comes from the container's /etc/passwd when nobody sets it.
    let spec = json!({"args": ["sh", "-c", "echo $HOME"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 1000, "gid": 1000}});
    let file = place.dir.join("process.json");
    fs::write(&file, spec.to_string()).unwrap();
    let out = run(place.cmd(&["exec", "--process"]).arg(&file).arg("c")).ok();
    assert_eq!(out.out(), "/home/user");
    c.remove();
}

const NO_MKDIR: &[&str] = &["mkdir", "mkdirat"];

fn deny_mkdir(config: &mut Value) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": NO_MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
}

/// A filter that an exec'd process escapes is none.
#[test]
fn exec_keeps_the_containers_seccomp_filter() {
    let place = Place::new("seccomp");
    let c = place.create("c", SLEEP, deny_mkdir);
    c.start();
    place
        .run(&["exec", "c", "mkdir", "/tmp/no"])
        .fails()
        .says("Operation not permitted");
    // process.json of the caller holds no filter: it is the container's.
    let file = place.dir.join("process.json");
    fs::write(&file, process(&["mkdir", "/tmp/no"]).to_string()).unwrap();
    run(place.cmd(&["exec", "--process"]).arg(&file).arg("c"))
        .fails()
        .says("Operation not permitted");
    c.remove();
}

// --- run ---

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

// --- ps, list, events, update, pause ---

/// Keys and kinds of runc 1.1.5's answers.
fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<_> = value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    keys.sort();
    keys
}

#[test]
fn state_and_list_have_runcs_shape() {
    let place = Place::new("shapes");
    let c = place.create("c", SLEEP, |c| {
        c["annotations"]["org.example"] = json!("kept")
    });
    c.start();
    let state = place.state("c");
    for key in [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ] {
        assert!(!state[key].is_null(), "state has no {key}: {state}");
    }
    assert_eq!(state["annotations"]["org.example"], "kept");
    let list = place.run(&["list", "--format=json"]).ok().json();
    assert_eq!(keys(&list[0]), keys(&state));
    assert_eq!(list[0]["id"], "c");
    let table = place.run(&["list"]).ok().stdout;
    let head: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(place.run(&["list", "-q"]).ok().out(), "c");
    c.remove();
    assert!(
        place.run(&["list", "--format", "json"]).ok().out() == "null",
        "an empty list is null, as in runc"
    );
}

#[test]
fn ps_gives_host_pids() {
    let place = Place::new("ps");
    let c = place.started_sh("c", "sleep 300 & exec sleep 300");
    wait_until("two processes", || {
        place
            .run(&["ps", "--format", "json", "c"])
            .json()
            .as_array()
            .unwrap()
            .len()
            == 2
    });
    let pids = place.run(&["ps", "--format", "json", "c"]).ok().json();
    assert!(pids.as_array().unwrap().contains(&json!(c.pid)), "{pids}");
    let table = place.run(&["ps", "--format", "table", "c"]).ok().stdout;
    assert!(table.starts_with("UID"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    let table = place.run(&["ps", "c", "-o", "pid,comm"]).ok().stdout;
    assert!(table.contains("sleep"), "{table}");
    c.remove();
}

#[test]
fn events_stats_have_runcs_shape() {
    let place = Place::new("events");
    let c = place.started_sh("c", "exec sleep 300");
    let event = place.run(&["events", "--stats", "c"]).ok().json();
    assert_eq!(keys(&event), ["data", "id", "type"]);
    assert_eq!(
        (&event["type"], &event["id"]),
        (&json!("stats"), &json!("c"))
    );
    let yardstick = [
        "cpu",
        "cpuset",
        "memory",
        "pids",
        "blkio",
        "hugetlb",
        "intel_rdt",
        "network_interfaces",
    ];
    for key in yardstick {
        let there = event["data"].as_object().unwrap().contains_key(key);
        assert!(there, "data has no {key}: {event}");
    }
    assert!(
        event["data"]["cpu"]["usage"]["total"].as_u64().is_some(),
        "{event}"
    );
    assert!(
        event["data"]["memory"]["usage"]["usage"]
            .as_u64()
            .is_some_and(|n| n > 0),
        "{event}"
    );
    assert!(
        event["data"]["pids"]["current"].as_u64() == Some(1),
        "{event}"
    );
    c.remove();
    place.run(&["events", "--stats", "c"]).fails();
}

#[test]
fn update_reaches_the_cgroup() {
    let place = Place::new("update");
    let c = place.create("c", SLEEP, |c| {
        c["linux"]["resources"]["pids"] = json!({"limit": 100})
    });
    let pids = || cgroup::value(c.pid, "pids", "pids.max", "pids.max");
    let memory = || cgroup::value(c.pid, "memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(pids(), "100");
    c.start();
    place.run(&["update", "--pids-limit", "77", "c"]).ok();
    assert_eq!(pids(), "77");
    // CRI-O's form, the shim's form, podman's form.
    let json =
        |limit: u32| json!({"pids": {"limit": limit}, "memory": {"limit": 100 << 20}}).to_string();
    feed(
        &mut place.cmd(&["update", "--resources", "-", "c"]),
        json(66).as_bytes(),
    )
    .ok();
    assert_eq!((pids(), memory()), ("66".into(), (100 << 20).to_string()));
    feed(
        &mut place.cmd(&["update", "--resources=-", "c"]),
        json(55).as_bytes(),
    )
    .ok();
    assert_eq!(pids(), "55");
    let file = place.dir.join("resources");
    fs::write(&file, json(44)).unwrap();
    place
        .run(&["update", &format!("--resources={}", file.display()), "c"])
        .ok();
    assert_eq!(pids(), "44");
    place
        .run(&[
            "update",
            "--memory",
            "67108864",
            "--cpu-quota",
            "50000",
            "--cpu-period",
            "100000",
            "c",
        ])
        .ok();
    assert_eq!(memory(), (64 << 20).to_string());
    let v2 = |v1: &str| cgroup::value(c.pid, "cpu", v1, "cpu.max");
    assert!(["50000", "50000 100000"].contains(&v2("cpu.cfs_quota_us").as_str()));
    place.run(&["update", "--memory", "-1", "c"]).ok();
    assert_ne!(memory(), (64 << 20).to_string());
    c.remove();
}

#[test]
fn pause_and_resume() {
    let place = Place::new("pause");
    let c = place.started_sh("c", "exec sleep 300");
    place.run(&["pause", "c"]).ok();
    assert_eq!(place.status("c"), "paused");
    place.run(&["exec", "c", "true"]).fails().says("paused");
    place.run(&["resume", "c"]).ok();
    assert_eq!(place.status("c"), "running");
    place.run(&["resume", "c"]).fails();
    place.run(&["pause", "c"]).ok();
    place.run(&["delete", "--force", "c"]).ok();
    c.reap();
}

// --- kill ---

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
    let dir = cgroup::dir(c.pid, "pids").expect("a pids cgroup");
    let count = || {
        fs::read_to_string(dir.join("cgroup.procs"))
            .unwrap()
            .lines()
            .count()
    };
    wait_until("three processes", || count() == 3);
    place.run(&["kill", "--all", "c", "9"]).ok();
    c.reap();
    wait_until("all are gone", || !cgroup_has_process(&group));
    place.run(&["delete", "c"]).ok();
}

// --- hooks ---

#[test]
fn hooks_run_in_order_with_the_state_on_stdin() {
    let place = Place::new("hooks");
    let log = place.dir.join("hooks.log");
    let bundle = place.bundle("c", &["true"], |c| {
        let hook = |name: &str, file: &Path| {
            let line = format!("echo {name} $(cat) >>{}", file.display());
            json!([{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"]}])
        };
        // These two run in the container's mount namespace: their log is bound there.
        c["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/mnt", "type": "bind", "source": place.dir, "options": ["rbind", "rw"],
        }));
        let inside = Path::new("/mnt/hooks.log");
        c["hooks"] = json!({
            "prestart": hook("prestart", &log),
            "createRuntime": hook("createRuntime", &log),
            "createContainer": hook("createContainer", &log),
            "startContainer": hook("startContainer", inside),
            "poststart": hook("poststart", &log),
            "poststop": hook("poststop", &log),
        });
    });
    let c = place.create_in("c", &bundle);
    let late = runc_differs("poststart hooks run at the end of `create` already");
    if !late {
        assert_eq!(
            names(&log),
            ["prestart", "createRuntime", "createContainer"]
        );
    }
    c.start();
    c.reap();
    place.run(&["delete", "c"]).ok();
    let all = [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ];
    let mut run = names(&log);
    if late {
        run.swap(3, 4);
    }
    assert_eq!(run, all);
    for line in fs::read_to_string(&log).unwrap().lines() {
        let (name, state) = line.split_once(' ').unwrap();
        let state: Value = serde_json::from_str(state)
            .unwrap_or_else(|e| panic!("{name} got no state ({e}): {line}"));
        assert_eq!(
            (&state["id"], &state["bundle"]),
            (&json!("c"), &json!(bundle.dir)),
            "{name}"
        );
        let status = state["status"].as_str().unwrap();
        let expected = match name {
            "prestart" | "createRuntime" | "createContainer" => "creating",
            "startContainer" => "created",
            "poststart" => "running",
            _ => "stopped",
        };
        if status != expected
            && !runc_differs(&format!("{name} hooks get status {status}, not {expected}"))
        {
            panic!("{name} got status {status}, not {expected}");
        }
        if name != "poststop" {
            assert!(
                state["pid"].as_i64().is_some_and(|p| p > 0),
                "{name} needs the pid: {line}"
            );
        }
    }
}

fn names(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .map(|l| l.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_failing_hook_fails_create_and_leaves_nothing() {
    let place = Place::new("badhook");
    let bundle = place.bundle("c", SLEEP, |c| {
        c["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo so what >&2; exit 3"]}]});
    });
    let mut command = place.cmd(&["create", "--bundle"]);
    run(command.arg(&bundle.dir).arg("c")).fails();
    place.run(&["state", "c"]).fails().says("does not exist");
    assert_eq!(
        cgroup::all_with(&format!("{}/c", place.cgroup)),
        Vec::<std::path::PathBuf>::new()
    );
}

// --- CRI-O and kubelet ---

/// callers.md §5: CRI-O's own calls.
#[test]
fn crio_calls() {
    let place = Place::new("crio");
    let c = place.create("c", SLEEP, nothing);
    let root = place.root.to_string_lossy().into_owned();
    let crio = |args: &[&str]| run(cmd(runtime()).args(["--root", &root]).args(args));
    crio(&["start", "c"]).ok();
    let state = crio(&["state", "c"]).ok().json();
    assert_eq!(state["status"], "running");
    // exec in the foreground: our exit code is the command's.
    let file = place.dir.join("process.json");
    fs::write(
        &file,
        process(&["sh", "-c", "echo out; echo err >&2; exit 17"]).to_string(),
    )
    .unwrap();
    let output = crio(&["exec", "--process", &file.to_string_lossy(), "c"]).exits(17);
    assert_eq!((output.out(), output.stderr.trim()), ("out", "err"));
    // With a terminal but no console socket, the runtime makes the pty.
    let mut spec = process(&["sh", "-c", "tty && echo terminal; exit 18"]);
    spec["terminal"] = json!(true);
    fs::write(&file, spec.to_string()).unwrap();
    let line = format!(
        "{} --root {root} exec --process {} c",
        runtime().display(),
        file.display()
    );
    run(cmd("script").args(["-qec", &line, "/dev/null"]))
        .exits(18)
        .says("terminal");
    crio(&["kill", "c", "KILL"]).ok();
    c.reap();
    crio(&["kill", "c", "9"])
        .fails()
        .says("container not running");
    assert_eq!(crio(&["state", "c"]).ok().json()["status"], "stopped");
    crio(&["delete", "--force", "c"]).ok();
    crio(&["delete", "--force", "c"]).ok();
    crio(&["checkpoint", "--help"]).ok();
}

/// kubelet through CRI: a pause container, and others that join its namespaces by /proc paths.
#[test]
fn sandbox_and_app_containers() {
    let place = Place::new("pod");
    let sandbox = place.create("pause", SLEEP, nothing);
    sandbox.start();
    let joined = |name: &str| format!("/proc/{}/ns/{name}", sandbox.pid);
    let join = |c: &mut Value, kinds: &[(&str, &str)]| {
        for n in c["linux"]["namespaces"].as_array_mut().unwrap() {
            if let Some((_, file)) = kinds.iter().find(|(kind, _)| n["type"] == *kind) {
                n["path"] = json!(joined(file));
            }
        }
        c.as_object_mut().unwrap().remove("hostname");
    };
    let script = "readlink /proc/self/ns/net; hostname; exec sleep 300";
    let app = place.create("app", &["sh", "-c", script], |c| {
        join(c, &[("network", "net"), ("ipc", "ipc"), ("uts", "uts")])
    });
    app.start();
    // shareProcessNamespace: the pid namespace too.
    let peer = place.create(
        "peer",
        &["sh", "-c", "ps -o comm | grep -c sleep; exit 8"],
        |c| {
            join(
                c,
                &[
                    ("network", "net"),
                    ("ipc", "ipc"),
                    ("uts", "uts"),
                    ("pid", "pid"),
                ],
            );
        },
    );
    peer.start();
    assert_eq!(peer.reap(), exited(peer.pid, 8));
    assert_eq!(
        peer.streams.stdout.text(),
        "1\n",
        "it sees the pause container's process"
    );
    for (kind, ns) in [("net", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{ns}")).unwrap();
        assert_eq!(link(app.pid), link(sandbox.pid), "{kind}");
    }
    let output = {
        app.kill("KILL").ok();
        app.reap();
        app.streams.stdout.text()
    };
    assert_eq!(output.lines().nth(1), Some("inside"), "{output}");
    place.run(&["delete", "app"]).ok();
    place.run(&["delete", "peer"]).ok();
    sandbox.remove();
}

// --- what must not reach the container ---

#[test]
fn no_descriptor_of_the_caller_is_in_the_container() {
    let place = Place::new("fds");
    let bundle = place.bundle(
        "c",
        &[
            "sh",
            "-c",
            "ls -l /proc/self/fd | sed 's/.* \\([0-9]* ->\\)/\\1/'",
        ],
        nothing,
    );
    // Descriptor 9 has no FD_CLOEXEC here, like those that a careless caller leaves open.
    let line = format!(
        "exec 9</etc/hostname; {} --root {} run --bundle {} c",
        runtime().display(),
        place.root.display(),
        bundle.dir.display()
    );
    let output = run(&mut sh(&line)).ok();
    let open: Vec<_> = output
        .stdout
        .lines()
        .filter_map(|l| l.split_once(" -> "))
        .collect();
    // 3 is ls's own, the directory.
    let stray: Vec<_> = open
        .iter()
        .filter(|(fd, to)| fd.parse::<u32>().is_ok_and(|n| n > 2) && !to.starts_with("/proc"))
        .collect();
    assert!(open.len() >= 3 && stray.is_empty(), "{output}");
}

#[test]
fn preserved_descriptors_arrive() {
    let place = Place::new("preserve");
    let file = place.dir.join("file");
    fs::write(&file, "preserved").unwrap();
    let bundle = place.bundle("c", &["sh", "-c", "cat <&3"], nothing);
    let line = format!(
        "exec 3<{}; {} --root {} run --preserve-fds 1 --bundle {} c",
        file.display(),
        runtime().display(),
        place.root.display(),
        bundle.dir.display()
    );
    assert_eq!(run(&mut sh(&line)).ok().out(), "preserved");
}

/// sd_listen_fds(3): LISTEN_FDS descriptors from 3 on, LISTEN_PID is the container's 1.
#[test]
fn listen_fds_arrive() {
    let place = Place::new("listen");
    let file = place.dir.join("file");
    fs::write(&file, "activated").unwrap();
    let bundle = place.bundle(
        "c",
        &["sh", "-c", "cat <&3; echo \" $LISTEN_FDS $LISTEN_PID\""],
        nothing,
    );
    let line = format!(
        "exec 3<{}; LISTEN_FDS=1 LISTEN_PID=$$ exec {} --root {} run --bundle {} c",
        file.display(),
        runtime().display(),
        place.root.display(),
        bundle.dir.display()
    );
    assert_eq!(run(&mut sh(&line)).ok().out(), "activated 1 1");
}

/// CVE-2019-5736: what runs as `/proc/self/exe` before the container's own binary is loaded must
/// not be the runtime's file on the host, or writing to it would replace the runtime.
#[test]
fn proc_self_exe_never_leads_to_the_hosts_binary() {
    let place = Place::new("selfexe");
    let before = common::image::sha256(&fs::read(runtime()).unwrap());
    let rootfs = place.dir.join("rootfs");
    common::image::rootfs(&rootfs);
    let shebang = rootfs.join("bin/shebang");
    fs::write(&shebang, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&shebang, fs::Permissions::from_mode(0o755)).unwrap();
    // Inside, a watcher with all rights tries to open for writing whatever binary a new process has.
    let watcher = "end=$(($(date +%s) + 300)); while [ $(date +%s) -lt $end ]; do for p in /proc/[0-9]*; do \
                   [ $p = /proc/$$ ] || [ $p = /proc/1 ] || sh -c 'exec 7>>'$p/exe 2>/dev/null && readlink $p/exe >>/tmp/opened; done; done";
    let root = |c: &mut Value| {
        c["root"]["path"] = json!(rootfs);
        let all = json!([
            "CAP_SYS_PTRACE",
            "CAP_DAC_OVERRIDE",
            "CAP_SYS_ADMIN",
            "CAP_KILL"
        ]);
        c["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    };
    let c = place.create("c", &["sh", "-c", watcher], root);
    c.start();
    for command in ["/proc/self/exe", "/bin/shebang", "/bin/true"] {
        for _ in 0..5 {
            // What the runtime's own binary does with such arguments doesn't matter, only that it ends.
            run(&mut place.cmd(&["exec", "c", command]));
        }
    }
    for (n, command) in ["/proc/self/exe", "/bin/shebang"].iter().enumerate() {
        let id = format!("args{n}");
        let bundle = place.bundle(&id, &[command, "--version"], root);
        run(place.cmd(&["run", "--bundle"]).arg(&bundle.dir).arg(&id));
    }
    let opened = place
        .run(&[
            "exec",
            "c",
            "sh",
            "-c",
            "cat /tmp/opened 2>/dev/null | sort -u",
        ])
        .ok();
    let host = runtime().to_string_lossy().into_owned();
    assert!(
        !opened.stdout.lines().any(|l| l == host),
        "opened for writing: {opened}"
    );
    let after = common::image::sha256(&fs::read(runtime()).unwrap());
    assert_eq!(before, after, "the runtime's binary changed");
    c.remove();
}

/// The same, without luck: a process of the runtime that is in the container at this moment.
#[test]
fn the_waiting_init_is_no_way_to_the_hosts_binary() {
    let place = Place::new("initexe");
    let c = place.create("c", SLEEP, nothing);
    let exe = format!("/proc/{}/exe", c.pid);
    let writable = fs::OpenOptions::new().append(true).open(&exe);
    let same = fs::metadata(&exe).unwrap();
    let host = fs::metadata(runtime()).unwrap();
    use std::os::unix::fs::MetadataExt;
    if (same.dev(), same.ino()) == (host.dev(), host.ino()) {
        assert!(
            writable.is_err(),
            "the waiting init runs the host's file, and it opens for writing"
        );
    }
    c.remove();
}

#[test]
fn spec_writes_a_config_that_runs() {
    let place = Place::new("spec");
    let dir = place.dir.join("made");
    fs::create_dir(&dir).unwrap();
    run(place.cmd(&["spec", "--bundle"]).arg(&dir)).ok();
    let file = dir.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(config["process"]["terminal"], true);
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["echo", "made"]);
    config["process"].as_object_mut().unwrap().remove("rlimits");
    config["root"]["path"] = json!(Place::rootfs());
    config["linux"]["cgroupsPath"] = json!(format!("{}/spec", place.cgroup));
    fs::write(&file, config.to_string()).unwrap();
    assert_eq!(
        run(place.cmd(&["run", "--bundle"]).arg(&dir).arg("c"))
            .ok()
            .out(),
        "made"
    );
    run(place.cmd(&["spec", "--bundle"]).arg(&dir)).fails();
}
