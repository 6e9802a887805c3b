//! The command's side of `create`: prepares on the host what init will need, makes init, serves it
//! while it builds the container. Must not touch argument types or write the pid-file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::Context;
use libcontainer::user_ns::UserNamespaceConfig;
use nix::unistd::Pid;
use oci_spec::runtime::LinuxNamespaceType;

use super::init::Init;
use crate::backend::linux::channel::{self, End, Go, Report};
use crate::backend::linux::host;
use crate::backend::linux::inside::Inside;
use crate::backend::linux::namespaces::Namespaces;
use crate::backend::linux::spawn::{Spawned, kill_and_reap, spawn};
use crate::backend::{CreateOptions, Creation};
use crate::console;
use crate::process::Setup;
use crate::rootfs::{OwnNamespace, Plan};
use crate::spec::Validated;
use crate::state::{ContainerDir, ProcessId, Record, Status};

/// A container that is built and waits for the command's last word.
pub struct Built {
    spawned: Option<Spawned>,
    init: ProcessId,
    channel: End,
}

impl Creation for Built {
    fn init(&self) -> ProcessId {
        self.init
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.spawned {
            Some(spawned) => spawned.pidfd.as_fd(),
            None => self.channel.as_fd(),
        }
    }

    fn commit(mut self: Box<Self>) -> anyhow::Result<()> {
        self.channel.send(&Go::default())?;
        self.spawned = None;
        Ok(())
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        if let Some(spawned) = &self.spawned {
            kill_and_reap(spawned);
        }
    }
}

/// Builds the container up to the point where only `start` is missing.
pub fn create(
    dir: &ContainerDir,
    record: &mut Record,
    spec: &Validated,
    options: CreateOptions,
) -> anyhow::Result<Built> {
    check_rights()?;
    let typed = spec.spec();
    let mut namespaces = Namespaces::open(typed)?;
    let mapping = UserNamespaceConfig::new(typed).context("linux.uidMappings")?;
    let console = match &options.console_socket {
        Some(path) => Some(console::connect(path)?),
        None => None,
    };
    let setup = host::setup(record, spec, &namespaces, &options)?;
    let plan = Plan::new(typed, &record.bundle, &host::facts(record, &namespaces))?;
    host::plan_intel_rdt(record, typed)?;
    let resources = typed.linux().as_ref().and_then(|l| l.resources().as_ref());
    record.cgroup.create(resources)?;
    let limits_later = record.cgroup.needs_process_first();
    if !limits_later {
        host::apply_limits(record, spec)?;
    }
    let listener = host::listen(dir.path()).context("make start socket")?;
    let waiting = dir.hold_waiting_lock()?;
    let (ours, theirs) = channel::pair()?;

    // systemd makes the cgroup around the process: there is nothing to clone into, no door to pass.
    let (cgroup, gate) = if limits_later {
        (None, None)
    } else {
        let cgroup = record.cgroup.into_fd()?;
        let gate = record.cgroup.gate(cgroup.is_some())?;
        (cgroup, Some(gate))
    };
    let joined = namespaces.need_helper();
    let state = record.oci_state(Status::Creating, None);
    let own = own_mount_namespace(&mut namespaces)?;
    let rootfs = match &own {
        Some(own) => plan.prepare_in(own)?,
        None => plan.prepare()?,
    };
    let mut not_for_init = vec![ours.as_fd().as_raw_fd()];
    not_for_init.extend(cgroup.as_ref().map(AsRawFd::as_raw_fd));
    not_for_init.extend(own.iter().flat_map(OwnNamespace::ways_back));
    let spawned = spawn(&namespaces, cgroup.as_ref().map(AsFd::as_fd), || {
        // Init must see the end of the conversation when the command dies; and no directory of the
        // host may be open when the container's paths are looked up (CVE-2024-21626).
        for fd in not_for_init {
            let _ = nix::unistd::close(fd);
        }
        Init {
            inside: Inside {
                spec: typed,
                namespaces: &namespaces,
                rootfs,
                state,
                init: std::process::id(),
                console,
                channel: theirs,
            },
            joined,
            setup: &setup,
            listener,
            lock: waiting,
            no_pivot: options.no_pivot,
            gate,
        }
        .run()
    });
    if let Some(own) = own {
        own.leave().context("return to the host's mounts")?;
    }
    let spawned = spawned?;
    serve(
        dir,
        record,
        spec,
        Parts {
            spawned,
            ours,
            namespaces,
            mapping,
            setup,
        },
    )
}

/// Mounts are made ready on this side, so the user namespace of a container without root has to be
/// there before: rootless podman and `unshare --map-root-user --mount` make one.
fn check_rights() -> anyhow::Result<()> {
    use caps::{CapSet, Capability, has_cap};
    if has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(true) {
        return Ok(());
    }
    anyhow::bail!(
        "CAP_SYS_ADMIN is missing: run as root, or as root of a user namespace with its own mount namespace"
    )
}

/// Makes the mount namespace here instead of in the clone, so that init may clone the sources of
/// binds that are opened now. Not for a user namespace: that must own its mount namespace.
fn own_mount_namespace(namespaces: &mut Namespaces) -> anyhow::Result<Option<OwnNamespace>> {
    if namespaces.is_separate(LinuxNamespaceType::User)
        || !namespaces.take_new(LinuxNamespaceType::Mount)
    {
        return Ok(None);
    }
    let own = OwnNamespace::enter().context("linux.namespaces: make mount namespace")?;
    Ok(Some(own))
}

/// What the command holds while init builds.
struct Parts {
    spawned: Spawned,
    ours: End,
    namespaces: Namespaces,
    mapping: Option<UserNamespaceConfig>,
    setup: Setup,
}

/// Writes down who init is, does what only the host can, and waits until init is ready.
fn serve(
    dir: &ContainerDir,
    record: &mut Record,
    validated: &Validated,
    parts: Parts,
) -> anyhow::Result<Built> {
    let spec = validated.spec();
    let pid = parts.spawned.pid;
    let init = ProcessId::of(pid.as_raw()).context("container process ended unexpectedly")?;
    let built = Built {
        spawned: Some(parts.spawned),
        init,
        channel: parts.ours,
    };
    record.init = Some(init);
    dir.save(record)?;
    if record.cgroup.needs_process_first() {
        record.cgroup.join(pid.as_raw())?;
        host::apply_limits(record, validated)?;
    }
    if let Some(mapping) = &parts.mapping {
        write_mappings(mapping, pid).context("linux.uidMappings: write mappings")?;
    }
    host::attend(record, spec, &built.channel, pid)?;
    match built.channel.await_report()? {
        Report::Ready => {}
        other => anyhow::bail!("container process sent an unexpected message: {other:?}"),
    }
    parts.setup.from_host(pid)?;
    drop(parts.namespaces);
    Ok(built)
}

/// Without privilege setgroups has to be given up before a gid mapping may be written
/// (user_namespaces(7)).
fn write_mappings(mapping: &UserNamespaceConfig, pid: Pid) -> anyhow::Result<()> {
    if !mapping.privileged {
        std::fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    }
    mapping.write_uid_mapping(pid)?;
    mapping.write_gid_mapping(pid)?;
    Ok(())
}
