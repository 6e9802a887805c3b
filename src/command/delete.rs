//! `delete`: nothing of the container is left.

use anyhow::Context as _;
use serde_json::Value;

use super::{Container, Context, contract, create, route};
use crate::error::Kind;
use crate::spec::Validated;
use crate::state::{ContainerDir, Record, StateError, Status};
use crate::{backend, hooks, host};

pub fn run(context: &Context, id: &str, force: bool) -> anyhow::Result<()> {
    delete(context, id, force)
        .or_else(|error| match error.downcast_ref::<Kind>() {
            Some(Kind::NotExist) if force => Ok(()),
            _ => Err(error),
        })
        .with_context(|| format!("delete container `{id}`"))
}

fn delete(context: &Context, id: &str, force: bool) -> anyhow::Result<()> {
    let dir = context.root.find(id).map_err(contract)?;
    let _lock = dir.lock().map_err(contract)?;
    let record = match dir.load() {
        Err(error) if force => return delete_unread(context, dir, error),
        other => other.map_err(contract)?,
    };
    let backend = backend::by_name(&record.backend)?;
    let container = Container {
        dir,
        record,
        backend,
    };
    match container.status() {
        Status::Stopped => {}
        Status::Creating if force => end_creator(&container.dir, &container.record),
        _ if force => {}
        status => anyhow::bail!(
            "cannot delete a container that is not stopped: it is {status}; kill it or use --force"
        ),
    }
    remove(&container)
}

/// A forced delete with a record that can't be acted on as it stands.
fn delete_unread(context: &Context, dir: ContainerDir, error: StateError) -> anyhow::Result<()> {
    let record = match error {
        // A create that was killed before it wrote a record has made nothing but the directory.
        StateError::NoRecord(_) => return dir.remove().map_err(contract),
        StateError::Version { .. } => dir.load_any_version().map_err(|_| contract(error))?,
        // What `create` would write for the configuration that it kept: that knows the cgroup, and
        // through it all processes.
        StateError::Damaged { .. } => match kept_spec(&dir) {
            Ok(spec) => remade(context, &dir, &spec)?,
            Err(reason) => {
                let id = dir.id();
                tracing::warn!("container `{id}`: only its record is removed: {error}; {reason:#}");
                return dir.remove().map_err(contract);
            }
        },
        other => return Err(contract(other)),
    };
    remove(&Container {
        backend: backend::by_name(&record.backend)?,
        dir,
        record,
    })
}

fn kept_spec(dir: &ContainerDir) -> anyhow::Result<Value> {
    let config = dir.load_config()?;
    // Only what could have been created is acted on.
    Validated::new(config.clone(), &host::facts())?;
    Ok(config)
}

/// The route may have been another one: the same file decides, if it is still the same.
fn remade(context: &Context, dir: &ContainerDir, spec: &Value) -> anyhow::Result<Record> {
    let route = route::decide(context, dir.id(), dir.path(), spec)?;
    create::record(context, dir.id(), dir.path(), spec, route)
}

/// Takes a container down; its lock is held.
pub fn remove(container: &Container) -> anyhow::Result<()> {
    container.backend.destroy(&container.record)?;
    poststop(container);
    container.dir.remove().map_err(contract)
}

/// A `create` at work would go on making things while we remove them.
pub fn end_creator(dir: &ContainerDir, record: &Record) {
    use std::os::fd::AsFd;
    if let Ok(pidfd) = crate::sys::clone::pidfd_open(record.creator.pid)
        && record.live_creator().is_some()
        && !dir.is_ready(record)
    {
        let _ = crate::sys::clone::pidfd_send_signal(pidfd.as_fd(), nix::libc::SIGKILL);
    }
}

/// Failing poststop hooks are told and change nothing (runtime.md, "Lifecycle").
fn poststop(container: &Container) {
    let Ok(config) = container.dir.load_config() else {
        return;
    };
    match crate::spec::hooks_of(&config) {
        Ok(Some(all)) => {
            let state = container.record.oci_state(Status::Stopped, None);
            hooks::run_all_warning("poststop", all.poststop().as_ref(), &state);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("poststop hooks: {error}"),
    }
}
