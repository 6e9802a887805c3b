//! `update`: other limits for a container that runs.

use std::path::Path;

use anyhow::Context as _;
use oci_spec::runtime::LinuxIntelRdt;
use serde_json::{Map, Value, json};

use super::{Container, Context, contract};
use crate::bundle;
use crate::cli::{self, update::Input};
use crate::error::Kind;
use crate::host;
use crate::spec::Validated;
use crate::state::Status;

pub fn run(context: &Context, args: cli::Update) -> anyhow::Result<()> {
    let id = args.container_id.clone();
    story(context, args).with_context(|| format!("update container `{id}`"))
}

fn story(context: &Context, args: cli::Update) -> anyhow::Result<()> {
    let raw = match &args.resources {
        Some(Input::Stdin) => {
            bundle::read_json(Path::new("standard input"), std::io::stdin().lock())?
        }
        Some(Input::File(path)) => bundle::load_json(path)?,
        None => from_flags(&args)?,
    };
    let rdt = rdt_from_flags(&args)?;
    let mut container = context.find(&args.container_id)?;
    let _lock = container.dir.lock().map_err(contract)?;
    if container.status() == Status::Stopped {
        return Err(Kind::NotRunning.into());
    }
    let (resources, warnings) = Validated::resources_from(raw.clone(), &host::facts())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    container
        .backend
        .update(&container.record, &resources, &raw)?;
    if let Some(rdt) = rdt {
        let Container {
            dir,
            record,
            backend,
        } = &mut container;
        backend
            .update_rdt(dir, record, &rdt)
            .context("--l3-cache-schema, --mem-bw-schema")?;
    }
    Ok(())
}

/// The flags that are no limits of a cgroup.
fn rdt_from_flags(args: &cli::Update) -> anyhow::Result<Option<LinuxIntelRdt>> {
    let mut rdt = LinuxIntelRdt::default();
    rdt.set_l3_cache_schema(args.l3_cache_schema.clone().filter(|s| !s.is_empty()));
    rdt.set_mem_bw_schema(args.mem_bw_schema.clone().filter(|s| !s.is_empty()));
    if rdt == LinuxIntelRdt::default() {
        return Ok(None);
    }
    match rdt.mem_bw_schema() {
        Some(schema) if !schema.starts_with("MB:") || schema.contains('\n') => {
            anyhow::bail!("--mem-bw-schema: `{schema}`, expected one line that starts with `MB:`")
        }
        _ => Ok(Some(rdt)),
    }
}

/// The flags as the JSON that they stand for.
fn from_flags(args: &cli::Update) -> anyhow::Result<Value> {
    for (flag, given) in [
        ("--kernel-memory", args.kernel_memory),
        ("--kernel-memory-tcp", args.kernel_memory_tcp),
    ] {
        if given.is_some() {
            tracing::warn!("{flag} is ignored: kernels no longer limit it");
        }
    }
    let mut resources = Map::new();
    let mut section = |name: &str, entries: Vec<(&str, Option<Value>)>| {
        let set: Map<String, Value> = entries
            .into_iter()
            .filter_map(|(k, v)| Some((k.to_owned(), v?)))
            .collect();
        if !set.is_empty() {
            resources.insert(name.to_owned(), Value::Object(set));
        }
    };
    section(
        "memory",
        vec![
            ("limit", args.memory.map(Into::into)),
            ("reservation", args.memory_reservation.map(Into::into)),
            ("swap", args.memory_swap.map(Into::into)),
        ],
    );
    section(
        "cpu",
        vec![
            ("shares", args.cpu_share.map(Into::into)),
            ("quota", args.cpu_quota.map(Into::into)),
            ("burst", args.cpu_burst.map(Into::into)),
            ("period", args.cpu_period.map(Into::into)),
            ("realtimeRuntime", args.cpu_rt_runtime.map(Into::into)),
            ("realtimePeriod", args.cpu_rt_period.map(Into::into)),
            ("cpus", args.cpuset_cpus.clone().map(Into::into)),
            ("mems", args.cpuset_mems.clone().map(Into::into)),
            ("idle", args.cpu_idle.map(Into::into)),
        ],
    );
    section("pids", vec![("limit", args.pids_limit.map(Into::into))]);
    section(
        "blockIO",
        vec![("weight", args.blkio_weight.map(Into::into))],
    );
    let other = args.l3_cache_schema.is_some() || args.mem_bw_schema.is_some();
    if resources.is_empty() && !other {
        tracing::warn!("nothing to update: no limit is given");
    }
    Ok(json!(resources))
}
