//! The seccomp agent of a filter that notifies: connect on the host, hand over the descriptor.
//! It must not answer notifications: that is the agent's work.

use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde_json::{Value, json};

use super::{Program, SeccompError};
use crate::process::Reason;

/// OCI version of the state that is sent, config-linux.md.
const OCI_VERSION: &str = "1.2.0";

/// A connection to `linux.seccomp.listenerPath`, made before the container hides the host's paths.
#[derive(Debug)]
pub struct Listener {
    socket: UnixStream,
    path: String,
}

impl Listener {
    /// Connects to the agent; call it on the host.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path) -> Result<Self, SeccompError> {
        let name = path.display().to_string();
        match UnixStream::connect(path) {
            Ok(socket) => Ok(Self { socket, path: name }),
            Err(error) => Err(SeccompError::Agent {
                step: "connect to agent at",
                path: name,
                source: error.into(),
            }),
        }
    }

    /// A connection that was made by another process; `name` is for messages.
    #[must_use]
    pub fn connected(socket: UnixStream, name: String) -> Self {
        Self { socket, path: name }
    }

    /// The connection, to be handed to another process.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Its name for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.path
    }

    fn send(&self, fd: RawFd, payload: &[u8]) -> Result<(), Errno> {
        let slices = [IoSlice::new(payload)];
        let fds = [fd];
        let rights = [ControlMessage::ScmRights(&fds)];
        let socket = self.socket.as_raw_fd();
        let sent = sendmsg::<UnixAddr>(socket, &slices, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        let rest = (&self.socket).write_all(&payload[sent..]);
        rest.map_err(|error| Reason::from(error).0)
    }
}

/// Sends `fd` and the state to the agent at `listener_path`, from where the path can be reached.
///
/// # Errors
/// Nobody listens there, or the agent went away.
pub fn send(listener_path: &Path, fd: BorrowedFd<'_>, state: &Value) -> Result<(), SeccompError> {
    let listener = Listener::connect(listener_path)?;
    let sent = listener.send(fd.as_raw_fd(), state.to_string().as_bytes());
    sent.map_err(|errno| refused(&listener, errno))
}

/// The ContainerProcessState of config-linux.md: `state` is the container's, as hooks get it, `pid`
/// the process's own as the host sees it, `metadata` is `linux.seccomp.listenerMetadata`.
#[must_use]
pub fn container_process_state(state: &Value, pid: i32, metadata: Option<&str>) -> Value {
    let version = state.get("ociVersion").cloned();
    let mut all = json!({
        "ociVersion": version.unwrap_or_else(|| OCI_VERSION.into()),
        "fds": ["seccompFd"],
        "pid": pid,
        "state": state,
    });
    if let Some(metadata) = metadata {
        all["metadata"] = metadata.into();
    }
    all
}

/// Loads a filter that notifies and hands its descriptor to the agent.
///
/// Under the filter the process may be unable to send anything: the very call could wait for an agent
/// that doesn't have the descriptor yet. So a second thread, which the filter doesn't cover, sends,
/// and this one waits for it without any system call. execve(2) ends that thread.
///
/// # Errors
/// The filter can't be loaded, or the agent went away.
pub fn load_and_send(
    program: &Program,
    listener: &Arc<Listener>,
    state: &Value,
) -> Result<(), SeccompError> {
    let relay = Arc::new(Relay::default());
    let thread = {
        let (relay, listener) = (Arc::clone(&relay), Arc::clone(listener));
        let payload = state.to_string();
        let builder = std::thread::Builder::new().name("seccomp".to_owned());
        builder.spawn(move || relay.serve(&listener, payload.as_bytes()))
    };
    let thread = thread.map_err(|error| SeccompError::Load(error.into()))?;
    let loaded = program.load();
    let fd = match &loaded {
        Ok(Some(fd)) => fd.as_raw_fd(),
        _ => Relay::GIVE_UP,
    };
    let answer = relay.ask(fd);
    // Freeing a thread or closing a descriptor are system calls; both end with execve(2).
    std::mem::forget((thread, loaded?));
    match answer {
        0 => Ok(()),
        errno => Err(refused(listener, Errno::from_raw(errno))),
    }
}

fn refused(listener: &Listener, errno: Errno) -> SeccompError {
    SeccompError::Agent {
        step: "send descriptor to agent at",
        path: listener.path.clone(),
        source: Reason(errno),
    }
}

/// Two cells of memory between the filtered thread and the one that sends.
#[derive(Debug)]
struct Relay {
    question: AtomicI32,
    answer: AtomicI32,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            question: AtomicI32::new(Self::OPEN),
            answer: AtomicI32::new(Self::OPEN),
        }
    }
}

impl Relay {
    const OPEN: i32 = -1;
    const GIVE_UP: i32 = -2;

    /// Gives the descriptor and waits, by looking, for 0 or an errno.
    fn ask(&self, fd: RawFd) -> i32 {
        self.question.store(fd, Ordering::Release);
        loop {
            match self.answer.load(Ordering::Acquire) {
                Self::OPEN => std::hint::spin_loop(),
                answer => return answer,
            }
        }
    }

    fn serve(&self, listener: &Listener, payload: &[u8]) {
        let fd = loop {
            match self.question.load(Ordering::Acquire) {
                Self::OPEN => std::thread::sleep(Duration::from_micros(50)),
                fd => break fd,
            }
        };
        let answer = match fd {
            Self::GIVE_UP => Ok(()),
            fd => listener.send(fd, payload),
        };
        let errno = answer.err().map_or(0, |errno| errno as i32);
        self.answer.store(errno, Ordering::Release);
    }
}
