//! Containers on this very kernel, built from libcontainer's parts. Must not know argument types
//! or write to standard error.

pub mod channel;
mod create;
mod exec;
mod init;
mod namespaces;
pub mod spawn;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::libc::SIGKILL;
use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use super::{Backend, CreateOptions, Creation, ExecRequest, Running};
use crate::error::Kind;
use crate::spec::Validated;
use crate::state::{ContainerDir, ProcessId, Record};
use crate::sys::clone::{pidfd_open, pidfd_send_signal};

/// The name in records.
pub const NAME: &str = "embedded";

/// How long [`Backend::destroy`] waits for killed processes to be gone.
const END_WAIT: Duration = Duration::from_secs(10);

/// libcontainer, in this process.
pub struct Embedded;

impl Backend for Embedded {
    fn create(
        &self,
        dir: &ContainerDir,
        record: &mut Record,
        spec: &Validated,
        options: CreateOptions,
    ) -> anyhow::Result<Box<dyn Creation>> {
        Ok(Box::new(create::create(dir, record, spec, options)?))
    }

    fn start(&self, dir: &ContainerDir, _record: &Record) -> anyhow::Result<()> {
        let held = std::fs::File::open(dir.path()).context("open state directory")?;
        let path = format!(
            "/proc/self/fd/{}/{}",
            held.as_raw_fd(),
            create::START_SOCKET
        );
        let socket = UnixStream::connect(path).context("reach the waiting process")?;
        stream_outcome(socket.into())
    }

    fn exec(
        &self,
        record: &Record,
        config: &Validated,
        job: ExecRequest,
    ) -> anyhow::Result<Running> {
        exec::exec(record, config, job)
    }

    fn root_path(&self, record: &Record) -> anyhow::Result<PathBuf> {
        let init = record.live_init().ok_or(Kind::NotRunning)?;
        Ok(PathBuf::from(format!("/proc/{}/root", init.pid)))
    }

    fn kill(&self, record: &Record, signal: i32, all: bool) -> anyhow::Result<()> {
        if all {
            record.cgroup.kill_all(signal)?;
            return Ok(());
        }
        let init = record.live_init().ok_or(Kind::NotRunning)?;
        signal_process(init, signal)?;
        // A frozen process takes a signal only once it is thawed; SIGKILL must not wait for that.
        if signal == SIGKILL && record.cgroup.is_frozen().unwrap_or(false) {
            record.cgroup.thaw()?;
        }
        Ok(())
    }

    fn pause(&self, record: &Record) -> anyhow::Result<()> {
        Ok(record.cgroup.freeze()?)
    }

    fn resume(&self, record: &Record) -> anyhow::Result<()> {
        Ok(record.cgroup.thaw()?)
    }

    fn is_paused(&self, record: &Record) -> bool {
        record.cgroup.is_frozen().unwrap_or(false)
    }

    fn update(
        &self,
        record: &Record,
        resources: &LinuxResources,
        raw: &Value,
    ) -> anyhow::Result<()> {
        for warning in record.cgroup.update(resources, raw)? {
            tracing::warn!("{}: {}", warning.json, warning.reason);
        }
        Ok(())
    }

    fn pids(&self, record: &Record) -> anyhow::Result<Vec<i32>> {
        Ok(record.cgroup.pids(true)?)
    }

    fn stats(&self, record: &Record) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(record.cgroup.stats()?)?)
    }

    fn destroy(&self, record: &Record) -> anyhow::Result<()> {
        // The cgroup first: in a frozen one, or in a shared pid namespace, init alone won't do.
        record.cgroup.kill_all(SIGKILL)?;
        if let Some(init) = record.live_init() {
            end(init)?;
        }
        record.cgroup.remove()?;
        if !record.own_mount_namespace {
            // The root was attached in the host's own mount namespace.
            let _ = nix::mount::umount2(&record.rootfs, nix::mount::MntFlags::MNT_DETACH);
        }
        Ok(())
    }
}

/// Reads what init says after a knock: nothing before its execve closes the stream, or one line.
fn stream_outcome(socket: OwnedFd) -> anyhow::Result<()> {
    Ok(channel::End::from(socket).await_exec()?)
}

/// Signals through a pidfd, having looked once more whether it is still the same process.
fn signal_process(process: &ProcessId, signal: i32) -> anyhow::Result<()> {
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
fn end(process: &ProcessId) -> anyhow::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let Ok(pidfd) = pidfd_open(process.pid) else {
        return Ok(());
    };
    if !process.is_alive() || pidfd_send_signal(pidfd.as_fd(), SIGKILL).is_err() {
        return Ok(());
    }
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(END_WAIT).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(0) => anyhow::bail!("container's init does not end after SIGKILL"),
        _ => Ok(()),
    }
}
