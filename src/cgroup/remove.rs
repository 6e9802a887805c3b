//! Removing a container's cgroups, and waiting until that can be done.
//! It must not kill anything, nor remove directories that others made.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::freeze::wait_for;
use super::{Cgroup, CgroupError, Hierarchy, Result, Scope, Setup, tree};

/// How long killed processes may take to leave.
const LIMIT: Duration = Duration::from_secs(2);

/// Version 1 has no event for an empty cgroup: first pause between two looks, doubled each time.
const PAUSE: Duration = Duration::from_micros(500);

impl Cgroup {
    /// Removes the container's directories in all hierarchies, with those that it made below them.
    ///
    /// Processes that are about to end get a moment; any that stays makes this an error (EBUSY).
    /// What is gone already is fine, so a delete can be repeated.
    pub fn remove(&self) -> Result<()> {
        // Without systemd's answer, the directories can still go.
        let stopped = self.systemd.as_ref().map(Scope::stop);
        let mut first = stopped.unwrap_or(Ok(()));
        let deadline = Instant::now() + LIMIT;
        for hierarchy in &self.hierarchies {
            // One that can't go must not keep the others.
            let result = self.remove_one(hierarchy, deadline);
            first = first.and(result);
        }
        first
    }

    /// Waits until no process is left, and says whether it came to that in time.
    pub fn wait_empty(&self, limit: Duration) -> Result<bool> {
        if let Some(hierarchy) = self.unified() {
            if !wait_for(&hierarchy.dir, "populated", 0, limit)? {
                return Ok(false);
            }
            if self.setup == Setup::Unified {
                return Ok(true);
            }
        }
        let deadline = Instant::now() + limit;
        retry(deadline, || Ok(self.pids(true)?.is_empty()))
    }

    fn remove_one(&self, hierarchy: &Hierarchy, deadline: Instant) -> Result<()> {
        let dir = &hierarchy.dir;
        let remove = |source| CgroupError::Remove {
            path: dir.clone(),
            source,
        };
        match std::fs::remove_dir(dir) {
            Err(error) if is_busy(&error) => {
                self.wait_empty(deadline.saturating_duration_since(Instant::now()))?;
                let gone = retry(deadline, || remove_tree(dir)).map_err(remove)?;
                if !gone {
                    return Err(remove(io::Error::from_raw_os_error(libc::EBUSY)));
                }
            }
            result => absent_is_fine(result).map_err(remove)?,
        }
        if self.own_parent
            && let Some(parent) = dir.parent().filter(|parent| *parent != hierarchy.mount)
        {
            // Others may live there still, and that is their right.
            let _ = std::fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// Removes a directory with all below it; false while processes are in one of them.
fn remove_tree(top: &Path) -> io::Result<bool> {
    let leave = |parent: &Dir, name: &CStr| {
        let removed = unlinkat(Some(parent.as_raw_fd()), name, UnlinkatFlags::RemoveDir);
        absent_is_fine(removed.map_err(io::Error::from))
    };
    let below = tree::walk(top, |_| Ok(()), leave);
    let result = absent_is_fine(below).and_then(|()| absent_is_fine(std::fs::remove_dir(top)));
    match result {
        Ok(()) => Ok(true),
        Err(error) if is_busy(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Repeats `attempt` until it says true or the time is up.
fn retry<E>(deadline: Instant, mut attempt: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
    let mut pause = PAUSE;
    loop {
        if attempt()? {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// With processes or with directories below; the kernel says the same to both.
fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::{Real, in_v2_view};

    #[test]
    fn a_container_with_cgroups_of_its_own_goes_whole() {
        let real = Real::created();
        for hierarchy in &real.cgroup.hierarchies {
            for name in ["a/b/c", "d"] {
                std::fs::create_dir_all(hierarchy.dir.join(name)).unwrap();
            }
        }
        real.cgroup.remove().unwrap();
        for hierarchy in &real.cgroup.hierarchies {
            assert!(!hierarchy.dir.exists());
            assert!(
                !hierarchy.dir.parent().unwrap().exists(),
                "the root's own directory"
            );
        }
        real.cgroup.remove().unwrap();
    }

    #[test]
    fn the_parent_stays_for_others() {
        let real = Real::created();
        let neighbour = real.cgroup.path().unwrap().with_file_name("neighbour");
        std::fs::create_dir(&neighbour).unwrap();
        real.cgroup.remove().unwrap();
        assert!(neighbour.exists());
        std::fs::remove_dir(&neighbour).unwrap();
        std::fs::remove_dir(neighbour.parent().unwrap()).unwrap();
    }

    #[test]
    fn parents_named_by_the_bundle_stay() {
        let outer = format!("/pxrun-outer-{}", std::process::id());
        let path = format!("{outer}/inner");
        let root = Path::new("/r");
        let cgroup = Cgroup::plan(Some(Path::new(&path)), "x", root, false, false).unwrap();
        cgroup.create(None).unwrap();
        cgroup.remove().unwrap();
        for hierarchy in &cgroup.hierarchies {
            assert!(!hierarchy.dir.exists());
            std::fs::remove_dir(hierarchy.dir.parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_running_process_is_an_error_and_an_ending_one_is_waited_for() {
        let mut real = Real::created();
        real.sleeper();
        let start = Instant::now();
        let error = real.cgroup.remove().unwrap_err();
        assert_eq!(error.errno(), Some(libc::EBUSY));
        assert!(start.elapsed() < LIMIT * 2);
        // A successor of the sleeper ends while remove waits.
        let mut child = std::process::Command::new("sleep")
            .arg("0.3")
            .spawn()
            .unwrap();
        real.cgroup
            .join(i32::try_from(child.id()).unwrap())
            .unwrap();
        real.cgroup.kill_all(libc::SIGKILL).unwrap();
        real.reap();
        let reaper = std::thread::spawn(move || child.wait());
        real.cgroup.remove().unwrap();
        reaper.join().unwrap().unwrap();
        assert!(!real.cgroup.exists());
    }

    #[test]
    #[ignore = "run by `the_same_on_version_2` in a namespace of its own"]
    fn v2_view() {
        a_container_with_cgroups_of_its_own_goes_whole();
        the_parent_stays_for_others();
        parents_named_by_the_bundle_stay();
        a_running_process_is_an_error_and_an_ending_one_is_waited_for();
    }

    #[test]
    fn the_same_on_version_2() {
        in_v2_view("cgroup::remove::tests::v2_view");
    }
}
