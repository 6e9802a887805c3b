//! Init between the clone and the user's process: enters its namespaces, builds the container, and
//! waits. Must not touch the host's files once the root is changed, nor the record at all.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use oci_spec::runtime::LinuxNamespaceType;

use crate::backend::linux::channel::End;
use crate::backend::linux::inside::{Inside, become_mapped_root};
use crate::backend::linux::waiting::Waiting;
use crate::cgroup::Gate;
use crate::console;
use crate::process::Setup;
use crate::state::Lock;

/// Everything that init was given by the command that made it.
pub struct Init<'a> {
    /// The container to build.
    pub inside: Inside<'a>,
    /// Whether the helper has done the joins.
    pub joined: bool,
    /// The user's process.
    pub setup: &'a Setup,
    /// `start` knocks here.
    pub listener: UnixListener,
    /// The waiting lock.
    pub lock: Lock,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// Doors into the cgroups that the clone didn't lead to.
    pub gate: Option<Gate>,
}

impl Init<'_> {
    /// Runs to the execve, or reports why not and returns an exit code.
    pub fn run(self) -> i32 {
        let channel = self.inside.channel.as_fd().try_clone_to_owned();
        let Err(error) = self.become_container();
        if let Ok(channel) = channel {
            End::from(channel).fail(&crate::error::one_line(&error));
        }
        1
    }

    fn become_container(mut self) -> anyhow::Result<Infallible> {
        let go = self.inside.channel.await_go()?;
        if let Some(gate) = self.gate.take() {
            gate.enter()?;
        }
        self.enter()?;
        self.inside.rootfs.enter()?;
        self.inside.build(&go)?;
        self.inside.hooks()?;
        self.inside.rootfs.pivot(self.no_pivot)?;
        if let Some(slave) = self.inside.finish_root()? {
            console::become_stdio(&slave)?;
        }
        if let Some(process) = self.inside.spec.process() {
            console::give_stdio_to(process.user().uid());
        }
        let Inside {
            spec,
            state,
            channel,
            rootfs,
            ..
        } = self.inside;
        // Its mounts stand; their descriptors must not be there for `cwd` and `args` to name.
        drop(rootfs);
        let waiting = Waiting {
            spec,
            setup: self.setup,
            state,
            pid: go.pid,
            channel,
            listener: self.listener,
            lock: OwnedFd::from(self.lock).into(),
        };
        waiting.run()
    }

    /// Session, identity in a new user namespace, remaining namespaces and what is set in them.
    fn enter(&self) -> anyhow::Result<()> {
        let namespaces = self.inside.namespaces;
        if namespaces.is_separate(LinuxNamespaceType::User) {
            become_mapped_root()?;
        }
        // Other processes of a shared pid namespace must not look into this one
        // (CVE-2016-9962). Cleared by execve.
        nix::sys::prctl::set_dumpable(false)?;
        nix::unistd::setsid()?;
        if !self.joined {
            namespaces.join_all()?;
        }
        namespaces.make_late()?;
        self.inside.name_host()
    }
}
