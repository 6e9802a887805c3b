//! The keeper's second half: a process outside of the container's cgroup that does nothing but wait
//! for the keeper's end. Should that be a SIGKILL, the container is killed: whoever kills the pid
//! that he was told means the container. Must not outlive it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, SIGKILL};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::has_ended;
use crate::cgroup::{Cgroup, pass};
use crate::sys::clone::{CloneArgs, Cloned, clone3, exit_now, pidfd_send_signal};
use crate::sys::fanotify::Opens;
use crate::sys::memory::{Clean, trim_heap};

/// The watching process as its keeper sees it.
pub struct Watcher {
    /// The host's root, below which the cgroup's files are whatever namespaces this process joins.
    host: File,
    /// With paths below the host's root.
    cgroup: Cgroup,
    /// For the first one, which sees the host's paths; see [`Follow`].
    follow: Option<Follow>,
    running: Option<Running>,
}

/// The keeper is where init is. A container that manages cgroups of its own moves init below, then
/// hands controllers on: when it asks for that, the keeper is brought after.
struct Follow {
    opens: Opens,
    cgroup: Cgroup,
    init: i32,
}

impl Follow {
    fn of(cgroup: &Cgroup, init: i32) -> Option<Follow> {
        let opens = Opens::of(&cgroup.control_file()?).ok()?;
        Some(Follow {
            opens,
            cgroup: cgroup.clone(),
            init,
        })
    }

    fn bring(&self, keeper: i32) {
        let _ = self.cgroup.follow(self.init, keeper);
        self.opens.answer();
    }
}

struct Running {
    pid: Pid,
    /// Closed by the keeper's end, whatever that is.
    life: OwnedFd,
}

impl Watcher {
    /// To be called in the host's mount namespace.
    pub fn new(cgroup: &Cgroup, init: i32) -> anyhow::Result<Watcher> {
        let host = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open("/")
            .context("open `/`")?;
        Ok(Watcher {
            host,
            cgroup: cgroup.below_root(),
            follow: Follow::of(cgroup, init),
            running: None,
        })
    }

    /// Starts it. It goes through `back` first, out of the container's cgroup. As long as the keeper
    /// itself is in the container's version 2 cgroup alone, a clone to where `into` leads does it.
    pub fn start(
        &mut self,
        init: BorrowedFd<'_>,
        back: &[File],
        into: Option<OwnedFd>,
    ) -> Result<(), Errno> {
        // The last one's end would be held open by its successor.
        self.running = None;
        let (read, life) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let cgroup = into.as_ref().map(AsFd::as_fd);
        let quick = clone3(CloneArgs {
            cgroup,
            ..CloneArgs::default()
        });
        let (cloned, back) = match quick {
            Err(_) => (clone3(CloneArgs::default())?, back),
            Ok(cloned) if cgroup.is_some() => (cloned, &[][..]),
            Ok(cloned) => (cloned, back),
        };
        match cloned {
            Cloned::Parent { pid, .. } => {
                self.running = Some(Running { pid, life });
                // Nobody may wait for one who doesn't answer.
                self.follow = None;
                Ok(())
            }
            Cloned::Child => {
                drop(life);
                self.watch(init, back, File::from(read))
            }
        }
    }

    /// A successor, if it has ended.
    pub fn renew(&mut self, init: BorrowedFd<'_>, back: &[File]) -> Result<(), Errno> {
        match &self.running {
            Some(running) if !has_ended(running.pid) => Ok(()),
            _ => self.start(init, back, None),
        }
    }

    /// Ends it without a consequence.
    pub fn stop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        if crate::sys::kill::kill(running.pid.as_raw(), SIGKILL).is_ok() {
            while nix::sys::wait::waitpid(running.pid, None) == Err(Errno::EINTR) {}
        }
        drop(running.life);
    }

    /// Kills everything in the container's cgroup.
    pub fn end_container(&self) {
        if nix::unistd::fchdir(self.host.as_raw_fd()).is_ok() {
            let _ = self.cgroup.kill_all(SIGKILL);
        }
    }

    fn watch(&self, init: BorrowedFd<'_>, back: &[File], mut life: File) -> ! {
        // Whoever signals the keeper's group or session doesn't mean this one.
        let _ = nix::unistd::setsid();
        let _ = nix::sys::prctl::set_name(c"pxrun-watcher");
        pass(back);
        // Without them it can still do its work.
        let _ = super::give_up_rights();
        trim_heap();
        Clean::find().give_back();
        while self.follow_until_something(&life) {}
        loop {
            match life.read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let _ = pidfd_send_signal(init, SIGKILL);
        self.end_container();
        exit_now(0)
    }

    /// False once there is something of the keeper's life, or nothing to follow.
    fn follow_until_something(&self, life: &File) -> bool {
        let Some(follow) = &self.follow else {
            return false;
        };
        let mut fds = [
            PollFd::new(life.as_fd(), PollFlags::POLLIN),
            PollFd::new(follow.opens.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[0].any().unwrap_or(false) {
            return false;
        }
        if fds[1].any().unwrap_or(false) {
            follow.bring(nix::unistd::getppid().as_raw());
        }
        true
    }
}
