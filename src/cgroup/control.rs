//! Who is in a cgroup, freezing them, ending them, removing it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::SIGKILL;

use super::{Cgroup, CgroupError, file};
use crate::sys::clone::{pidfd_open, pidfd_send_signal};

/// How long killed processes may take to be gone.
const END_WAIT: Duration = Duration::from_secs(10);
/// How long a freezer may take.
const FREEZE_WAIT: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Pids of all processes in the cgroup and below, ascending.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids: Vec<i32> = self.member_dirs().iter().flat_map(|d| pids_below(d)).collect();
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Any one hierarchy holds all processes; on version 1 the freezer's or devices', as a process
    /// may have been moved in others.
    fn member_dirs(&self) -> Vec<PathBuf> {
        if self.is_unified() {
            return self.unified_dir().into_iter().collect();
        }
        let preferred = self.controller("devices").or_else(|| self.controller("freezer"));
        preferred.or_else(|| self.all_dirs().next()).into_iter().collect()
    }

    /// Signals all processes. Those that fork meanwhile are caught: SIGKILL goes on until none is
    /// left.
    pub fn kill_all(&self, signal: i32) -> Result<(), CgroupError> {
        if signal != SIGKILL {
            for pid in self.pids()? {
                signal_one(pid, signal);
            }
            return Ok(());
        }
        if self.is_unified()
            && let Some(dir) = self.unified_dir()
            && std::fs::write(dir.join("cgroup.kill"), "1").is_ok()
        {
            let _ = self.thaw();
            return self.await_end(|| {});
        }
        let kill = || {
            for pid in self.pids().unwrap_or_default() {
                signal_one(pid, SIGKILL);
            }
        };
        // Frozen processes can't fork away from under us; thawed they die.
        if self.pids()?.len() > 1 {
            let _ = self.freeze();
        }
        kill();
        let _ = self.thaw();
        self.await_end(kill)
    }

    fn await_end(&self, again: impl Fn()) -> Result<(), CgroupError> {
        let deadline = Instant::now() + END_WAIT;
        let mut pause = Duration::from_micros(200);
        loop {
            let left: Vec<i32> = self.pids()?.into_iter().filter(|p| !has_ended(*p)).collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(CgroupError::Immortal(left.len()));
            }
            wait_for(left[0], pause);
            pause = (pause * 2).min(Duration::from_millis(20));
            again();
        }
    }

    /// Stops all processes where they are.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.set_frozen(false)
    }

    /// Whether they are stopped, or about to be.
    pub fn is_frozen(&self) -> bool {
        match self.freezer() {
            Some((control, true)) => {
                std::fs::read_to_string(control).is_ok_and(|text| text.trim() == "1")
            }
            Some((control, false)) => {
                std::fs::read_to_string(control).is_ok_and(|text| text.trim() != "THAWED")
            }
            None => false,
        }
    }

    /// The file that controls the freezer; true for version 2.
    fn freezer(&self) -> Option<(PathBuf, bool)> {
        if let Some(dir) = self.controller("freezer") {
            return Some((dir.join("freezer.state"), false));
        }
        Some((self.unified_dir()?.join("cgroup.freeze"), true))
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        let word = if frozen { "freeze" } else { "thaw" };
        let (control, unified) = self.freezer().ok_or(CgroupError::Freezer(word))?;
        let value = match (unified, frozen) {
            (true, true) => "1",
            (true, false) => "0",
            (false, true) => "FROZEN",
            (false, false) => "THAWED",
        };
        let deadline = Instant::now() + FREEZE_WAIT;
        loop {
            std::fs::write(&control, value).map_err(file("write", &control))?;
            if has_come(&control, unified, frozen) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let undo = if unified { "0" } else { "THAWED" };
                let _ = std::fs::write(&control, undo);
                return Err(CgroupError::Freezer(word));
            }
            // Version 1 may stay at FREEZING while processes fork: it is asked again.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the directories, those that the container made below first. Gone already is fine.
    pub fn remove(&self) -> Result<(), CgroupError> {
        for dir in self.all_dirs() {
            remove_tree(&dir)?;
        }
        // Ours if empty: nobody else makes cgroups of that name.
        let ours = |p: &Path| p.to_string_lossy().starts_with("/pxrun");
        if let Some(parent) = self.path.parent().filter(|p| ours(p)) {
            let below = parent.strip_prefix("/").unwrap_or(parent);
            for hierarchy in &self.dirs {
                let _ = std::fs::remove_dir(hierarchy.mount.join(below));
            }
        }
        Ok(())
    }
}

fn has_come(control: &Path, unified: bool, frozen: bool) -> bool {
    if unified {
        let events = control.with_file_name("cgroup.events");
        let wanted = if frozen { "frozen 1" } else { "frozen 0" };
        return std::fs::read_to_string(events).is_ok_and(|t| t.lines().any(|l| l == wanted));
    }
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    std::fs::read_to_string(control).is_ok_and(|text| text.trim() == wanted)
}

fn signal_one(pid: i32, signal: i32) {
    use std::os::fd::AsFd;
    if let Ok(pidfd) = pidfd_open(pid) {
        match pidfd_send_signal(pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => tracing::debug!("signal process {pid}: {errno}"),
        }
    }
}

/// A zombie is counted until its parent looks, and can't be ended any more.
fn has_ended(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |text| {
        let after = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after.starts_with(['Z', 'X'])
    })
}

fn wait_for(pid: i32, at_most: Duration) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    if let Ok(pidfd) = pidfd_open(pid) {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(at_most.max(Duration::from_millis(1)));
        let _ = poll(&mut fds, timeout.unwrap_or(PollTimeout::ZERO));
    }
}

/// Pids in a directory and all below it; none where there is no such directory.
pub fn pids_below(dir: &Path) -> Vec<i32> {
    let own = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    for child in children(dir) {
        pids.extend(pids_below(&child));
    }
    pids
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Deepest first; a directory stays busy for a moment after its last process.
fn remove_tree(dir: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + END_WAIT;
    let mut pause = Duration::from_micros(100);
    loop {
        match std::fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                for child in children(dir) {
                    remove_tree(&child)?;
                }
                let busy = error.raw_os_error() == Some(nix::libc::EBUSY);
                if !busy || Instant::now() > deadline {
                    return Err(file("remove cgroup", dir)(error));
                }
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
