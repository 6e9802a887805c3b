//! One more process in a running container: enters what init is in, sets the process up with the
//! same code as init, executes. Must not touch argument types.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::Context;
use nix::errno::Errno;
use nix::libc;
use serde_json::Value;

use super::channel::{self, End, Go, Report};
use super::host::common_options;
use super::inside::{become_mapped_root, console_size};
use super::spawn::{Spawned, kill_and_reap};
use crate::backend::{ExecRequest, Running};
use crate::cgroup::{Gate, SubCgroup};
use crate::process::Setup;
use crate::seccomp::Program;
use crate::seccomp::notify::container_process_state;
use crate::spec::Validated;
use crate::state::{ProcessId, Record, Status};
use crate::sys::clone::{CloneArgs, Cloned, clone3, exit_now, pidfd_open, setns};
use crate::{console, error};

/// What the new process needs to know.
struct Tenant<'a> {
    target: Target,
    setup: &'a Setup,
    console: Option<UnixStream>,
    state: Value,
    metadata: Option<String>,
    size: Option<(u16, u16)>,
    uid: u32,
    channel: End,
    /// Doors into the cgroups that the clone didn't lead to.
    gate: Gate,
}

/// The container's init, held so that it can't be mistaken for another process.
struct Target {
    pidfd: OwnedFd,
    root: OwnedFd,
    namespaces: i32,
    own_mount: bool,
    joins_user: bool,
}

/// Runs a process; returns once its execve has succeeded.
pub fn exec(
    record: &Record,
    init: &ProcessId,
    config: &Validated,
    mut job: ExecRequest,
) -> anyhow::Result<Running> {
    let target = Target::open(init)?;
    let setup = setup(record, config, &target, &job)?;
    let (ours, theirs) = channel::pair()?;
    let sub = SubCgroup::parse(&job.cgroups)?;
    setup.pin_before_cgroup()?;
    let cgroup = record.cgroup.into_fd_below(&sub)?;
    let gate = record.cgroup.gate_below(&sub, cgroup.is_some())?;
    enter_pid_namespace(&target)?;
    let tenant = Tenant {
        target,
        setup: &setup,
        size: job.process.console_size().map(console_size),
        uid: job.process.user().uid(),
        console: job.console.take(),
        state: record.oci_state(Status::Running, record.init.map(|init| init.pid)),
        metadata: listener_metadata(config),
        channel: theirs,
        gate,
    };
    let our_end = ours.as_fd().as_raw_fd();
    let spawned = match clone_into(record, init, cgroup, sub.is_empty())? {
        Cloned::Parent { pid, pidfd } => {
            // Its end of the conversation must be the child's alone.
            drop(tenant);
            Spawned { pid, pidfd }
        }
        Cloned::Child => {
            let _ = nix::unistd::close(our_end);
            exit_now(tenant.run())
        }
    };
    match attend(record, &spawned, &ours, &setup) {
        Ok(()) => Ok(Running {
            pid: spawned.pid.as_raw(),
            pidfd: spawned.pidfd,
        }),
        Err(error) => {
            kill_and_reap(&spawned);
            Err(error)
        }
    }
}

/// Clones into the container's cgroup. Where its top takes no processes, beside init.
///
/// The cgroup's directory is closed on both sides: it is the host's, and `args` could name it by
/// `/proc/self/fd/N`.
fn clone_into(
    record: &Record,
    init: &ProcessId,
    cgroup: Option<OwnedFd>,
    top: bool,
) -> anyhow::Result<Cloned> {
    let clone = |cgroup: Option<&OwnedFd>| {
        clone3(CloneArgs {
            cgroup: cgroup.map(AsFd::as_fd),
            ..CloneArgs::default()
        })
    };
    match clone(cgroup.as_ref()) {
        Err(Errno::EBUSY) if top => {
            let beside = record.cgroup.into_fd_beside(init.pid)?;
            let beside = beside.context("container's cgroup takes no processes")?;
            clone(Some(&beside))
        }
        cloned => cloned,
    }
    .context("make process")
}

fn attend(record: &Record, spawned: &Spawned, channel: &End, setup: &Setup) -> anyhow::Result<()> {
    let pid = spawned.pid.as_raw();
    if let Some(group) = &record.rdt {
        group.join(pid).context("linux.intelRdt")?;
    }
    channel.send(&Go::to(pid))?;
    match channel.await_report()? {
        Report::Ready => {}
        other => anyhow::bail!("container process sent an unexpected message: {other:?}"),
    }
    setup.from_host(spawned.pid)?;
    channel.send(&Go::default())?;
    channel.await_exec()?;
    Ok(())
}

