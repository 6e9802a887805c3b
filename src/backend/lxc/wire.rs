//! What is said between `create`, the mount hook, the first process and the keeper: the words, and
//! sockets with names on which to say them. Must not know what they lead to.
//!
//! Each conversation is one of [`crate::backend::linux::channel`]: SOCK_SEQPACKET, one JSON packet a message.
//!
//! ```text
//! create                       hook            first process             keeper
//!    │ ◀──────── Hello ────────── │                  │                      │
//!    │ ── Go ───────────────────▶ │ (the root is built)                     │
//!    │ ◀──────────────── Hello ───────────────────── │                      │
//!    │ ── Job, descriptors ────────────────────────▶ │                      │
//!    │ ◀──────────────── Ready ───────────────────── │                      │
//!    │ ── Watch, descriptors ──────────────────────────────────────────────▶│
//!    │ ◀──────────────────────────────────────────── Ready ──────────────── │
//!    │ ── Go ──────────────────────────────────────▶ │  and the same to it ▶│
//!    │ ◀──── Failed(text), at any time before, instead of a report ──────── │
//! ```

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, connect, getsockopt,
    listen, socket, sockopt::PeerCredentials,
};
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backend::linux::channel::End;
use crate::process::Lsm;
use crate::seccomp::Program;
use crate::state::ProcessId;

/// The hook's or the first process's first word.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The hook: where LXC has mounted the root.
    #[serde(default)]
    pub root: String,
}

/// What the first process has to do. The long parts come in a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// How many of the descriptors are the caller's own, after the fixed ones.
    pub kept: u32,
    /// Whether an agent's socket is among the descriptors.
    pub agent: bool,
    /// What is left to do to the root.
    pub late: crate::rootfs::Late,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// The configuration, typed.
    pub spec: Spec,
    /// `process` as it came.
    pub process: Value,
    /// The container's state for hooks and agents.
    pub state: Value,
    /// The process's pid as the host sees it.
    pub pid: i32,
    /// The container's name for its caller.
    pub id: String,
    /// Standard input, output and error are a terminal of its own.
    pub terminal: bool,
    /// A user namespace other than pxrun's.
    pub userns: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// Descriptors by sd_listen_fds(3).
    pub listen_fds: u32,
    /// What the host's kernel has turned on.
    pub lsm: Lsm,
    /// The compiled filter.
    pub program: Option<Program>,
    /// Name of the agent, for messages.
    pub agent: Option<String>,
}

/// What the keeper watches over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Watch {
    /// The first process.
    pub init: ProcessId,
    /// Where it is accounted; to be killed when the keeper is.
    pub cgroup: crate::cgroup::Cgroup,
    /// How many of the descriptors, after the pidfd, lead into the cgroup; the rest lead back.
    pub doors: usize,
    /// Whether the last of the descriptors is the directory to clone into for the way back.
    pub back_into: bool,
    /// Learn the exit status from process events even where the pidfd tells it: for tests.
    pub events: bool,
}

/// A socket with a name that waits for one visitor.
#[derive(Debug)]
pub struct Door(OwnedFd);

/// Somebody who knocked.
#[derive(Debug)]
pub struct Visitor {
    /// The conversation.
    pub channel: End,
    /// Its pid as the kernel tells it.
    pub pid: i32,
}

impl Door {
    /// Binds a socket that everybody may knock at: who it is, the kernel tells.
    pub fn open(path: &Path) -> Result<Door, Errno> {
        let socket = seqpacket()?;
        bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        listen(&socket, Backlog::new(4)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        Ok(Door(socket))
    }

    /// The next who knocks.
    pub fn answer(&self) -> Result<Visitor, Errno> {
        let socket = loop {
            match accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                other => break crate::sys::fd::adopt(other?),
            }
        };
        let peer = getsockopt(&socket, PeerCredentials)?;
        Ok(Visitor {
            channel: End::from(socket),
            pid: peer.pid(),
        })
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Knocks at a door.
pub fn knock(path: &Path) -> Result<End, Errno> {
    let socket = seqpacket()?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(End::from(socket))
}

fn seqpacket() -> Result<OwnedFd, Errno> {
    socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
}
