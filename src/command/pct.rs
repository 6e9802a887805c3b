//! `pct`: Proxmox's own tool on the guest of a container.

use anyhow::Context as _;

use super::Context;
use crate::backend::proxmox;
use crate::cli;

pub fn run(context: &Context, args: cli::Pct) -> anyhow::Result<i32> {
    let found = context.find(&args.container_id);
    let run = found.and_then(|container| proxmox::run_pct(&container.record, &args.command));
    run.with_context(|| format!("container `{}`", args.container_id))
}
