//! Takes a container down, made or half-made: ends what runs, lets LXC tidy up after itself, then
//! removes what is left. Must not know how LXC was started.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::create::monitor_cgroup;
use super::launch::Launcher;
use super::own::Own;
use super::place::BASE;
use crate::backend::linux;
use crate::cgroup::Cgroup;
use crate::state::{ProcessId, Record};
use crate::sys::clone::{pidfd_open, pidfd_send_signal};

/// How long LXC may take to remove its cgroups once the container has ended.
const LXC_WAIT: Duration = Duration::from_secs(10);

/// Removes everything but the record.
pub fn destroy(launcher: &dyn Launcher, record: &Record) -> anyhow::Result<()> {
    let own = Own::of(record);
    if !record.is_of_this_boot() {
        // The boot has taken it all away; a cgroup of that name is another container's.
        return launcher.remove(&own);
    }
    // The cgroup first: in a frozen one, or in a shared pid namespace, init alone won't do.
    record.cgroup.kill_all(SIGKILL)?;
    let held = own.init.and_then(|init| held(&init));
    if let Some(init) = own.live_init() {
        linux::end(init)?;
    }
    // With a first process that nobody knows of, only LXC can end it.
    let left_to_lxc = launcher.tidies_up() || own.init.is_none();
    let end_monitor = |monitor: &ProcessId| match left_to_lxc {
        true => let_end(monitor),
        false => end_once_reaped(monitor, held.as_ref()),
    };
    if let Some(monitor) = monitor(&own) {
        end_monitor(&monitor)?;
    }
    if own.monitor.is_none() {
        // A `create` that was killed just after it had started LXC knew of no monitor yet.
        unrecorded(&own.name).iter().try_for_each(end_monitor)?;
    }
    if let Some(keeper) = record.live_init() {
        // It follows the first process by itself, unless it is stopped.
        linux::end(keeper)?;
    }
    record.cgroup.remove()?;
    if let Some(group) = &record.rdt {
        group.remove()?;
    }
    if !own.name.is_empty() {
        remove_lxc_cgroups(&own.name)?;
    }
    launcher.remove(&own)
}

/// LXC's monitor: the recorded one, or whoever answers at its command socket.
fn monitor(own: &Own) -> Option<ProcessId> {
    if own.name.is_empty() {
        return None;
    }
    let recorded = own.monitor.filter(ProcessId::is_alive);
    recorded.or_else(|| {
        let name = format!("{BASE}/{}/command", own.name);
        let address = SocketAddr::from_abstract_name(name.as_bytes()).ok()?;
        let socket = UnixStream::connect_addr(&address).ok()?;
        let peer = getsockopt(&socket, PeerCredentials).ok()?;
        ProcessId::of(peer.pid())
    })
}

/// Processes of an lxc-start with this name, which no other container has; its child has the same
/// command line until it executes the first process.
fn unrecorded(name: &str) -> Vec<ProcessId> {
    if name.is_empty() {
        return Vec::new();
    }
    let processes = procfs::process::all_processes().into_iter().flatten();
    processes
        .filter_map(Result::ok)
        .filter(|process| {
            process.cmdline().is_ok_and(|words| {
                words
                    .first()
                    .is_some_and(|word| word.ends_with("lxc-start"))
                    && words.iter().any(|word| word == name)
            })
        })
        .filter_map(|process| ProcessId::of(process.pid))
        .collect()
}

/// A process, dead or alive, as long as nobody has reaped it.
fn held(process: &ProcessId) -> Option<OwnedFd> {
    let pidfd = pidfd_open(process.pid).ok()?;
    ProcessId::of(process.pid)
        .filter(|found| found == process)
        .map(|_| pidfd)
}

/// It ends by itself when the container has, and tidies up; one that doesn't is killed.
fn let_end(monitor: &ProcessId) -> anyhow::Result<()> {
    let Ok(pidfd) = pidfd_open(monitor.pid) else {
        return Ok(());
    };
    if !monitor.is_alive() || linux::has_ended(pidfd.as_fd(), LXC_WAIT) {
        return Ok(());
    }
    kill(pidfd.as_fd())
}

/// Once it has reaped the first process, so that the keeper can learn how that ended, all that is
/// left to it are cgroups that are removed here as well; waiting for it to leave its own takes
/// longer than the rest of a delete.
fn end_once_reaped(monitor: &ProcessId, init: Option<&OwnedFd>) -> anyhow::Result<()> {
    let Ok(pidfd) = pidfd_open(monitor.pid) else {
        return Ok(());
    };
    if !monitor.is_alive() {
        return Ok(());
    }
    if let Some(init) = init {
        // POLLHUP of a pidfd: reaped; older kernels don't tell it, but then the monitor ends.
        let mut fds = [
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(init.as_fd(), PollFlags::empty()),
        ];
        let limit = PollTimeout::try_from(LXC_WAIT).unwrap_or(PollTimeout::MAX);
        while poll(&mut fds, limit) == Err(Errno::EINTR) {}
    }
    kill(pidfd.as_fd())
}

fn kill(monitor: BorrowedFd<'_>) -> anyhow::Result<()> {
    let _ = pidfd_send_signal(monitor, SIGKILL);
    match linux::has_ended(monitor, LXC_WAIT) {
        true => Ok(()),
        false => anyhow::bail!("LXC's monitor does not end after SIGKILL"),
    }
}

/// What a monitor leaves that was killed.
fn remove_lxc_cgroups(name: &str) -> anyhow::Result<()> {
    for path in [monitor_cgroup(name), format!("lxc.payload.{name}")] {
        let path = format!("/{path}");
        let root = Path::new("/");
        Cgroup::plan(Some(Path::new(&path)), name, root, false, false)?.remove()?;
    }
    Ok(())
}
