//! `create`: everything but the user's process.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::{Context, contract, delegated, send_pidfd, write_pid_file};
use crate::backend::{self, CreateOptions, Creation};
use crate::bundle::Bundle;
use crate::cgroup::{Cgroup, CgroupError};
use crate::cli::globals::CgroupManager;
use crate::route::{Facts, Route};
use crate::spec::Validated;
use crate::state::{ContainerDir, ProcessId, RECORD_VERSION, Record, StateError, boot_id};
use crate::{cli, foreground, host, logging};

/// What `create`, `run` and later `restore` ask for.
pub struct Wish {
    /// The name.
    pub id: String,
    /// Where the pid goes.
    pub pid_file: Option<PathBuf>,
    /// The command itself stands between the process's terminal and its caller's.
    pub own_terminal: bool,
    /// Passed on to the backend.
    pub options: CreateOptions,
}

impl Wish {
    /// From the arguments that `create` and `run` share.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub fn new(context: &Context, args: cli::Create) -> anyhow::Result<Wish> {
        let oci = args.oci;
        Ok(Wish {
            id: oci.container_id,
            pid_file: oci.pid_file,
            own_terminal: false,
            options: CreateOptions {
                console_socket: oci.console_socket,
                pidfd_socket: args.pidfd_socket,
                preserve_fds: u32::try_from(oci.preserve_fds).unwrap_or(0),
                no_pivot: oci.no_pivot,
                no_new_keyring: oci.no_new_keyring,
                filter_cache: Some(backend::filter_cache(&context.root)),
                settings: context.config()?.backend.clone(),
            },
        })
    }
}

/// A container that is created and not yet handed over to the caller.
pub struct Created {
    /// Its directory.
    pub dir: ContainerDir,
    /// Its record.
    pub record: Record,
    /// The backend's part.
    pub creation: Box<dyn Creation>,
}

pub fn run(context: &Context, args: cli::Create) -> anyhow::Result<i32> {
    let id = args.oci.container_id.clone();
    story(context, args).with_context(|| format!("create container `{id}`"))
}

fn story(context: &Context, args: cli::Create) -> anyhow::Result<i32> {
    let (bundle, route) = context.decide(&args.oci.container_id, &args.oci.bundle)?;
    if backend::is_delegate(&route.backend) {
        return delegated::create(context, &args, &bundle, route);
    }
    let created = create(context, Wish::new(context, args)?, &bundle, route)?;
    created.creation.commit()?;
    Ok(0)
}

/// Creates a container. Whatever fails takes everything back that was made.
pub fn create(
    context: &Context,
    wish: Wish,
    bundle: &Bundle,
    route: Route,
) -> anyhow::Result<Created> {
    let mut raw = bundle.raw.clone();
    super::route::annotate(&mut raw, &route.annotate);
    let spec = Validated::new(raw, &host::facts())?;
    for warning in spec.warnings() {
        tracing::warn!("{warning}");
    }
    check_terminal(&spec, &wish)?;
    // An unknown name is refused before anything is made.
    backend::by_name(&route.backend)?;
    let record = record(context, &wish.id, &bundle.path, spec.raw(), route)?;
    let dir = context.root.claim(&wish.id).map_err(contract)?;
    match build(&dir, record, spec, wish) {
        Ok(created) => Ok(created),
        Err(error) => {
            if is_taken(&error) {
                disclaim(&dir);
            }
            roll_back(&dir);
            Err(error)
        }
    }
}

/// Whether somebody came first after the look at the place.
fn is_taken(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(CgroupError::is_taken)
}

/// Takes the cgroup out of the record: what is in it is not ours to kill.
fn disclaim(dir: &ContainerDir) {
    let saved = dir.load().and_then(|mut record| {
        record.cgroup = Cgroup::disabled();
        dir.save(&record)
    });
    if let Err(error) = saved
        && !matches!(error, StateError::NoRecord(_))
    {
        tracing::warn!("take back what was made: {error}");
    }
}

