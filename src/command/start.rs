//! `start`: lets a created container's process run.

use anyhow::Context as _;

use super::{Container, Context, contract};
use crate::hooks;
use crate::state::Status;

pub fn run(context: &Context, id: &str) -> anyhow::Result<()> {
    story(context, id).with_context(|| format!("start container `{id}`"))
}

fn story(context: &Context, id: &str) -> anyhow::Result<()> {
    let container = context.find(id)?;
    let _lock = container.dir.lock().map_err(contract)?;
    start(&container)
}

/// Starts a container whose lock is held.
pub fn start(container: &Container) -> anyhow::Result<()> {
    match container.status() {
        Status::Created => {}
        Status::Stopped => anyhow::bail!("cannot start a container that has stopped"),
        status => anyhow::bail!("cannot start a container in the {status} state"),
    }
    container.backend.start(&container.dir, &container.record)?;
    poststart(container)
}

/// Failing poststart hooks end the container: what they were to set up isn't there.
fn poststart(container: &Container) -> anyhow::Result<()> {
    let config = container.dir.load_config()?;
    let all = crate::spec::hooks_of(&config)?;
    let Some(list) = all.as_ref().and_then(|all| all.poststart().as_ref()) else {
        return Ok(());
    };
    let record = &container.record;
    let state = record.oci_state(Status::Running, record.init.map(|init| init.pid));
    if let Err(error) = hooks::run_all("poststart", Some(list), &state, None) {
        let _ = container.backend.kill(record, nix::libc::SIGKILL, true);
        return Err(error.into());
    }
    Ok(())
}
