//! The command's side of `create`: prepares on the host, has LXC make the namespaces, builds the
//! container from the waiting hook, hands the first process its task, and leaves a keeper behind.
//! Must not know how LXC is started.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Context;
use nix::libc::SIGKILL;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxNamespaceType;

use super::build::Builder;
use super::launch::{Guest, Launched, Launcher};
use super::own::Own;
use super::place::{self, Place};
use super::task::Handover;
use super::translate::{self, Cgroups, Facts};
use super::wire::{Door, Hello, Visitor};
use super::{init, keeper};
use crate::backend::linux::channel::{self, End, Go, Report};
use crate::backend::linux::host;
use crate::backend::linux::inside::{Inside, has_host_hooks};
use crate::backend::linux::namespaces::Namespaces;
use crate::backend::linux::spawn::{Spawned, kill_and_reap, reap};
use crate::backend::{CreateOptions, Creation};
use crate::cgroup::Cgroup;
use crate::console;
use crate::process::Setup;
use crate::rootfs::{self, Given, Hatch, PROGRAM, Plan, Prepared};
use crate::spec::Validated;
use crate::state::{ContainerDir, ProcessId, Record, Status};
use crate::sys::clone::{pidfd_open, pidfd_send_signal};

/// The words by which the program knows what it is executed for; see [`super::program`].
const HOOK: &str = super::HOOK;

/// A container that is built and waits for the command's last word.
pub struct Built {
    init: OwnedFd,
    stub: End,
    keeper: Option<keeper::Made>,
    id: ProcessId,
}

impl Creation for Built {
    fn init(&self) -> ProcessId {
        self.id
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.keeper {
            Some(keeper) => keeper.spawned.pidfd.as_fd(),
            None => self.init.as_fd(),
        }
    }

    fn commit(mut self: Box<Self>) -> anyhow::Result<()> {
        self.stub.send(&Go::default())?;
        if let Some(keeper) = &self.keeper {
            keeper.channel.send(&Go::default())?;
        }
        self.keeper = None;
        Ok(())
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            let _ = pidfd_send_signal(self.init.as_fd(), SIGKILL);
            kill_and_reap(&keeper.spawned);
        }
    }
}

/// What is made ready on the host's side.
struct Ready {
    namespaces: Namespaces,
    rootfs: Prepared,
    setup: Setup,
    handover: Handover,
    console: Option<std::os::unix::net::UnixStream>,
    hatch: Hatch,
    place: Place,
}

/// Builds the container up to the point where only `start` is missing.
pub fn create(
    launcher: &dyn Launcher,
    dir: &ContainerDir,
    record: &mut Record,
    spec: &Validated,
    options: CreateOptions,
) -> anyhow::Result<Built> {
    check_rights(record)?;
    record.cgroup.without_systemd();
    host::plan_intel_rdt(record, spec.spec())?;
    let ready = prepare(record, spec, &options)?;
    let mut own = Own {
        name: place::new_name(&record.id)?,
        // What the launcher has made already must not be forgotten.
        launcher: Own::of(record).launcher,
        ..Own::default()
    };
    let place = Place::of(&own.name);
    let ready = Ready { place, ..ready };
    own.keep_in(record);
    dir.save(record)?;
    ready.place.make()?;
    let listener = host::listen(dir.path()).context("make start socket")?;
    let waiting = dir.hold_waiting_lock()?;
    let hook_door = Door::open(&ready.place.hook_socket()).context("make the hook's socket")?;
    let stub_door = Door::open(&ready.hatch.socket()).context("make the first process's socket")?;

    let mut launched = launch(launcher, record, spec, &ready, &own)?;
    own.monitor = launched.monitor();
    own.launcher = launched.own();
    own.keep_in(record);
    dir.save(record)?;
    let hook = await_hook(&hook_door, launched.as_mut(), record)?;
    let found = hook.found;
    let recorded = own.monitor.is_some();
    own.monitor = Some(found.monitor);
    own.init = Some(found.init);
    own.keep_in(record);
    if !recorded {
        dir.save(record)?;
    }
    let pidfd = pidfd_open(found.init.pid).context("open container's init")?;
    if !found.init.is_alive() {
        anyhow::bail!("container process ended unexpectedly");
    }
    limit(record, spec, found.init)?;
    let parts = Parts {
        dir,
        record,
        spec,
        listener,
        waiting: waiting.into(),
        init: found.init,
        pidfd,
    };
    parts.finish(ready, hook, &stub_door, launched.as_mut(), launcher.given())
}

