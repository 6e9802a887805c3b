//! Takes a container down, made or half-made: ends what runs, lets LXC tidy up after itself, then
//! removes what is left. Must not know how LXC was started.

use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::libc::SIGKILL;
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
    if let Some(init) = own.live_init() {
        linux::end(init)?;
    }
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

/// It ends by itself when the container has; one that doesn't is killed.
fn end_monitor(monitor: &ProcessId) -> anyhow::Result<()> {
    let Ok(pidfd) = pidfd_open(monitor.pid) else {
        return Ok(());
    };
    if !monitor.is_alive() || linux::has_ended(pidfd.as_fd(), LXC_WAIT) {
        return Ok(());
    }
    let _ = pidfd_send_signal(pidfd.as_fd(), SIGKILL);
    match linux::has_ended(pidfd.as_fd(), LXC_WAIT) {
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
