//! A seccomp agent on the other end of `listenerPath`, and processes that it decides about.
//! It must not be more of an agent than the trials need.

use std::io::{IoSliceMut, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use super::rig::Trial;

/// What says so.
const STOP: &[u8] = b"stop";

/// Takes connections until one brings a descriptor (the host's side of the rig connects too), or
/// until one says that the process has ended without.
fn receive(listener: &UnixListener) -> Option<(RawFd, Value)> {
    loop {
        let (stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags).unwrap();
        let length = message.bytes;
        let fd = message.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        if let Some(fd) = fd {
            return Some((fd, serde_json::from_slice(&bytes[..length]).unwrap()));
        }
        if bytes.starts_with(STOP) {
            return None;
        }
    }
}

/// Answers every notification with `errno`, or lets it go on when that is 0; stops with the process.
fn serve(fd: RawFd, errno: i32) -> usize {
    let mut answered = 0;
    while let Ok(request) = ScmpNotifReq::receive(fd) {
        let response = match errno {
            0 => ScmpNotifResp::new_continue(request.id, ScmpNotifRespFlags::empty()),
            errno => ScmpNotifResp::new_error(request.id, -errno, ScmpNotifRespFlags::empty()),
        };
        if response.respond(fd).is_ok() {
            answered += 1;
        }
    }
    answered
}

fn trial(names: &[&str], errno: i32, args: &[&str]) -> (String, Value, usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let agent = std::thread::spawn(move || {
        let received = receive(&listener);
        received.map(|(fd, state)| (state, serve(fd, errno)))
    });
    let trial = Trial::new(args).linux(
        "seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": &path, "listenerMetadata": "m",
            "flags": ["SECCOMP_FILTER_FLAG_TSYNC"],
            "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
        }),
    );
    let printed = trial.run();
    if let Ok(mut stream) = UnixStream::connect(&path) {
        stream.write_all(STOP).unwrap();
    }
    let (state, answered) = agent.join().unwrap().unwrap_or((Value::Null, 0));
    (printed, state, answered)
}

#[test]
fn the_agent_gets_the_descriptor_and_decides() {
    let (printed, state, answered) = trial(&["mkdir"], 71, &["mkdir", "/tmp/x"]);
    assert_eq!(
        printed,
        "mkdir: can't create directory '/tmp/x': Protocol error\n"
    );
    assert_eq!((state, answered), (json!({"a": "state"}), 1));
}

#[test]
fn calls_that_the_hand_over_itself_would_need_may_notify() {
    let names = ["execve", "sendmsg", "futex", "close", "munmap", "capset"];
    let (printed, _, answered) = trial(&names, 0, &["echo", "ran"]);
    assert_eq!(printed, "ran\n");
    assert!(answered >= 1, "execve at least");
}

#[test]
fn an_agent_that_is_not_there_is_known_at_create() {
    let trial = Trial::new(&["true"]).linux(
        "seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere/agent",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        }),
    );
    let text = "seccomp: connect to agent at `/nowhere/agent`: no such file or directory";
    assert_eq!(trial.run(), text);
    let trial = trial.linux(
        "seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        }),
    );
    let text = "seccomp: listenerPath is not set, and the profile has SCMP_ACT_NOTIFY";
    assert_eq!(trial.run(), text);
}
