//! Pseudo-terminals: the console socket, and the one that the runtime makes itself.

use crate::*;

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

/// A shell in a terminal that nobody looks at would wait for ever. runc looks for the controlling
/// terminal, too.
#[test]
fn a_terminal_needs_the_callers() {
    let place = Place::new("notty");
    let bundle = place.bundle("c", SLEEP, |c| c["process"]["terminal"] = json!(true));
    let apart = |args: &[&str]| {
        let mut command = cmd("setsid");
        command.args(["--wait", "timeout", "60"]).arg(runtime());
        command.arg("--root").arg(&place.root).args(args);
        run(command.stdin(Stdio::null()))
    };
    let dir = bundle.dir.to_str().unwrap();
    let output = apart(&["run", "--bundle", dir, "c"]).exits(1);
    let differs = runc_differs("it says no such device or address of /dev/tty");
    assert!(
        differs || output.stderr.contains("process.terminal: `true`, but"),
        "{output}"
    );
    place.run(&["state", "c"]).fails().says("does not exist");
    let c = place.create("d", SLEEP, nothing);
    c.start();
    apart(&["exec", "--tty", "d", "sh"]).exits(1);
    c.remove();
}

/// script(1) is the terminal's other side; its size must arrive, and its changes too.
#[test]
fn run_in_the_foreground_makes_its_own_pty() {
    let place = Place::new("runtty");
    // stty(1) changes rows and columns one after the other: there may be two signals.
    let script = "trap 's=$(stty size); echo $s; [ \"$s\" = \"27 92\" -o \"$s\" = \"28 91\" ] || exit 6' WINCH; \
        stty size; echo ready; while :; do sleep 0.1; done";
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