/// LXC started by a user, or by a root without the right to mount, fails late and in its own words.
fn check_rights(record: &Record) -> anyhow::Result<()> {
    /// linux/capability.h
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let root = nix::unistd::geteuid().is_root();
    let rights = crate::sys::process::capget().context("read own capabilities")?;
    if !root || rights.effective & CAP_SYS_ADMIN == 0 {
        anyhow::bail!(
            "backend `{}` needs root with CAP_SYS_ADMIN to have LXC make namespaces, mounts and cgroups",
            record.backend
        );
    }
    Ok(())
}

fn prepare(record: &Record, spec: &Validated, options: &CreateOptions) -> anyhow::Result<Ready> {
    let typed = spec.spec();
    let namespaces = Namespaces::open(typed)?;
    namespaces.check_kinds()?;
    let console = match &options.console_socket {
        Some(path) => Some(console::connect(path)?),
        None => None,
    };
    let settings = host::init_options(record, spec, &namespaces, options)?;
    let handover = Handover::new(record, spec, &settings, console.is_some())?;
    let setup = host::init_setup(spec, settings)?;
    let plan = Plan::new(typed, &record.bundle, &host::facts(record, &namespaces))?;
    record.cgroup.make_way()?;
    let own = crate::sys::seal::own_path().context("find own executable")?;
    Ok(Ready {
        rootfs: plan.prepare()?,
        hatch: Hatch::prepare(&own)?,
        place: Place::of(""),
        namespaces,
        setup,
        handover,
        console,
    })
}

fn launch(
    launcher: &dyn Launcher,
    record: &Record,
    spec: &Validated,
    ready: &Ready,
    own: &Own,
) -> anyhow::Result<Box<dyn Launched>> {
    let text = |path: std::path::PathBuf| {
        let shown = path.display().to_string();
        path.into_os_string()
            .into_string()
            .map_err(|_| anyhow::anyhow!("`{shown}` is not UTF-8"))
    };
    let executable = text(crate::sys::seal::own_path().context("find own executable")?)?;
    let place = &ready.place;
    let (root, mount) = (text(place.root())?, text(place.mount())?);
    let (socket, log) = (text(place.hook_socket())?, text(place.log())?);
    let joined = joined(&ready.namespaces);
    let (cgroup, relative) = match record.cgroup.path() {
        Some(_) => cgroup_path(&record.cgroup)?,
        None => (format!("lxc.payload.{}", own.name).into(), false),
    };
    let cgroup = text(cgroup)?;
    let monitor = monitor_cgroup(&own.name);
    let facts = Facts {
        root: launcher.root(&root, &mount),
        hook: &[&executable, HOOK, &socket],
        init: &[PROGRAM, super::STUB],
        joined: &joined,
        cgroups: Some(Cgroups {
            container: &cgroup,
            monitor: &monitor,
            relative,
        }),
        log: Some(&log),
    };
    let lines = translate::translate(spec.spec(), &facts)?;
    launcher.starts(&Guest {
        name: &own.name,
        place,
        lines: &lines,
        bundle_root: &record.rootfs,
    })
}

/// The container's path for LXC: from the top of each hierarchy, or from where this process is.
fn cgroup_path(cgroup: &Cgroup) -> anyhow::Result<(std::path::PathBuf, bool)> {
    if let Some(path) = cgroup.common_path() {
        return Ok((path, false));
    }
    let path = cgroup.common_path_from_here()?;
    let path = path.context("linux.cgroupsPath: LXC needs one path for all hierarchies")?;
    Ok((path, true))
}

