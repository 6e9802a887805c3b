//! What every backend of this kernel shares: the conversation with the new process, its way from
//! the sandbox to the user's program, `exec`, and the life of a container by its cgroup and its
//! init. Must not know how a container's first process came to be.

pub mod channel;
pub mod exec;
pub mod host;
pub mod inside;
pub mod namespaces;
pub mod spawn;
pub mod stand_in;
pub mod waiting;

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use serde_json::Value;

use crate::error::Kind;
use crate::rdt;
use crate::state::{ContainerDir, ProcessId, Record};
use crate::sys::clone::{pidfd_open, pidfd_send_signal};

/// How long killed processes may take to be gone.
const END_WAIT: Duration = Duration::from_secs(10);

/// Knocks at the waiting process; returns when its execve has succeeded.
pub fn start(dir: &ContainerDir) -> anyhow::Result<()> {
    let socket = host::knock(dir.path()).context("reach the waiting process")?;
    channel::End::from(socket).await_exec()?;
    // Whoever asks for the state after `start` must not hear of a created container.
    Ok(dir.await_start()?)
}

/// Signals `init`, or with `all` every process of the cgroup.
pub fn kill(
    record: &Record,
    init: Option<&ProcessId>,
    signal: i32,
    all: bool,
) -> anyhow::Result<()> {
    if all {
        record.cgroup.kill_all(signal)?;
        return Ok(());
    }
    let init = init.ok_or(Kind::NotRunning)?;
    signal_process(init, signal)?;
    // A frozen process takes a signal only once it is thawed; SIGKILL must not wait for that.
    if signal == SIGKILL && record.cgroup.is_frozen().unwrap_or(false) {
        record.cgroup.thaw()?;
    }
    Ok(())
}

/// Changes limits of a running container.
pub fn update(record: &Record, resources: &LinuxResources, raw: &Value) -> anyhow::Result<()> {
    for warning in record.cgroup.update(resources, raw)? {
        tracing::warn!("{}: {}", warning.json, warning.reason);
    }
    Ok(())
}

/// Changes the class of service in resctrl. A container that had none gets one, for all that runs in
/// it.
pub fn update_rdt(
    dir: &ContainerDir,
    record: &mut Record,
    init: Option<ProcessId>,
    rdt: &LinuxIntelRdt,
) -> anyhow::Result<()> {
    if let Some(group) = &record.rdt {
        return Ok(group.update(rdt)?);
    }
    let init = init.ok_or(Kind::NotRunning)?.pid;
    let group = rdt::Group::plan(&rdt::mount_point()?, &record.id, rdt)?;
    record.rdt = Some(group.clone());
    dir.save(record)?;
    group.set_up(rdt, init)?;
    for pid in record.cgroup.pids(true)? {
        group.join_threads(pid)?;
    }
    Ok(())
}

/// Signals through a pidfd, having looked once more whether it is still the same process.
pub fn signal_process(process: &ProcessId, signal: i32) -> anyhow::Result<()> {
    let gone = |errno| match errno {
        Errno::ESRCH => anyhow::Error::from(Kind::NotRunning),
        other => anyhow::Error::from(other).context("signal container's init"),
    };
    let pidfd = pidfd_open(process.pid).map_err(gone)?;
    if !process.is_alive() {
        return Err(Kind::NotRunning.into());
    }
    pidfd_send_signal(pidfd.as_fd(), signal).map_err(gone)
}

/// Kills a process and waits until it has ended. As nobody's child of ours it stays a zombie until
/// its parent looks: ended is enough.
pub fn end(process: &ProcessId) -> anyhow::Result<()> {
    let Ok(pidfd) = pidfd_open(process.pid) else {
        return Ok(());
    };
    if !process.is_alive() || pidfd_send_signal(pidfd.as_fd(), SIGKILL).is_err() {
        return Ok(());
    }
    match has_ended(pidfd.as_fd(), END_WAIT) {
        true => Ok(()),
        false => anyhow::bail!("container's init does not end after SIGKILL"),
    }
}

/// Waits for a process to end; whether it came to that in time.
pub fn has_ended(pidfd: std::os::fd::BorrowedFd<'_>, limit: Duration) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    !matches!(poll(&mut fds, timeout), Ok(0))
}
