//! Which processes are in the container's cgroup, and signals to all of them.
//! It must not wait for them to end: `wait_empty` in `remove` does.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Cgroup, CgroupError, Result, Setup, file, tree};
use crate::sys::fd::adopt;
use crate::sys::kill::kill;

/// How often processes that appear while others are signalled are gone after.
const PASSES: usize = 100;

impl Cgroup {
    /// The processes in the container's cgroup, with those in cgroups below it if `recursive`,
    /// in ascending order; none if the cgroup is gone.
    pub fn pids(&self, recursive: bool) -> Result<Vec<i32>> {
        match self.main() {
            Some(hierarchy) => pids_in(&hierarchy.dir, recursive),
            None => Ok(Vec::new()),
        }
    }

    /// Sends `signal` (a number, real-time signals included) to every process of the container.
    ///
    /// SIGKILL goes through `cgroup.kill` where there is one (Linux 5.14); else, and for other
    /// signals, the cgroup is frozen meanwhile, so that no fork slips through. SIGKILL leaves the
    /// cgroup thawed: frozen processes of version 1 wouldn't die.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        self.kill_all_but(None, signal)
    }

    /// As [`Cgroup::kill_all`], but with signals other than SIGKILL spares one process.
    pub fn kill_all_but(&self, spared: Option<i32>, signal: i32) -> Result<()> {
        if signal == libc::SIGKILL {
            let killed = self.kill_unified()?;
            if killed && self.setup == Setup::Unified {
                return Ok(());
            }
            if killed && self.strays()?.is_empty() {
                // Frozen by version 1, they only die when they run again.
                return if self.is_frozen()? {
                    self.thaw()
                } else {
                    Ok(())
                };
            }
        }
        self.signal_frozen(spared, signal)
    }

    /// True if the kernel killed everything in the version 2 directory.
    fn kill_unified(&self) -> Result<bool> {
        let Some(hierarchy) = self.unified() else {
            return Ok(false);
        };
        match file::write(&hierarchy.dir, "cgroup.kill", "1") {
            Ok(()) => Ok(true),
            // EOPNOTSUPP: a threaded cgroup can't be killed as such.
            Err(error) if file::is_absent(&error) || error.errno() == Some(libc::EOPNOTSUPP) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Processes of the version 1 cgroups that aren't in the version 2 part.
    fn strays(&self) -> Result<Vec<i32>> {
        let mut pids = self.pids(true)?;
        if let Some(hierarchy) = self.unified() {
            let killed = pids_in(&hierarchy.dir, true)?;
            pids.retain(|pid| killed.binary_search(pid).is_err());
        }
        Ok(pids)
    }

    fn signal_frozen(&self, spared: Option<i32>, signal: i32) -> Result<()> {
        if self.pids(true)?.is_empty() {
            return Ok(());
        }
        let was_frozen = self.is_frozen().unwrap_or(false);
        // A user without a freezer still gets his signal, with the passes as the only guard.
        let froze = !was_frozen && self.freeze().is_ok();
        let result = self.signal_until_none_is_new(spared, signal);
        if froze || (was_frozen && signal == libc::SIGKILL) {
            self.thaw()?;
        }
        result
    }

    fn signal_until_none_is_new(&self, spared: Option<i32>, signal: i32) -> Result<()> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut done = BTreeSet::from([own, 0]);
        done.extend(spared);
        let mut failure = Ok(());
        for _ in 0..PASSES {
            let pids = self.pids(true)?;
            let new: Vec<i32> = pids.into_iter().filter(|pid| done.insert(*pid)).collect();
            if new.is_empty() {
                return failure;
            }
            for pid in new {
                match kill(pid, signal) {
                    Err(source) if source.raw_os_error() != Some(libc::ESRCH) => {
                        failure = Err(CgroupError::Signal {
                            signal,
                            pid,
                            source,
                        });
                    }
                    _ => {}
                }
            }
        }
        Err(CgroupError::StillForking(PASSES))
    }
}

