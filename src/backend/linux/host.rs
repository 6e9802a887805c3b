//! The command's side of `create`, whatever made the first process: options, limits, devices and
//! hooks that need the host's rights. Must not touch argument types or write the pid-file.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Context;
use libcontainer::network::cidr::CidrAddress;
use libcontainer::network::network_device::dev_change_net_namespace;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::unistd::Pid;
use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};
use serde_json::Value;

use super::channel::{End, Go, Report};
use super::inside::has_host_hooks;
use super::namespaces::Namespaces;
use crate::backend::CreateOptions;
use crate::process::Setup;
use crate::rdt::{self, Group};
use crate::rootfs::Facts;
use crate::seccomp::Program;
use crate::seccomp::notify::Listener;
use crate::spec::Validated;
use crate::state::{Record, Status};
use crate::{hooks, process};

/// Name of the socket on which init waits for `start`, in the container's directory.
pub const START_SOCKET: &str = "start.sock";

/// The first process, read and checked.
pub fn setup(
    record: &Record,
    spec: &Validated,
    namespaces: &Namespaces,
    options: &CreateOptions,
) -> anyhow::Result<Setup> {
    let settings = init_options(record, spec, namespaces, options)?;
    init_setup(spec, settings)
}

/// The first process's options, with its filter compiled and its agent connected.
pub fn init_options(
    record: &Record,
    spec: &Validated,
    namespaces: &Namespaces,
    options: &CreateOptions,
) -> anyhow::Result<process::Options> {
    let linux = spec.spec().linux().as_ref();
    let program = match linux.and_then(|l| l.seccomp().as_ref()) {
        Some(filter) => Some(Program::load_or_compile(
            filter,
            options.filter_cache.as_deref(),
        )?),
        None => None,
    };
    let userns = namespaces.is_separate(LinuxNamespaceType::User);
    let settings = common_options(record, userns, options.preserve_fds, program, linux)?;
    Ok(process::Options {
        init: true,
        no_new_keyring: options.no_new_keyring,
        ..settings
    })
}

/// The first process with these options.
pub fn init_setup(spec: &Validated, options: process::Options) -> anyhow::Result<Setup> {
    let typed = spec.spec();
    let process = typed
        .process()
        .as_ref()
        .context("process: missing, expected an object")?;
    let raw = spec.raw().get("process").unwrap_or(&Value::Null);
    Ok(Setup::new(process, raw, typed.linux().as_ref(), options)?)
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

/// Sets the limits of `linux.resources` on the cgroup, which must be there.
pub fn apply_limits(record: &Record, spec: &Validated) -> anyhow::Result<()> {
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
/// Packets, so that the two messages which may follow each other stay two.
pub fn listen(dir: &Path) -> std::io::Result<UnixListener> {
    let (socket, address, _held) = start_socket(dir)?;
    socket::bind(socket.as_raw_fd(), &address)?;
    socket::listen(&socket, Backlog::MAXCONN)?;
    Ok(UnixListener::from(socket))
}

/// The other end of [`listen`].
pub fn knock(dir: &Path) -> std::io::Result<OwnedFd> {
    let (socket, address, _held) = start_socket(dir)?;
    socket::connect(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

/// A socket, and its address as long as the directory is held.
fn start_socket(dir: &Path) -> std::io::Result<(OwnedFd, UnixAddr, std::fs::File)> {
    let held = std::fs::File::open(dir)?;
    let path = format!("/proc/self/fd/{}/{START_SOCKET}", held.as_raw_fd());
    let (kind, flags) = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
    let socket = socket::socket(AddressFamily::Unix, kind, flags, None)?;
    Ok((socket, UnixAddr::new(path.as_str())?, held))
}

/// Does what only the host can before the container is built, then lets it be built; returns when
/// hooks of the host's side have run. `pid` is the first process; hooks are told the record's.
pub fn attend(record: &Record, spec: &Spec, channel: &End, pid: Pid) -> anyhow::Result<()> {
    apply_intel_rdt(record, spec, pid)?;
    let go = Go {
        pid: pid.as_raw(),
        addresses: move_network_devices(spec, pid)?,
    };
    channel.send(&go)?;
    run_host_hooks(record, spec, channel)
}

/// Writes down the class of service before it is made: what fails or is killed in between is
/// removed with the container.
pub fn plan_intel_rdt(record: &mut Record, spec: &Spec) -> anyhow::Result<()> {
    let linux = spec.linux().as_ref();
    if let Some(rdt) = linux.and_then(|l| l.intel_rdt().as_ref()) {
        let group = rdt::mount_point().and_then(|mount| Group::plan(&mount, &record.id, rdt));
        record.rdt = Some(group.context("linux.intelRdt")?);
    }
    Ok(())
}

fn apply_intel_rdt(record: &Record, spec: &Spec, pid: Pid) -> anyhow::Result<()> {
    let linux = spec.linux().as_ref();
    let Some(rdt) = linux.and_then(|l| l.intel_rdt().as_ref()) else {
        return Ok(());
    };
    let group = record
        .rdt
        .as_ref()
        .context("linux.intelRdt: no class is planned")?;
    group.set_up(rdt, pid.as_raw()).context("linux.intelRdt")
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

fn run_host_hooks(record: &Record, spec: &Spec, channel: &End) -> anyhow::Result<()> {
    let Some(all) = spec.hooks().as_ref().filter(|all| has_host_hooks(all)) else {
        return Ok(());
    };
    match channel.await_report()? {
        Report::Sandbox => {}
        other => anyhow::bail!("container process sent an unexpected message: {other:?}"),
    }
    let pid = record.init.map(|init| init.pid);
    let state = record.oci_state(Status::Creating, pid);
    // The older hook comes from a time when hooks ran in `start`, and its users look for the state
    // of then.
    let created = record.oci_state(Status::Created, pid);
    #[allow(deprecated)]
    hooks::run_all("prestart", all.prestart().as_ref(), &created, None)?;
    hooks::run_all("createRuntime", all.create_runtime().as_ref(), &state, None)?;
    channel.send(&Go::default())?;
    Ok(())
}

/// What the plan of the root file system has to know.
pub fn facts(record: &Record, namespaces: &Namespaces) -> Facts {
    Facts {
        userns: namespaces.is_separate(LinuxNamespaceType::User),
        mount_ns: namespaces.is_separate(LinuxNamespaceType::Mount),
        cgroup_ns: namespaces.is_separate(LinuxNamespaceType::Cgroup),
        unified: record.cgroup.setup() == crate::cgroup::Setup::Unified,
        selinux: process::Lsm::detect().selinux,
        own_cgroup: record.cgroup.path().map(Into::into),
    }
}