/// Where LXC's monitor is accounted: its own name for that, which nobody shares.
pub fn monitor_cgroup(name: &str) -> String {
    format!("lxc.monitor.{name}")
}

/// Paths by which LXC opens the namespaces to join: those that this process holds, whatever has
/// become of the bundle's paths.
fn joined(namespaces: &Namespaces) -> Vec<(LinuxNamespaceType, String)> {
    use std::os::fd::AsRawFd;
    let own = std::process::id();
    namespaces
        .joined()
        .map(|(kind, file)| (kind, format!("/proc/{own}/fd/{}", file.as_raw_fd())))
        .collect()
}

/// The waiting hook.
struct Hook {
    visitor: Visitor,
    found: init::Found,
    root: String,
}

/// Waits for the hook, or for the end of a start that came to nothing.
fn await_hook(door: &Door, launched: &mut dyn Launched, record: &Record) -> anyhow::Result<Hook> {
    loop {
        let visitor = visitor(door, launched, None)?;
        let found = init::of_hook(visitor.pid);
        let ours = |found: &init::Found| launched.monitor().is_none_or(|pid| pid == found.monitor);
        let Some(found) = found.ok().filter(ours) else {
            tracing::debug!(
                "process {} is no hook of container `{}`",
                visitor.pid,
                record.id
            );
            continue;
        };
        let hello: Option<Hello> = visitor.channel.receive()?;
        let hello = hello.context("the mount hook ended unexpectedly")?;
        return Ok(Hook {
            visitor,
            found,
            root: hello.root,
        });
    }
}

/// Waits for somebody to knock. A start that ends as it should isn't listened to any more; then it
/// is the first process, once there is one, whose end is the end.
fn visitor(
    door: &Door,
    launched: &mut dyn Launched,
    init: Option<BorrowedFd<'_>>,
) -> anyhow::Result<Visitor> {
    let mut over = false;
    loop {
        let mut fds = vec![PollFd::new(door.as_fd(), PollFlags::POLLIN)];
        match (over, init) {
            (false, _) => fds.push(PollFd::new(launched.ended(), PollFlags::POLLIN)),
            (true, Some(init)) => fds.push(PollFd::new(init, PollFlags::POLLIN)),
            (true, None) => {}
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.context("wait for LXC")?,
        };
        if fds[0].any().unwrap_or(false) {
            return door.answer().context("answer a process of the container");
        }
        if over {
            anyhow::bail!("LXC gave up on the container after its root was built");
        }
        if let Some(error) = launched.failure() {
            return Err(error);
        }
        over = true;
    }
}

/// LXC has made the cgroup with the process in it: it becomes ours, with the bundle's limits.
fn limit(record: &Record, spec: &Validated, init: ProcessId) -> anyhow::Result<()> {
    let typed = spec.spec().linux().as_ref();
    if !record.cgroup.holds(init.pid)? {
        anyhow::bail!("LXC has put the container into another cgroup than it was told");
    }
    record
        .cgroup
        .take_over(typed.and_then(|l| l.resources().as_ref()))?;
    host::apply_limits(record, spec)
}

/// What the command holds while the container is built.
struct Parts<'a> {
    dir: &'a ContainerDir,
    record: &'a mut Record,
    spec: &'a Validated,
    listener: UnixListener,
    waiting: OwnedFd,
    init: ProcessId,
    pidfd: OwnedFd,
}

