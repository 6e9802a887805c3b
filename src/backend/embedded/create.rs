//! The command's side of `create`: prepares on the host what init will need, makes init, serves it
//! while it builds the container. Must not touch argument types or write the pid-file.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Context;
use libcontainer::network::cidr::CidrAddress;
use libcontainer::network::network_device::dev_change_net_namespace;
use libcontainer::user_ns::UserNamespaceConfig;
use nix::unistd::Pid;
use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};
use serde_json::Value;

use super::channel::{self, End, Go, Report};
use super::init::{Init, has_host_hooks};
use super::namespaces::Namespaces;
use super::spawn::{Spawned, kill_and_reap, spawn};
use crate::backend::{CreateOptions, Creation};
use crate::process::Setup;
use crate::rootfs::{Facts, OwnNamespace, Plan};
use crate::seccomp::Program;
use crate::seccomp::notify::Listener;
use crate::spec::Validated;
use crate::state::{ContainerDir, Lock, ProcessId, Record, Status};
use crate::{console, hooks, process};

/// Name of the socket on which init waits for `start`, in the container's directory.
pub const START_SOCKET: &str = "start.sock";

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
    let typed = spec.spec();
    let mut namespaces = Namespaces::open(typed)?;
    let mapping = UserNamespaceConfig::new(typed).context("linux.uidMappings")?;
    let console = match &options.console_socket {
        Some(path) => Some(console::connect(path)?),
        None => None,
    };
    let setup = setup(record, spec, &namespaces, &options)?;
    let plan = Plan::new(typed, &record.bundle, &facts(record, &namespaces))?;
    let resources = typed.linux().as_ref().and_then(|l| l.resources().as_ref());
    record.cgroup.create(resources)?;
    let limits_later = record.cgroup.needs_process_first();
    if !limits_later {
        apply_limits(record, spec)?;
    }
    let listener = listen(dir.path()).context("make start socket")?;
    let waiting = dir.hold_waiting_lock()?;
    let (ours, theirs) = channel::pair()?;

    let cgroup = record.cgroup.into_fd()?;
    let gate = match limits_later {
        true => None,
        false => Some(record.cgroup.gate(cgroup.is_some())?),
    };
    let joined = namespaces.need_helper();
    let state = record.oci_state(Status::Creating, None);
    let our_end = ours.as_fd().as_raw_fd();
    let own = own_mount_namespace(&mut namespaces)?;
    let rootfs = match &own {
        Some(own) => plan.prepare_in(own)?,
        None => plan.prepare()?,
    };
    let spawned = spawn(&namespaces, cgroup.as_ref().map(AsFd::as_fd), || {
        // Init must see the end of the conversation when the command dies.
        let _ = nix::unistd::close(our_end);
        Init {
            spec: typed,
            namespaces: &namespaces,
            joined,
            rootfs,
            setup: &setup,
            state,
            console,
            listener,
            channel: theirs,
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
            waiting,
            ours,
            namespaces,
            mapping,
            setup,
        },
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
    waiting: Lock,
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
        apply_limits(record, validated)?;
    }
    if let Some(mapping) = &parts.mapping {
        write_mappings(mapping, pid).context("linux.uidMappings: write mappings")?;
    }
    apply_intel_rdt(record, spec, pid)?;
    let go = Go {
        pid: pid.as_raw(),
        addresses: move_network_devices(spec, pid)?,
    };
    built.channel.send(&go)?;
    run_host_hooks(record, spec, &built)?;
    match built.channel.await_report()? {
        Report::Ready => {}
        other => anyhow::bail!("container process sent an unexpected message: {other:?}"),
    }
    parts.setup.from_host(pid)?;
    drop(parts.waiting);
    drop(parts.namespaces);
    Ok(built)
}

fn setup(
    record: &Record,
    spec: &Validated,
    namespaces: &Namespaces,
    options: &CreateOptions,
) -> anyhow::Result<Setup> {
    let typed = spec.spec();
    let process = typed
        .process()
        .as_ref()
        .context("process: missing, expected an object")?;
    let linux = typed.linux().as_ref();
    let program = match linux.and_then(|l| l.seccomp().as_ref()) {
        Some(filter) => Some(Program::load_or_compile(
            filter,
            options.filter_cache.as_deref(),
        )?),
        None => None,
    };
    let settings = process_options(record, namespaces, options.preserve_fds, program, linux)?;
    let settings = process::Options {
        init: true,
        no_new_keyring: options.no_new_keyring,
        ..settings
    };
    let raw = spec.raw().get("process").unwrap_or(&Value::Null);
    Ok(Setup::new(process, raw, linux, settings)?)
}