/// The processes of one directory; none if it doesn't exist.
pub(super) fn pids_in(dir: &Path, recursive: bool) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    let result = if recursive {
        tree::walk(dir, |dir| read_pids(dir, &mut pids), |_, _| Ok(()))
    } else {
        tree::open(dir).and_then(|dir| read_pids(&dir, &mut pids))
    };
    match result {
        Err(source) if source.raw_os_error() != Some(libc::ENOENT) => {
            let path = dir.join("cgroup.procs");
            return Err(CgroupError::Read { path, source });
        }
        _ => {}
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Relative to the open directory: whatever its depth, and without a `/proc`.
fn read_pids(dir: &Dir, pids: &mut Vec<i32>) -> io::Result<()> {
    let read = |name: &str| {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(Some(dir.as_raw_fd()), name, flags, Mode::empty())?;
        io::read_to_string(File::from(adopt(fd)))
    };
    let text = match read("cgroup.procs") {
        // Threaded cgroups only list threads (cgroup-v2.rst, "cgroup.procs").
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => read("cgroup.threads"),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
            return Ok(());
        }
        result => result,
    }?;
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use crate::cgroup::testing::{Real, in_v2_view};
    use crate::cgroup::{Setup, file};

    #[test]
    fn processes_are_listed_in_order_and_killed() {
        let mut real = Real::created();
        assert!(real.cgroup.pids(true).unwrap().is_empty());
        let mut expected = vec![real.sleeper(), real.sleeper(), real.sleeper()];
        expected.sort_unstable();
        assert_eq!(real.cgroup.pids(true).unwrap(), expected);
        assert_eq!(real.cgroup.pids(false).unwrap(), expected);
        real.cgroup.kill_all(libc::SIGKILL).unwrap();
        for status in real.reap() {
            assert_eq!(status.signal(), Some(libc::SIGKILL));
        }
        assert!(real.cgroup.pids(true).unwrap().is_empty());
    }

    #[test]
    fn a_frozen_container_can_be_killed() {
        let mut real = Real::created();
        real.sleeper();
        real.cgroup.freeze().unwrap();
        real.cgroup.kill_all(libc::SIGKILL).unwrap();
        assert_eq!(real.reap()[0].signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_process_outside_of_the_version_2_part_is_killed_too() {
        let mut real = Real::created();
        real.sleeper();
        let pid = real.outsider();
        for hierarchy in real.cgroup.hierarchies.iter().filter(|h| !h.unified) {
            file::write(&hierarchy.dir, "cgroup.procs", &pid.to_string()).unwrap();
        }
        real.cgroup.kill_all(libc::SIGKILL).unwrap();
        if real.cgroup.setup() == Setup::Unified {
            crate::sys::kill::kill(pid, libc::SIGKILL).unwrap();
        }
        for status in real.reap() {
            assert_eq!(status.signal(), Some(libc::SIGKILL));
        }
    }

    #[test]
    fn other_signals_keep_a_paused_container_paused() {
        let mut real = Real::created();
        real.sleeper();
        let rt = 37;
        real.cgroup.freeze().unwrap();
        real.cgroup.kill_all(rt).unwrap();
        assert!(real.cgroup.is_frozen().unwrap());
        real.cgroup.thaw().unwrap();
        assert_eq!(real.reap()[0].signal(), Some(rt));
    }

    #[test]
    fn a_fork_bomb_is_killed() {
        let mut real = Real::created();
        // Each shell starts a successor and ends: no list of pids is ever complete.
        let script = "f() { (f) & (f) & wait; }; sleep 0.2; f";
        let pid = real.outsider_of(script);
        let limit = r#"{"pids":{"limit":40}}"#;
        let raw: serde_json::Value = serde_json::from_str(limit).unwrap();
        let resources = serde_json::from_str(limit).unwrap();
        real.cgroup.update(&resources, &raw).unwrap();
        real.cgroup.join(pid).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        real.cgroup.kill_all(libc::SIGKILL).unwrap();
        let empty = real
            .cgroup
            .wait_empty(std::time::Duration::from_secs(5))
            .unwrap();
        assert!(empty, "{:?}", real.cgroup.pids(true));
        real.reap();
    }

    #[test]
    #[ignore = "run by `the_same_on_version_2` in a namespace of its own"]
    fn v2_view() {
        processes_are_listed_in_order_and_killed();
        a_frozen_container_can_be_killed();
        other_signals_keep_a_paused_container_paused();
    }

    #[test]
    fn the_same_on_version_2() {
        in_v2_view("cgroup::pids::tests::v2_view");
    }
}
