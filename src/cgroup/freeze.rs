//! Pausing and resuming all processes of a container.
//! It must not send signals.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Cgroup, CgroupError, Hierarchy, Result, file};

/// How long processes may take to stop; one that waits for a slow disk stops after that.
const LIMIT: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Stops all processes, and returns when they have stopped. On an error they run again.
    pub fn freeze(&self) -> Result<()> {
        let hierarchy = self.freezer()?;
        let result = match hierarchy.unified {
            true => freeze_v2(&hierarchy.dir),
            false => freeze_v1(&hierarchy.dir),
        };
        if result.is_err() {
            // A cgroup left half frozen would hang whatever touches it.
            let _ = self.thaw();
        }
        result
    }

    /// Lets all processes run.
    pub fn thaw(&self) -> Result<()> {
        let hierarchy = self.freezer()?;
        if !hierarchy.unified {
            return file::write(&hierarchy.dir, "freezer.state", "THAWED");
        }
        file::write(&hierarchy.dir, "cgroup.freeze", "0")?;
        wait_for(&hierarchy.dir, "frozen", 0, LIMIT).map(drop)
    }

    /// Whether the container was frozen itself; not because one of its ancestors is.
    pub fn is_frozen(&self) -> Result<bool> {
        is_frozen(self.freezer()?)
    }

    fn freezer(&self) -> Result<&Hierarchy> {
        let found = match self.v1("freezer") {
            Some(hierarchy) => Some(hierarchy),
            None => self.unified(),
        };
        found.ok_or(CgroupError::NoController("freezer"))
    }
}

/// Whether this directory is frozen; a hierarchy without freezer never is.
pub(super) fn is_frozen(hierarchy: &Hierarchy) -> Result<bool> {
    if hierarchy.unified {
        return Ok(file::read_number(&hierarchy.dir, "cgroup.freeze")? == Some(1));
    }
    if !hierarchy.controllers.iter().any(|name| name == "freezer") {
        return Ok(false);
    }
    Ok(file::read_number(&hierarchy.dir, "freezer.self_freezing")? == Some(1))
}

fn freeze_v2(dir: &Path) -> Result<()> {
    file::write(dir, "cgroup.freeze", "1")?;
    match wait_for(dir, "frozen", 1, LIMIT)? {
        true => Ok(()),
        false => Err(timeout(dir)),
    }
}

/// Version 1 can stay in FREEZING while processes fork, and then needs to be asked again
/// (cgroup-v1/freezer-subsystem.rst); thawing for a moment helps it on.
fn freeze_v1(dir: &Path) -> Result<()> {
    let start = Instant::now();
    for round in 1u32.. {
        file::write(dir, "freezer.state", "FROZEN")?;
        match file::read(dir, "freezer.state")?.as_str() {
            "FROZEN" => return Ok(()),
            "FREEZING" => {}
            other => return Err(file::malformed(dir, "freezer.state", other)),
        }
        if start.elapsed() > LIMIT {
            break;
        }
        if round % 50 == 0 {
            file::write(dir, "freezer.state", "THAWED")?;
            std::thread::sleep(Duration::from_millis(10));
        } else if round > 10 {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    Err(timeout(dir))
}

fn timeout(dir: &Path) -> CgroupError {
    CgroupError::FreezeTimeout {
        path: dir.to_owned(),
        seconds: LIMIT.as_secs(),
    }
}

/// Waits until `key` in `cgroup.events` is `value`, and says whether it came to that in time.
/// The kernel wakes us (cgroup-v2.rst, "cgroup.events"); a cgroup that is gone fulfils anything.
pub(super) fn wait_for(dir: &Path, key: &str, value: u64, limit: Duration) -> Result<bool> {
    let path = dir.join("cgroup.events");
    let wait = |source| CgroupError::Wait {
        path: path.clone(),
        source,
    };
    let mut events = match File::open(&path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(true),
        result => result.map_err(wait)?,
    };
    let start = Instant::now();
    loop {
        let mut text = String::new();
        // Reading arms the next wake-up, so nothing is missed between read and poll.
        match events
            .rewind()
            .and_then(|()| events.read_to_string(&mut text))
        {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(true),
            result => result.map_err(wait)?,
        };
        if file::keyed(&text, key) == Some(value) {
            return Ok(true);
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        wake(&events, left).map_err(wait)?;
    }
}

/// Waits for the file to change; true if it did.
pub(super) fn wake(file: &File, limit: Duration) -> std::io::Result<bool> {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
    let millis = limit.as_millis().clamp(1, 60_000);
    let timeout = PollTimeout::try_from(i32::try_from(millis).unwrap_or(60_000));
    match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::{Real, in_v2_view};

    /// Processor time in ticks (proc(5), `stat`, fields 14 and 15).
    fn ticks(pid: i32) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat
            .rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .skip(11)
            .take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn processes_stop_and_go_on() {
        let mut real = Real::created();
        let pid = real.outsider_of("while :; do :; done");
        real.cgroup.join(pid).unwrap();
        assert!(!real.cgroup.is_frozen().unwrap());
        real.cgroup.freeze().unwrap();
        assert!(real.cgroup.is_frozen().unwrap());
        let before = ticks(pid);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(ticks(pid), before);
        real.cgroup.thaw().unwrap();
        assert!(!real.cgroup.is_frozen().unwrap());
        let start = Instant::now();
        while ticks(pid) == before {
            assert!(start.elapsed() < Duration::from_secs(10), "still stopped");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn an_empty_cgroup_freezes_at_once() {
        let real = Real::created();
        let start = Instant::now();
        real.cgroup.freeze().unwrap();
        real.cgroup.thaw().unwrap();
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    #[ignore = "run by `the_same_on_version_2` in a namespace of its own"]
    fn v2_view() {
        processes_stop_and_go_on();
        an_empty_cgroup_freezes_at_once();
        let mut real = Real::created();
        real.sleeper();
        let dir = real.cgroup.path().unwrap();
        let start = Instant::now();
        let limit = Duration::from_millis(200);
        assert!(!wait_for(dir, "populated", 0, limit).unwrap());
        assert!(start.elapsed() >= limit);
    }

    #[test]
    fn the_same_on_version_2() {
        in_v2_view("cgroup::freeze::tests::v2_view");
    }

    #[test]
    fn a_cgroup_that_is_gone_can_not_be_frozen() {
        let real = Real::planned();
        assert!(real.cgroup.freeze().is_err());
        assert!(!real.cgroup.is_frozen().unwrap());
    }
}
