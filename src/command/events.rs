//! `events`: statistics, one JSON object a line.

use anyhow::Context as _;
use serde_json::json;

use super::{Container, Context, print_text};
use crate::cli;
use crate::error::Kind;
use crate::state::Status;

pub fn run(context: &Context, args: cli::Events) -> anyhow::Result<()> {
    let container = context.find(&args.container_id)?;
    if container.status() == Status::Stopped {
        let error = anyhow::Error::from(Kind::NotRunning);
        return Err(error.context(format!("events of container `{}`", args.container_id)));
    }
    loop {
        print_stats(&container)?;
        if args.stats {
            return Ok(());
        }
        std::thread::sleep(args.interval);
        if container.status() == Status::Stopped {
            return Ok(());
        }
    }
}

fn print_stats(container: &Container) -> anyhow::Result<()> {
    let id = &container.record.id;
    let data = container
        .backend
        .stats(&container.record)
        .with_context(|| format!("statistics of container `{id}`"))?;
    print_text(&json!({"type": "stats", "id": id, "data": data}).to_string())
}