impl Parts<'_> {
    fn finish(
        mut self,
        ready: Ready,
        hook: Hook,
        stub_door: &Door,
        launched: &mut dyn Launched,
        given: Given,
    ) -> anyhow::Result<Built> {
        let (keeper, id) = self.keep()?;
        if let Some(like) = &given.like {
            // Seen through the first process: the mount is in its mount namespace only.
            let root = format!("/proc/{}/root{}", self.init.pid, hook.root);
            rootfs::make_alike(Path::new(&root), like).context("set the root's owner and mode")?;
        }
        let Ready {
            namespaces,
            mut rootfs,
            setup,
            handover,
            console,
            hatch,
            ..
        } = ready;
        let (ours, theirs) = channel::pair()?;
        let late = rootfs.take_late();
        let builder = Builder {
            inside: Inside {
                spec: self.spec.spec(),
                namespaces: &namespaces,
                rootfs,
                state: self.record.oci_state(Status::Creating, None),
                init: init::pid_inside(self.init.pid)?,
                console,
                channel: theirs,
            },
            hatch: &hatch,
            pidfd: self.pidfd.as_fd(),
            pid: self.init.pid,
            left: Path::new(&hook.root),
            given,
            gate: self.record.cgroup.gate(false)?,
            into: self.record.cgroup.into_fd()?,
        };
        let builder = builder.spawn()?;
        // Hooks look at the pid that they are told; else the keeper has time until the root stands.
        let hooks = self.spec.spec().hooks().as_ref();
        let watched = hooks.is_some_and(has_host_hooks);
        if watched {
            keeper.settled()?;
        }
        let made = self.build(builder, &ours)?;
        if !watched {
            keeper.settled()?;
        }
        hook.visitor.channel.send(&Go::default())?;
        let stub = self.await_stub(stub_door, launched)?;
        let fixed = [self.listener.as_fd(), self.waiting.as_fd()];
        handover.give(&stub, self.init.pid, &made, fixed, late)?;
        match stub.await_report()? {
            Report::Ready => {}
            other => anyhow::bail!("container process sent an unexpected message: {other:?}"),
        }
        setup.from_host(Pid::from_raw(self.init.pid))?;
        Ok(Built {
            init: self.pidfd,
            stub,
            keeper: Some(keeper),
            id,
        })
    }

    /// Makes the keeper before hooks are told a pid: theirs is everybody's.
    fn keep(&mut self) -> anyhow::Result<(keeper::Made, ProcessId)> {
        let waiting = self.dir.waiting_file()?;
        let cgroup = &self.record.cgroup;
        let keeper = keeper::make(self.init, self.pidfd.as_fd(), cgroup, &waiting)?;
        let id = ProcessId::of(keeper.spawned.pid.as_raw()).context("keeper ended unexpectedly")?;
        self.record.init = Some(id);
        self.dir.save(self.record)?;
        Ok((keeper, id))
    }

    /// Serves the builder; what comes back is the first process's stdio and the finished root. A builder that failed is
    /// left to the end of its container.
    fn build(&self, builder: Spawned, channel: &End) -> anyhow::Result<Vec<OwnedFd>> {
        let made = self.attend(channel)?;
        reap(builder.pid);
        Ok(made)
    }

    fn attend(&self, channel: &End) -> anyhow::Result<Vec<OwnedFd>> {
        let pid = Pid::from_raw(self.init.pid);
        host::attend(self.record, self.spec.spec(), channel, pid)?;
        match channel.receive_with::<Report>()? {
            Some((Report::Ready, made)) if made.len() == 4 => Ok(made),
            Some((Report::Failed(text), _)) => Err(channel::ChannelError::Failed(text).into()),
            Some((other, _)) => {
                anyhow::bail!("container process sent an unexpected message: {other:?}")
            }
            None => Err(channel::ChannelError::Closed.into()),
        }
    }

    fn await_stub(&self, door: &Door, launched: &mut dyn Launched) -> anyhow::Result<End> {
        loop {
            let visitor = visitor(door, launched, Some(self.pidfd.as_fd()))?;
            // Nobody else can see the socket, unless the pid namespace is shared.
            if visitor.pid == self.init.pid {
                visitor
                    .channel
                    .receive::<Hello>()?
                    .context("container process ended unexpectedly")?;
                return Ok(visitor.channel);
            }
        }
    }
}
