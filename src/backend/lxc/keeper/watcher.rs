//! The keeper's second half: a process outside of the container's cgroup that does nothing but wait
//! for the keeper's end. Should that be a SIGKILL, the container is killed: whoever kills the pid
//! that he was told means the container. Must not outlive it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{CLONE_NEWNS, SIGKILL};
use nix::unistd::Pid;

use super::has_ended;
use crate::cgroup::{Cgroup, pass};
use crate::sys::clone::{CloneArgs, Cloned, clone3, exit_now, pidfd_send_signal, setns};
use crate::sys::memory::Clean;

/// The watching process as its keeper sees it.
pub struct Watcher {
    /// Where the cgroup's files can be reached by their paths.
    mounts: File,
    cgroup: Cgroup,
    running: Option<Running>,
}

struct Running {
    pid: Pid,
    /// Closed by the keeper's end, whatever that is.
    life: OwnedFd,
}

impl Watcher {
    /// To be called in the host's mount namespace.
    pub fn new(cgroup: &Cgroup) -> anyhow::Result<Watcher> {
        let mounts = File::open("/proc/self/ns/mnt").context("open own mount namespace")?;
        Ok(Watcher {
            mounts,
            cgroup: cgroup.clone(),
            running: None,
        })
    }

    /// Starts it; it goes through `back` first, out of the container's cgroup.
    pub fn start(&mut self, init: BorrowedFd<'_>, back: &[File]) -> Result<(), Errno> {
        // The last one's end would be held open by its successor.
        self.running = None;
        let (read, life) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        match clone3(CloneArgs::default())? {
            Cloned::Parent { pid, .. } => {
                self.running = Some(Running { pid, life });
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
            _ => self.start(init, back),
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

    /// Kills everything in the container's cgroup, from a process in the host's mount namespace.
    pub fn end_container(&self, cgroup: &Cgroup) {
        if setns(self.mounts.as_fd(), CLONE_NEWNS).is_ok() {
            let _ = cgroup.kill_all(SIGKILL);
        }
    }

    fn watch(&self, init: BorrowedFd<'_>, back: &[File], mut life: File) -> ! {
        // Whoever signals the keeper's group or session doesn't mean this one.
        let _ = nix::unistd::setsid();
        let _ = nix::sys::prctl::set_name(c"pxrun-watcher");
        pass(back);
        Clean::find().give_back();
        loop {
            match life.read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let _ = pidfd_send_signal(init, SIGKILL);
        self.end_container(&self.cgroup);
        exit_now(0)
    }
}
