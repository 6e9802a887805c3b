//! Builds the container from inside of the hook's namespaces: a child of `create`, which has
//! everything that was prepared on the host's side. Must not touch the user's process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::Context;
use nix::libc;

use crate::backend::linux::channel::{End, Report};
use crate::backend::linux::exec::different_namespaces;
use crate::backend::linux::inside::{Inside, become_mapped_root};
use crate::backend::linux::spawn::{Spawned, clone_through, reap};
use crate::cgroup::Gate;
use crate::rootfs::{Given, Hatch};
use crate::sys::clone::{CloneArgs, Cloned, clone3, exit_now, setns};
use crate::sys::fd::stdio;

/// The child's work.
pub struct Builder<'a> {
    /// The container to build.
    pub inside: Inside<'a>,
    /// What the first process comes in by.
    pub hatch: &'a Hatch,
    /// The first process, which the hook's namespaces are taken from.
    pub pidfd: BorrowedFd<'a>,
    /// Its pid.
    pub pid: i32,
    /// Where LXC has mounted the root that it was given.
    pub left: &'a Path,
    /// What of it goes into the container.
    pub given: Given,
    /// Doors into the container's cgroups.
    pub gate: Gate,
    /// The version 2 one, to be cloned into.
    pub into: Option<OwnedFd>,
}

impl Builder<'_> {
    /// Makes the child, and between it and this process one that reaps it: whatever becomes of
    /// `create`, no zombie of its may stay in the container's pid namespace, whose init couldn't
    /// end then (pid_namespaces(7)).
    pub fn spawn(self) -> anyhow::Result<Spawned> {
        let namespaces = different_namespaces(self.pid)?;
        match clone3(CloneArgs::default()).context("make process")? {
            Cloned::Parent { pid, pidfd } => Ok(Spawned { pid, pidfd }),
            Cloned::Child => exit_now(self.run_below(namespaces)),
        }
    }

    /// Only children enter a pid namespace.
    fn run_below(mut self, namespaces: i32) -> i32 {
        let enter = namespaces & libc::CLONE_NEWPID;
        let entered = match enter {
            0 => Ok(()),
            _ => setns(self.pidfd, enter),
        };
        let into = self.into.take();
        let cloned = entered.and_then(|()| clone_through(into, &mut self.gate));
        match cloned {
            Ok(Cloned::Child) => self.run(namespaces & !libc::CLONE_NEWPID),
            Ok(Cloned::Parent { pid, .. }) => {
                drop(self);
                reap(pid);
                0
            }
            Err(errno) => {
                let channel = &self.inside.channel;
                channel.fail(&format!("enter the container's pid namespace: {errno}"));
                1
            }
        }
    }

    fn run(self, namespaces: i32) -> i32 {
        let channel = self.inside.channel.as_fd().try_clone_to_owned();
        match (self.build(namespaces), channel) {
            (Ok(()), _) => 0,
            (Err(error), Ok(channel)) => {
                End::from(channel).fail(&crate::error::one_line(&error));
                1
            }
            (Err(_), Err(_)) => 1,
        }
    }

    fn build(mut self, namespaces: i32) -> anyhow::Result<()> {
        let go = self.inside.channel.await_go()?;
        self.gate.enter()?;
        // Before the first look of anybody in there: this process holds the host's descriptors.
        nix::sys::prctl::set_dumpable(false)?;
        setns(self.pidfd, namespaces).context("join container's namespaces")?;
        if namespaces & libc::CLONE_NEWUSER != 0 {
            become_mapped_root()?;
        }
        nix::sys::prctl::set_dumpable(false)?;
        self.inside.name_host()?;
        self.inside.rootfs.take(self.left, &self.given)?;
        self.hatch.attach(self.left)?;
        self.inside.rootfs.enter()?;
        self.inside.build(&go)?;
        self.inside.hooks()?;
        self.inside.rootfs.step_in()?;
        let slave = self.inside.finish_root()?;
        let tree = self.inside.rootfs.detach()?;
        let [stdin, stdout, stderr] = stdio_of(slave.as_ref());
        self.inside
            .channel
            .send_with(&Report::Ready, &[stdin, stdout, stderr, tree.as_fd()])?;
        Ok(())
    }
}

/// What becomes the first process's standard input, output and error.
fn stdio_of(slave: Option<&OwnedFd>) -> [BorrowedFd<'_>; 3] {
    match slave {
        Some(slave) => [slave.as_fd(); 3],
        None => [stdio(0), stdio(1), stdio(2)],
    }
}