fn setup(
    record: &Record,
    config: &Validated,
    target: &Target,
    job: &ExecRequest,
) -> anyhow::Result<Setup> {
    let linux = config.spec().linux().as_ref();
    let program = match linux.and_then(|l| l.seccomp().as_ref()) {
        Some(filter) => Some(Program::load_or_compile(
            filter,
            job.filter_cache.as_deref(),
        )?),
        None => None,
    };
    let options = common_options(record, target.joins_user, job.preserve_fds, program, linux)?;
    Ok(Setup::new(&job.process, &job.raw, linux, options)?)
}

/// Only children enter a joined pid namespace, so the command does it itself before the clone.
fn enter_pid_namespace(target: &Target) -> anyhow::Result<()> {
    if target.namespaces & libc::CLONE_NEWPID != 0 {
        setns(target.pidfd.as_fd(), libc::CLONE_NEWPID).context("join pid namespace")?;
    }
    Ok(())
}

impl Target {
    /// Opens init and finds out which of its namespaces aren't ours: joining one's own user
    /// namespace is refused by the kernel.
    fn open(init: &ProcessId) -> anyhow::Result<Target> {
        let pidfd = pidfd_open(init.pid).context("open container's init")?;
        let root = nix::fcntl::open(
            format!("/proc/{}/root", init.pid).as_str(),
            nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        )
        .context("open container's root")?;
        let namespaces = different_namespaces(init.pid)?;
        // The pid may have been given away between the look at the record and the open.
        if !init.is_alive() {
            return Err(error::Kind::NotRunning.into());
        }
        Ok(Target {
            pidfd,
            root: crate::sys::fd::adopt(root),
            namespaces,
            own_mount: namespaces & libc::CLONE_NEWNS != 0,
            joins_user: namespaces & libc::CLONE_NEWUSER != 0,
        })
    }

    /// Goes where init is; nothing of it stays open.
    fn enter(self) -> anyhow::Result<()> {
        let flags = self.namespaces & !libc::CLONE_NEWPID;
        if flags != 0 {
            setns(self.pidfd.as_fd(), flags).context("join container's namespaces")?;
        }
        if self.joins_user {
            become_mapped_root()?;
        }
        if !self.own_mount {
            nix::unistd::fchdir(self.root.as_raw_fd())?;
            nix::unistd::chroot(".")?;
        }
        nix::unistd::chdir("/")?;
        Ok(())
    }
}

fn listener_metadata(config: &Validated) -> Option<String> {
    let linux = config.spec().linux().as_ref();
    let filter = linux.and_then(|l| l.seccomp().as_ref());
    filter.and_then(|f| f.listener_metadata().clone())
}

/// `CLONE_NEW*` bits of the namespaces that a process does not share with this one.
pub fn different_namespaces(pid: i32) -> anyhow::Result<i32> {
    use std::os::unix::fs::MetadataExt;
    let kinds = [
        ("user", libc::CLONE_NEWUSER),
        ("mnt", libc::CLONE_NEWNS),
        ("pid", libc::CLONE_NEWPID),
        ("net", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
        ("time", libc::CLONE_NEWTIME),
    ];
    let mut flags = 0;
    for (name, flag) in kinds {
        let own = std::fs::metadata(format!("/proc/self/ns/{name}"));
        let (Ok(own), Ok(other)) = (own, std::fs::metadata(format!("/proc/{pid}/ns/{name}")))
        else {
            // A kernel without this kind of namespace.
            continue;
        };
        if (own.dev(), own.ino()) != (other.dev(), other.ino()) {
            flags |= flag;
        }
    }
    Ok(flags)
}

impl Tenant<'_> {
    fn run(self) -> i32 {
        let channel = self.channel.as_fd().try_clone_to_owned();
        let Err(error) = self.become_process();
        if let Ok(channel) = channel {
            End::from(channel).fail(&error::one_line(&error));
        }
        1
    }

    fn become_process(mut self) -> anyhow::Result<Infallible> {
        let go = self.channel.await_go()?;
        std::mem::take(&mut self.gate).enter()?;
        nix::sys::prctl::set_dumpable(false)?;
        self.target.enter()?;
        nix::unistd::setsid()?;
        if let Some(socket) = &self.console {
            let pty = console::open_in_container(self.size)?;
            console::send(socket.as_fd(), "/dev/ptmx", pty.master.as_fd())?;
            console::become_stdio(&pty.slave)?;
        }
        console::give_stdio_to(self.uid);
        let mut ready = self.setup.prepare()?;
        if ready.wants_container_state() {
            let metadata = self.metadata.as_deref();
            ready.container_state(container_process_state(&self.state, go.pid, metadata));
        }
        self.channel.send(&Report::Ready)?;
        self.channel.await_go()?;
        self.channel.send(&Report::Executing)?;
        Err(ready.exec().into())
    }
}
