//! Finds a container's first process from the hook that knocked: LXC runs hooks as its children, in
//! between a shell perhaps. Reads `/proc` and nothing else.

use std::path::PathBuf;

use anyhow::Context;

use crate::state::{ProcStat, ProcessId};

/// The first process, and LXC's monitor above it.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The first process.
    pub init: ProcessId,
    /// Its parent.
    pub monitor: ProcessId,
}

/// Further than this no hook is from its container's first process.
const STEPS: usize = 5;

/// Goes up from the hook to the first process that executes the same file as its parent: both are
/// LXC, the one forked from the other.
pub fn of_hook(hook: i32) -> anyhow::Result<Found> {
    let mut pid = parent(hook)?;
    for _ in 0..STEPS {
        let above = parent(pid)?;
        if program(pid)? == program(above)? {
            let id = |pid| ProcessId::of(pid).context("container process ended unexpectedly");
            return Ok(Found {
                init: id(pid)?,
                monitor: id(above)?,
            });
        }
        pid = above;
    }
    anyhow::bail!("the mount hook was not run by LXC")
}

/// The pid that the first process has in its own pid namespace (proc_pid_status(5), NSpid).
pub fn pid_inside(pid: i32) -> anyhow::Result<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .context("container process ended unexpectedly")?;
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = line.and_then(|line| line.split_whitespace().last());
    last.and_then(|last| last.parse().ok())
        .context("read the pid in the container")
}

fn parent(pid: i32) -> anyhow::Result<i32> {
    let stat = ProcStat::of(pid).context("container process ended unexpectedly")?;
    match stat.parent {
        0 => anyhow::bail!("the mount hook was not run by LXC"),
        parent => Ok(parent),
    }
}

fn program(pid: i32) -> anyhow::Result<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe"))
        .with_context(|| format!("read the program of process {pid}"))
}
