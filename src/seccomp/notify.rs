//! Hands a filter's listener to the agent that the configuration names (config-linux.md,
//! "containerprocessstate"). Connects on the host's side, sends from the container's.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde_json::{Value, json};

/// Why the agent has no listener.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// Nobody listens there.
    #[error("linux.seccomp.listenerPath: connect to `{}`", path.display())]
    Connect {
        /// The agent's socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The agent went away.
    #[error("send seccomp listener to its agent")]
    Send(#[source] Errno),
}

/// Connects to the agent.
pub fn connect(path: &Path) -> Result<UnixStream, NotifyError> {
    UnixStream::connect(path).map_err(|source| NotifyError::Connect {
        path: path.to_owned(),
        source,
    })
}

/// Sends the listener with the state of the process that it watches.
pub fn send(
    agent: &UnixStream,
    listener: BorrowedFd<'_>,
    container: &Value,
    pid: i32,
    metadata: &str,
) -> Result<(), NotifyError> {
    let state = json!({
        "ociVersion": container.get("ociVersion"),
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": metadata,
        "state": container,
    })
    .to_string();
    let fds = [listener.as_raw_fd()];
    let sent = sendmsg::<UnixAddr>(
        agent.as_raw_fd(),
        &[IoSlice::new(state.as_bytes())],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
    match sent {
        Ok(length) if length == state.len() => Ok(()),
        Ok(_) => Err(NotifyError::Send(Errno::EMSGSIZE)),
        Err(errno) => Err(NotifyError::Send(errno)),
    }
}
