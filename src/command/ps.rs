//! `ps`: the processes of a container.

use anyhow::Context as _;

use super::{Context, print_text};
use crate::cli::{self, list::Format};

pub fn run(context: &Context, args: cli::Ps) -> anyhow::Result<()> {
    let id = args.container_id.clone();
    story(context, args).with_context(|| format!("processes of container `{id}`"))
}

fn story(context: &Context, args: cli::Ps) -> anyhow::Result<()> {
    let container = context.find(&args.container_id)?;
    let pids = container.backend.pids(&container.record)?;
    match args.format {
        Format::Json => print_text(&serde_json::json!(pids).to_string()),
        Format::Table => print_text(&crate::processes::table(&pids, &args.ps_options)?),
    }
}
