//! `kill`: signals a container.

use anyhow::Context as _;

use super::Context;
use crate::cli;
use crate::error::Kind;
use crate::state::Status;

pub fn run(context: &Context, args: cli::Kill) -> anyhow::Result<()> {
    story(context, &args).with_context(|| format!("kill container `{}`", args.container_id))
}

fn story(context: &Context, args: &cli::Kill) -> anyhow::Result<()> {
    let container = context.find(&args.container_id)?;
    // Processes of a shared pid namespace outlive init: with --all they are reached even then,
    // which is what containerd sends after init's end.
    if container.status() == Status::Stopped && !args.all {
        return Err(Kind::NotRunning.into());
    }
    container
        .backend
        .kill(&container.record, args.signal.0, args.all)
}
