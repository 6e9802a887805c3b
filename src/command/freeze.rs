//! `pause` and `resume`.

use anyhow::Context as _;

use super::{Container, Context, contract};
use crate::error::Kind;
use crate::state::Status;

pub fn pause(context: &Context, id: &str) -> anyhow::Result<()> {
    locked(context, id, |container| match container.status() {
        Status::Running | Status::Created => container.backend.pause(&container.record),
        Status::Stopped => Err(Kind::NotRunning.into()),
        status => Err(anyhow::anyhow!("container is {status}")),
    })
    .with_context(|| format!("pause container `{id}`"))
}

pub fn resume(context: &Context, id: &str) -> anyhow::Result<()> {
    locked(context, id, |container| match container.status() {
        Status::Paused => container.backend.resume(&container.record),
        Status::Stopped => Err(Kind::NotRunning.into()),
        _ => Err(anyhow::anyhow!("container not paused")),
    })
    .with_context(|| format!("resume container `{id}`"))
}

fn locked(
    context: &Context,
    id: &str,
    change: impl FnOnce(&Container) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let container = context.find(id)?;
    let _lock = container.dir.lock().map_err(contract)?;
    change(&container)
}
