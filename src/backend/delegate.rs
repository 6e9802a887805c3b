//! Containers that another OCI runtime runs: crun, runc, youki or any other that speaks the same
//! command line. Must not know argument types, the configuration file or standard error.
//!
//! A command for such a container is that runtime's own: pxrun becomes it, with the caller's
//! descriptors and arguments (`command::delegated`). What is here besides serves the commands that
//! look at containers of all backends, and the taking down of what a runtime left behind.

mod abilities;
mod ability;
mod call;
pub mod document;
mod program;
mod settings;
mod takedown;
#[cfg(test)]
mod tests;
mod traces;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

pub use abilities::Abilities;
pub use ability::ability;
pub use call::{Call, Given, Without};
pub use program::{Runtime, SEARCH, locate};
pub use settings::Settings;
pub use takedown::{has_notes, take_down};
pub use traces::{bundle_copy, can_checkpoint, cgroup_of, read_pid};

use super::{Backend, CreateOptions, Creation, ExecRequest, Running};
use crate::error::Kind;
use crate::limited::{self, Ended};
use crate::spec::Validated;
use crate::state::{ContainerDir, Record, Status};

/// Why a command can't be given to another runtime.
#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    /// There is no such program.
    #[error("backend `{name}`: no program `{}` is installed", program.display())]
    Missing {
        /// The backend.
        name: String,
        /// What was looked for.
        program: PathBuf,
    },
    /// The program of a container has gone.
    #[error(
        "backend `{name}`: its program `{}` has gone: install it again, or remove the container with `delete --force`",
        program.display()
    )]
    Gone {
        /// The backend.
        name: String,
        /// Where it was.
        program: PathBuf,
    },
    /// The program can't be executed.
    #[error("backend `{name}`: execute `{}`", program.display())]
    Execute {
        /// The backend.
        name: String,
        /// The program.
        program: PathBuf,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// The record says nothing of how to call it.
    #[error("backend `{name}` is unknown to this version")]
    Unknown {
        /// The backend.
        name: String,
    },
    /// It hangs.
    #[error("backend `{name}`: `{what}` took longer than {} s", limit.as_secs())]
    Late {
        /// The backend.
        name: String,
        /// Its command.
        what: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The runtime can't do it.
    #[error("backend `{name}` doesn't know {what}")]
    Refused {
        /// The backend.
        name: String,
        /// Which command or option.
        what: String,
    },
}

impl DelegateError {
    /// A failed execve.
    pub fn from_exec(runtime: &Runtime, cause: std::io::Error) -> DelegateError {
        let (name, program) = (runtime.name.clone(), runtime.program.clone());
        match cause.kind() {
            std::io::ErrorKind::NotFound => DelegateError::Gone { name, program },
            _ => DelegateError::Execute {
                name,
                program,
                cause,
            },
        }
    }
}

/// Whatever runtime the record names.
pub struct Delegate;

/// How long a runtime may take to answer a question. It looks at a file or two for it.
const QUESTION: Duration = Duration::from_secs(10);

/// How long it may take to change a container.
const CHANGE: Duration = Duration::from_secs(60);

/// Bytes of an answer that are kept: a list of many processes is the longest.
const KEPT: usize = 1 << 20;

/// Runs a command of the runtime to its end, for pxrun's own eyes. One that hangs is ended.
///
/// # Errors
/// It can't be started, or takes too long; how it ended is in the answer.
pub fn ask(runtime: &Runtime, call: &Call) -> Result<Ended, DelegateError> {
    let limit = match call.verb {
        "state" | "ps" => QUESTION,
        _ => CHANGE,
    };
    let mut command = Command::new(&runtime.program);
    command.args(call.argv(runtime, None)?).envs(&runtime.env);
    within(runtime, call.verb, &mut command, limit)
}

/// Runs it for as long as it may take.
fn within(
    runtime: &Runtime,
    what: &str,
    command: &mut Command,
    limit: Duration,
) -> Result<Ended, DelegateError> {
    let ended = limited::run(command, limit, KEPT)
        .map_err(|cause| DelegateError::from_exec(runtime, cause))?;
    match ended.code {
        Some(_) => Ok(ended),
        None => Err(DelegateError::Late {
            name: runtime.name.clone(),
            what: what.to_owned(),
            limit,
        }),
    }
}

/// Its `state` of a container; `None` when it has none of that name.
///
/// # Errors
/// It can't be asked.
pub fn state(record: &Record) -> Result<Option<Value>, DelegateError> {
    let output = ask(
        &Runtime::of(record)?,
        &Call::new("state", [record.id.clone().into()]),
    )?;
    let parsed = serde_json::from_slice(&output.out).ok();
    Ok(parsed.filter(|_| output.code == Some(0)))
}

/// As [`ask`], an answer of failure being an error with the runtime's own words.
fn demand(record: &Record, call: &Call) -> anyhow::Result<Ended> {
    let runtime = Runtime::of(record)?;
    let output = ask(&runtime, call)?;
    if output.code == Some(0) {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.err).trim().to_owned();
    anyhow::bail!("{} {}: {words}", runtime.name, call.verb)
}

fn on(verb: &'static str, record: &Record) -> Call {
    Call::new(verb, [record.id.clone().into()])
}

/// These commands never get here: the runtime gets them whole.
fn handed_over<T>(verb: &str) -> anyhow::Result<T> {
    anyhow::bail!("`{verb}` belongs to the runtime that has the container")
}

impl Backend for Delegate {
    fn create(
        &self,
        _dir: &ContainerDir,
        _record: &mut Record,
        _spec: &Validated,
        _options: CreateOptions,
    ) -> anyhow::Result<Box<dyn Creation>> {
        handed_over("create")
    }

    fn start(&self, _dir: &ContainerDir, record: &Record) -> anyhow::Result<()> {
        demand(record, &on("start", record)).map(drop)
    }

    fn exec(&self, _: &Record, _: &Validated, _: ExecRequest) -> anyhow::Result<Running> {
        handed_over("exec")
    }

    fn root_path(&self, record: &Record) -> anyhow::Result<PathBuf> {
        let init = record.live_init().ok_or(Kind::NotRunning)?;
        Ok(PathBuf::from(format!("/proc/{}/root", init.pid)))
    }

    fn kill(&self, record: &Record, signal: i32, all: bool) -> anyhow::Result<()> {
        let mut call = on("kill", record).flag("all", all, Without::Never);
        call.operands.push(signal.to_string().into());
        demand(record, &call).map(drop)
    }

    fn pause(&self, record: &Record) -> anyhow::Result<()> {
        demand(record, &on("pause", record)).map(drop)
    }

    fn resume(&self, record: &Record) -> anyhow::Result<()> {
        demand(record, &on("resume", record)).map(drop)
    }

    fn is_paused(&self, record: &Record) -> bool {
        self.status(record) == Some(Status::Paused)
    }

    fn update(
        &self,
        _record: &Record,
        _resources: &oci_spec::runtime::LinuxResources,
        _raw: &Value,
    ) -> anyhow::Result<()> {
        handed_over("update")
    }

    fn pids(&self, record: &Record) -> anyhow::Result<Vec<i32>> {
        let call = on("ps", record).option("format", Some("json"), Without::Never);
        let output = demand(record, &call)?;
        serde_json::from_slice(&output.out).context("read the list of processes")
    }

    fn stats(&self, record: &Record) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(record.cgroup.stats()?)?)
    }

    fn destroy(&self, record: &Record) -> anyhow::Result<()> {
        take_down(record)
    }

    fn status(&self, record: &Record) -> Option<Status> {
        let state = state(record).ok().flatten()?;
        Some(match state["status"].as_str()? {
            "creating" => Status::Creating,
            "created" => Status::Created,
            "running" => Status::Running,
            "paused" => Status::Paused,
            _ => Status::Stopped,
        })
    }
}