fn build(
    dir: &ContainerDir,
    mut record: Record,
    spec: Validated,
    wish: Wish,
) -> anyhow::Result<Created> {
    // Before anything is on record that a failure would remove.
    record.cgroup.check_free()?;
    dir.save(&record)?;
    dir.save_config(&serde_json::to_vec(spec.raw())?)?;
    let backend = backend::by_name(&record.backend)?;
    let pidfd_socket = wish.options.pidfd_socket.clone();
    let creation = backend.create(dir, &mut record, &spec, wish.options)?;
    if let Some(socket) = &pidfd_socket {
        send_pidfd(socket, creation.pidfd())?;
    }
    if let Some(path) = &wish.pid_file {
        write_pid_file(path, creation.init().pid)?;
    }
    dir.let_go()?;
    Ok(Created {
        dir: dir.clone(),
        record,
        creation,
    })
}

/// The record on disk knows more than the one we set out with: which process was made.
fn roll_back(dir: &ContainerDir) {
    let destroyed = match dir.load() {
        // Not even the first record was written: only the directory is there.
        Err(StateError::NoRecord(_)) => Ok(()),
        loaded => loaded
            .map_err(anyhow::Error::from)
            .and_then(|record| backend::by_name(&record.backend)?.destroy(&record)),
    };
    match destroyed {
        Ok(()) => {
            if let Err(error) = dir.remove() {
                tracing::warn!("take back what was made: {error}");
            }
        }
        // The record stays: `delete --force` tries again with it.
        Err(error) => tracing::warn!("take back what was made: {error:#}"),
    }
}

/// What is known of a container before anything is made, from the document alone.
pub fn record(
    context: &Context,
    id: &str,
    bundle: &Path,
    spec: &Value,
    route: Route,
) -> anyhow::Result<Record> {
    let facts = Facts::new(id, bundle, spec, 0).map_err(anyhow::Error::msg)?;
    let has = |kind: &str| {
        let list = spec["linux"]["namespaces"].as_array();
        let is_new = |n: &Value| n["type"] == kind && n["path"].as_str().is_none_or(str::is_empty);
        list.into_iter().flatten().any(is_new)
    };
    let annotations = facts.annotations.into_iter().collect();
    let mut cgroup = cgroup(context, id, spec["linux"]["cgroupsPath"].as_str())?;
    cgroup.annotate(&annotations)?;
    Ok(Record {
        version: RECORD_VERSION,
        id: id.to_owned(),
        rootfs: facts.root,
        bundle: bundle.to_owned(),
        backend: route.backend,
        reason: route.reason,
        own: Value::Null,
        created: now(),
        boot: boot_id().map(str::to_owned),
        uid: nix::unistd::geteuid().as_raw(),
        annotations,
        creator: ProcessId::current().context("read own process state")?,
        init: None,
        ready: false,
        own_pid_namespace: has("pid"),
        own_mount_namespace: has("mount"),
        cgroup,
        rdt: None,
    })
}

/// The container's cgroup, from the path that the caller wants.
pub fn cgroup(context: &Context, id: &str, path: Option<&str>) -> anyhow::Result<Cgroup> {
    let manager = context.globals.cgroup_manager();
    if manager == CgroupManager::Disabled {
        return Ok(Cgroup::disabled());
    }
    Ok(Cgroup::plan(
        path.map(Path::new),
        id,
        context.root.path(),
        manager == CgroupManager::Systemd,
        !nix::unistd::geteuid().is_root(),
    )?)
}

/// RFC 3339 with nanoseconds: the form of `created` in runc's state.
fn now() -> String {
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = logging::timestamp(now);
    format!(
        "{}.{:09}Z",
        seconds.trim_end_matches('Z'),
        since.subsec_nanos()
    )
}

/// A terminal needs somebody who holds its other end; a socket without a terminal is a mistake.
fn check_terminal(spec: &Validated, wish: &Wish) -> anyhow::Result<()> {
    let process = spec.spec().process().as_ref();
    let terminal = process.and_then(|p| p.terminal()).unwrap_or(false);
    if wish.own_terminal {
        foreground::caller_terminal()?;
    }
    match (terminal, &wish.options.console_socket) {
        (true, None) => anyhow::bail!("process.terminal: `true`, but no --console-socket is given"),
        (false, Some(_)) => {
            anyhow::bail!("process.terminal: `false`, but a --console-socket is given")
        }
        _ => Ok(()),
    }
}
