//! Makes a container's first process: one clone3 where that is enough, a helper process in between
//! where namespaces have to be joined first. Knows nothing of what the process then does.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::channel::{self, ChannelError};
use super::namespaces::Namespaces;
use crate::cgroup::Gate;
use crate::sys::clone::{CloneArgs, Cloned, clone3, exit_now, pidfd_open};

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// clone3(2) failed.
    #[error("make container process")]
    Clone(#[source] Errno),
    /// The helper failed; its words.
    #[error(transparent)]
    Helper(#[from] ChannelError),
}

/// A process that was made, still waiting for its first word.
#[derive(Debug)]
pub struct Spawned {
    /// Pid in the runtime's namespace.
    pub pid: Pid,
    /// Refers to it whatever becomes of the pid.
    pub pidfd: OwnedFd,
}

/// Forks `body` into its namespaces and cgroup. It ends with what
/// `body` returns. Where no helper is needed the joins are left to `body`.
pub fn spawn(
    namespaces: &Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> Result<Spawned, SpawnError> {
    let args = CloneArgs {
        namespaces: namespaces.clone_flags(),
        cgroup,
        sibling: false,
    };
    if namespaces.need_helper() {
        return spawn_through_helper(namespaces, args, body);
    }
    match clone3(args).map_err(SpawnError::Clone)? {
        Cloned::Parent { pid, pidfd } => Ok(Spawned { pid, pidfd }),
        Cloned::Child => exit_now(body()),
    }
}

/// The helper joins, clones the container's process as a sibling of itself, tells its pid and is
/// gone.
fn spawn_through_helper(
    namespaces: &Namespaces,
    args: CloneArgs<'_>,
    body: impl FnOnce() -> i32,
) -> Result<Spawned, SpawnError> {
    let (ours, theirs) = channel::pair()?;
    let helper = match clone3(CloneArgs::default()).map_err(SpawnError::Clone)? {
        Cloned::Parent { pid, .. } => pid,
        Cloned::Child => {
            drop(ours);
            help(namespaces, args, &theirs, body)
        }
    };
    drop(theirs);
    let answer = ours.receive::<Result<i32, String>>();
    reap(helper);
    match answer?.ok_or(ChannelError::Closed)? {
        Ok(pid) => Ok(Spawned {
            pid: Pid::from_raw(pid),
            // It is this process's own child now, so its pid can't have been given away.
            pidfd: pidfd_open(pid).map_err(SpawnError::Clone)?,
        }),
        Err(text) => Err(ChannelError::Failed(text).into()),
    }
}

fn help(
    namespaces: &Namespaces,
    args: CloneArgs<'_>,
    channel: &channel::End,
    body: impl FnOnce() -> i32,
) -> ! {
    let made = namespaces
        .join_all()
        .map_err(|error| crate::error::one_line(&error.into()))
        .and_then(|()| {
            clone3(CloneArgs {
                sibling: true,
                ..args
            })
            .map_err(|errno| format!("make container process: {errno}"))
        });
    let answer = match made {
        Ok(Cloned::Child) => exit_now(body()),
        Ok(Cloned::Parent { pid, .. }) => Ok(pid.as_raw()),
        Err(text) => Err(text),
    };
    let failed = channel.send(&answer).is_err() || answer.is_err();
    exit_now(i32::from(failed))
}

/// Forks into the version 2 cgroup `into`, which `gate` leads to as well: the clone spares the lock
/// on all forks and exits of the host that a move takes, and 10 ms of waiting for it. Where it is
/// refused (the cgroup's limit of processes is reached, or it takes none) `gate` keeps all its doors.
pub fn clone_through(into: Option<OwnedFd>, gate: &mut Gate) -> Result<Cloned, Errno> {
    use std::os::fd::AsFd;
    if let Some(into) = into {
        let cgroup = Some(into.as_fd());
        let args = CloneArgs {
            cgroup,
            ..CloneArgs::default()
        };
        if let Ok(cloned) = clone3(args) {
            gate.was_cloned();
            return Ok(cloned);
        }
    }
    clone3(CloneArgs::default())
}

/// Waits for a child's end, whatever it was.
pub fn reap(pid: Pid) -> Option<WaitStatus> {
    loop {
        match waitpid(pid, None) {
            Err(Errno::EINTR) => continue,
            other => return other.ok(),
        }
    }
}

/// Kills a child through its pidfd and reaps it.
pub fn kill_and_reap(spawned: &Spawned) {
    use std::os::fd::AsFd;
    let _ = crate::sys::clone::pidfd_send_signal(spawned.pidfd.as_fd(), nix::libc::SIGKILL);
    tracing::debug!(
        "kill unfinished container process {}",
        spawned.pidfd.as_raw_fd()
    );
    reap(spawned.pid);
}
