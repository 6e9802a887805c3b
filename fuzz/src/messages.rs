//! What is said over sockets that a container's own processes might reach: each message is one JSON
//! packet, which is refused or read.

use std::os::fd::{AsFd, AsRawFd};

use pxrun::backend::linux::channel::{self, Go, MAX_PACKET, Report};
use pxrun::backend::lxc::wire::{Hello, Job, Task, Watch};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One packet, taken for each message of both conversations.
pub fn stub(data: &[u8]) {
    let data = data.get(..MAX_PACKET).unwrap_or(data);
    received(data);
    again::<Hello>(data);
    again::<Job>(data);
    again::<Task>(data);
    again::<Watch>(data);
    again::<Go>(data);
}

/// By a socket, as a process of the container would send it.
fn received(data: &[u8]) {
    let (ours, theirs) = channel::pair().expect("a pair of sockets");
    let sent = nix::sys::socket::send(
        theirs.as_fd().as_raw_fd(),
        data,
        nix::sys::socket::MsgFlags::MSG_NOSIGNAL,
    );
    drop(theirs);
    if sent.is_ok() {
        let _ = ours.receive::<Report>();
        assert!(matches!(ours.receive::<Report>(), Ok(None)));
    }
}

/// What was read is written the same twice.
fn again<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(data) else {
        return;
    };
    let written = serde_json::to_vec(&message).expect("a message can be written");
    let read: T = serde_json::from_slice(&written).expect("and read again");
    assert_eq!(
        written,
        serde_json::to_vec(&read).expect("and written again")
    );
}
