//! `events`: statistics and lacks of memory, one JSON object a line, as long as the container runs.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::{Container, Context, print_line};
use crate::cgroup::{OomWatch, Wake};
use crate::cli;
use crate::error::Kind;
use crate::state::Status;

pub fn run(context: &Context, args: cli::Events) -> anyhow::Result<()> {
    let id = args.container_id.clone();
    story(context, args).with_context(|| format!("events of container `{id}`"))
}

fn story(context: &Context, args: cli::Events) -> anyhow::Result<()> {
    let container = context.find(&args.container_id)?;
    if container.status() == Status::Stopped {
        return Err(Kind::NotRunning.into());
    }
    if args.stats {
        return print_stats(&container).map(|_| ());
    }
    follow(&container, args.interval)
}

/// As runc does it: the first statistics come after the first interval, and the end of the
/// container is the end of the list.
fn follow(container: &Container, interval: Duration) -> anyhow::Result<()> {
    let mut watch = watch(container);
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let heard = match wait(watch.as_mut(), left)? {
            Wake::Gone => return Ok(()),
            // The hierarchies of version 1 stay until `delete`.
            Wake::Timeout if container.status() == Status::Stopped => return Ok(()),
            Wake::Oom => print_line(&json!({"type": "oom", "id": container.record.id}).to_string()),
            Wake::Timeout => {
                next += interval;
                print_stats(container)
            }
        };
        if !heard? {
            return Ok(());
        }
    }
}

/// A container without a memory controller still has statistics.
fn watch(container: &Container) -> Option<OomWatch> {
    match container.backend.watch_oom(&container.record) {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!("lacks of memory go unnoticed: {error:#}");
            None
        }
    }
}

fn wait(watch: Option<&mut OomWatch>, limit: Duration) -> anyhow::Result<Wake> {
    match watch {
        Some(watch) => Ok(watch.wait(limit)?),
        None => {
            std::thread::sleep(limit);
            Ok(Wake::Timeout)
        }
    }
}

fn print_stats(container: &Container) -> anyhow::Result<bool> {
    let id = &container.record.id;
    let data = container.backend.stats(&container.record)?;
    print_line(&json!({"type": "stats", "id": id, "data": data}).to_string())
}
