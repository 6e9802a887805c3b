//! How the keeper learns the container's exit status: from the pidfd where the kernel tells it
//! there (Linux 6.15), else from the process-event connector. Must not act on it.

use std::os::fd::BorrowedFd;

use anyhow::Context;

use super::super::wire::Watch;
use crate::sys::connector::ExitEvents;
use crate::sys::pidfd::{exit_status, tells_exit_status};

/// One of the two ways.
pub enum Exit {
    /// PIDFD_GET_INFO.
    Pidfd,
    /// Process events.
    Events(ExitEvents),
}

impl Exit {
    /// Chooses by what the kernel has. To be called while the process lives, in the namespaces of
    /// the host.
    pub fn of(watch: &Watch) -> anyhow::Result<Exit> {
        if !watch.events && tells_exit_status() {
            return Ok(Exit::Pidfd);
        }
        let events = ExitEvents::of(watch.init.pid).context("listen to process events")?;
        Ok(Exit::Events(events))
    }

    /// Once the process has ended: its wait status, `Some(None)` if nobody knows it. `None` as long
    /// as there is more to wait for.
    pub fn status(&mut self, pidfd: BorrowedFd<'_>) -> Option<Option<i32>> {
        match self {
            Exit::Pidfd => match exit_status(pidfd) {
                // Ended, not reaped yet.
                Ok(None) => None,
                Ok(status) => Some(status),
                Err(_) => Some(None),
            },
            Exit::Events(events) => Some(events.status()),
        }
    }
}
