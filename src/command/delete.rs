//! `delete`: nothing of the container is left.

use anyhow::Context as _;

use super::{Container, Context, contract};
use crate::backend;
use crate::error::Kind;
use crate::hooks;
use crate::state::{StateError, Status};

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
        // A create that was killed before it wrote a record has made nothing but the directory.
        Err(StateError::Io { source, .. })
            if force && source.kind() == std::io::ErrorKind::NotFound =>
        {
            return dir.remove().map_err(contract);
        }
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
        Status::Creating if force => end_creator(&container),
        _ if force => {}
        status => anyhow::bail!(
            "cannot delete a container that is not stopped: it is {status}; kill it or use --force"
        ),
    }
    remove(&container)
}

/// Takes a container down; its lock is held.
pub fn remove(container: &Container) -> anyhow::Result<()> {
    container.backend.destroy(&container.record)?;
    poststop(container);
    container.dir.remove().map_err(contract)
}

/// A `create` at work would go on making things while we remove them.
fn end_creator(container: &Container) {
    use std::os::fd::AsFd;
    let creator = container.record.creator;
    if let Ok(pidfd) = crate::sys::clone::pidfd_open(creator.pid)
        && creator.is_alive()
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