/// What init and processes of `exec` have in common.
fn process_options(
    record: &Record,
    namespaces: &Namespaces,
    preserve_fds: u32,
    program: Option<Program>,
    linux: Option<&Linux>,
) -> anyhow::Result<process::Options> {
    let userns = namespaces.is_separate(LinuxNamespaceType::User);
    common_options(record, userns, preserve_fds, program, linux)
}

/// The options that don't depend on whether the process is the first one.
pub fn common_options(
    record: &Record,
    userns: bool,
    preserve_fds: u32,
    program: Option<Program>,
    linux: Option<&Linux>,
) -> anyhow::Result<process::Options> {
    let filter = linux.and_then(|l| l.seccomp().as_ref());
    let listener = match (&program, filter.and_then(|f| f.listener_path().as_ref())) {
        (Some(program), Some(path)) if program.notifies() => Some(Listener::connect(path)?),
        _ => None,
    };
    Ok(process::Options {
        userns,
        preserve_fds,
        listen_fds: process::listen_fds(std::process::id(), |name| std::env::var(name).ok()),
        id: record.id.clone(),
        lsm: process::Lsm::detect(),
        seccomp: program,
        listener,
        ..process::Options::default()
    })
}

fn apply_limits(record: &Record, spec: &Validated) -> anyhow::Result<()> {
    let typed = spec
        .spec()
        .linux()
        .as_ref()
        .and_then(|l| l.resources().as_ref());
    let Some(resources) = typed else {
        return Ok(());
    };
    let raw = spec
        .raw()
        .pointer("/linux/resources")
        .unwrap_or(&Value::Null);
    for warning in record.cgroup.apply(resources, raw)? {
        tracing::warn!("{}: {}", warning.json, warning.reason);
    }
    Ok(())
}

/// Binds relative to the directory: the whole path may be longer than a socket address can be.
fn listen(dir: &Path) -> std::io::Result<UnixListener> {
    let held = std::fs::File::open(dir)?;
    let path = format!("/proc/self/fd/{}/{START_SOCKET}", held.as_raw_fd());
    UnixListener::bind(path)
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

fn apply_intel_rdt(record: &Record, spec: &Spec, pid: Pid) -> anyhow::Result<()> {
    let linux = spec.linux().as_ref();
    let Some(rdt) = linux.and_then(|l| l.intel_rdt().as_ref()) else {
        return Ok(());
    };
    libcontainer::process::intel_rdt::setup_intel_rdt(Some(&record.id), &pid, rdt)
        .context("linux.intelRdt")?;
    Ok(())
}

/// Moves the devices named in `linux.netDevices` into the container's network namespace; they lose
/// their addresses on the way, so these are told to init.
fn move_network_devices(spec: &Spec, pid: Pid) -> anyhow::Result<Vec<(String, Vec<CidrAddress>)>> {
    let linux = spec.linux().as_ref();
    let empty = HashMap::new();
    let devices = linux
        .and_then(|l| l.net_devices().as_ref())
        .unwrap_or(&empty);
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let target = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    devices
        .iter()
        .map(|(name, device)| {
            dev_change_net_namespace(name, target.as_raw_fd(), device)
                .map(|addresses| (name.clone(), addresses))
                .with_context(|| format!("linux.netDevices.{name}: move into the container"))
        })
        .collect()
}

fn run_host_hooks(record: &Record, spec: &Spec, built: &Built) -> anyhow::Result<()> {
    let Some(all) = spec.hooks().as_ref().filter(|all| has_host_hooks(all)) else {
        return Ok(());
    };
    match built.channel.await_report()? {
        Report::Sandbox => {}
        other => anyhow::bail!("container process sent an unexpected message: {other:?}"),
    }
    let state = record.oci_state(Status::Creating, Some(built.init.pid));
    // The older hook comes from a time when hooks ran in `start`, and its users look for the state
    // of then.
    let created = record.oci_state(Status::Created, Some(built.init.pid));
    #[allow(deprecated)]
    hooks::run_all("prestart", all.prestart().as_ref(), &created, None)?;
    hooks::run_all("createRuntime", all.create_runtime().as_ref(), &state, None)?;
    built.channel.send(&Go::default())?;
    Ok(())
}

fn facts(record: &Record, namespaces: &Namespaces) -> Facts {
    Facts {
        userns: namespaces.is_separate(LinuxNamespaceType::User),
        mount_ns: namespaces.is_separate(LinuxNamespaceType::Mount),
        cgroup_ns: namespaces.is_separate(LinuxNamespaceType::Cgroup),
        unified: record.cgroup.setup() == crate::cgroup::Setup::Unified,
        selinux: process::Lsm::detect().selinux,
        own_cgroup: record.cgroup.path().map(Into::into),
    }
}
