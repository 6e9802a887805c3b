//! Waiting for the kernel to report that a container ran out of memory.
//! It must not print: `events` does.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Cgroup, CgroupError, Result, Setup, file};

/// What a wait ended with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wake {
    /// A process of the container was killed for want of memory (version 1: the limit was hit).
    Oom,
    /// The container has ended: nothing more will come.
    Gone,
    /// The time is up.
    Timeout,
}

/// A watch on the container's memory, from its making on.
#[derive(Debug)]
pub struct OomWatch {
    dir: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// `memory.events` and `cgroup.events`, both of which wake a poll(2).
    V2 {
        memory: File,
        events: File,
        kills: u64,
    },
    /// An eventfd that `cgroup.event_control` ties to `memory.oom_control`.
    V1 { event: EventFd },
}

impl Cgroup {
    /// Starts watching; an error where the container has no memory controller.
    pub fn watch_oom(&self) -> Result<OomWatch> {
        let missing = CgroupError::NoController("memory");
        let dir = self.dir_of("memory").ok_or(missing)?.to_owned();
        let source = match self.setup {
            Setup::Unified => Source::V2 {
                memory: open(&dir, "memory.events")?,
                events: open(&dir, "cgroup.events")?,
                kills: file::read_key(&dir, "memory.events", "oom_kill")?.unwrap_or(0),
            },
            Setup::Legacy | Setup::Hybrid => Source::V1 {
                event: register(&dir)?,
            },
        };
        Ok(OomWatch { dir, source })
    }
}

impl OomWatch {
    /// Waits at most `limit` for the next event; several kills at once may come as one.
    pub fn wait(&mut self, limit: Duration) -> Result<Wake> {
        let start = Instant::now();
        loop {
            if let Some(wake) = self.look()? {
                return Ok(wake);
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(Wake::Timeout);
            }
            self.poll(left).map_err(|source| CgroupError::Wait {
                path: self.dir.clone(),
                source,
            })?;
        }
    }

    fn look(&mut self) -> Result<Option<Wake>> {
        match &mut self.source {
            Source::V2 {
                memory,
                events,
                kills,
            } => {
                // Reading the open files arms the next wake-up.
                let now = reread(memory).and_then(|text| file::keyed(&text, "oom_kill"));
                let populated = reread(events).and_then(|text| file::keyed(&text, "populated"));
                if let Some(now) = now.filter(|now| *now > *kills) {
                    *kills = now;
                    return Ok(Some(Wake::Oom));
                }
                Ok((populated.unwrap_or(0) == 0).then_some(Wake::Gone))
            }
            Source::V1 { event } => {
                let fired = event.read().is_ok();
                // Removing the cgroup fires the event too (cgroup-v1/memory.rst, 9).
                if !self.dir.join("cgroup.event_control").exists() {
                    return Ok(Some(Wake::Gone));
                }
                Ok(fired.then_some(Wake::Oom))
            }
        }
    }

    fn poll(&self, limit: Duration) -> std::io::Result<()> {
        let mut fds = match &self.source {
            Source::V2 { memory, events, .. } => vec![
                PollFd::new(memory.as_fd(), PollFlags::POLLPRI),
                PollFd::new(events.as_fd(), PollFlags::POLLPRI),
            ],
            Source::V1 { event } => vec![PollFd::new(event.as_fd(), PollFlags::POLLIN)],
        };
        let millis = i32::try_from(limit.as_millis().clamp(1, 3_600_000)).unwrap_or(1000);
        match poll(
            &mut fds,
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX),
        ) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn open(dir: &std::path::Path, name: &str) -> Result<File> {
    let path = dir.join(name);
    File::open(&path).map_err(|source| CgroupError::Open { path, source })
}

/// The text of an open file from its start; `None` once its cgroup is gone.
fn reread(file: &mut File) -> Option<String> {
    use std::io::Seek;
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

fn register(dir: &std::path::Path) -> Result<EventFd> {
    let control = open(dir, "memory.oom_control")?;
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let event = EventFd::from_flags(flags).map_err(|error| CgroupError::Wait {
        path: dir.to_owned(),
        source: error.into(),
    })?;
    let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
    file::write(dir, "cgroup.event_control", &line)?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::{FakeHost, Real};

    #[test]
    fn a_limit_that_is_hit_is_reported_and_so_is_the_end() {
        let mut real = Real::created();
        let limit = r#"{"memory":{"limit":8000000,"swap":8000000}}"#;
        let raw = serde_json::from_str(limit).unwrap();
        real.cgroup
            .update(&serde_json::from_str(limit).unwrap(), &raw)
            .unwrap();
        let mut watch = real.cgroup.watch_oom().unwrap();
        assert_eq!(
            watch.wait(Duration::from_millis(20)).unwrap(),
            Wake::Timeout
        );
        let hog = "sleep 0.3; head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null";
        let mut child = std::process::Command::new("sh")
            .args(["-c", hog])
            .spawn()
            .unwrap();
        real.cgroup
            .join(i32::try_from(child.id()).unwrap())
            .unwrap();
        assert_eq!(watch.wait(Duration::from_secs(20)).unwrap(), Wake::Oom);
        child.wait().unwrap();
        real.reap();
        real.cgroup.wait_empty(Duration::from_secs(5)).unwrap();
        real.cgroup.remove().unwrap();
        let mut last = watch.wait(Duration::from_secs(5)).unwrap();
        while last == Wake::Oom {
            last = watch.wait(Duration::from_secs(5)).unwrap();
        }
        assert_eq!(last, Wake::Gone);
    }

    #[test]
    fn version_2_counts_kills_and_notices_the_end() {
        let fake = FakeHost::unified();
        let cgroup = fake.cgroup(&["memory.events", "cgroup.events"]);
        let dir = cgroup.path().unwrap().to_owned();
        let set = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        set("memory.events", "oom 0\noom_kill 1\n");
        set("cgroup.events", "populated 1\nfrozen 0\n");
        let mut watch = cgroup.watch_oom().unwrap();
        set("memory.events", "oom 5\noom_kill 1\n");
        assert_eq!(watch.look().unwrap(), None);
        set("memory.events", "oom 5\noom_kill 2\n");
        assert_eq!(watch.look().unwrap(), Some(Wake::Oom));
        assert_eq!(watch.look().unwrap(), None);
        set("cgroup.events", "populated 0\nfrozen 0\n");
        assert_eq!(watch.wait(Duration::ZERO).unwrap(), Wake::Gone);
    }

    #[test]
    fn no_memory_controller_no_watch() {
        let fake = FakeHost::legacy(&["cpu"]);
        assert!(fake.cgroup(&[]).watch_oom().is_err());
    }
}
