//! Containers as LXC guests of a Proxmox node, beside its virtual machines. The LXC engine builds
//! them; here they get a guest's configuration and number and are started by Proxmox itself. It
//! must not know argument types or write to standard error.

pub mod clone;
pub mod cluster;
pub mod conf;
mod create;
pub mod guest;
pub mod host;
mod kept;
mod launch;
pub mod options;
pub mod passthrough;
pub mod pct;
mod pool;
mod root;
pub mod settings;
pub mod translate;
pub mod vmid;
mod volume;

use std::path::PathBuf;

use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use self::guest::Whereabouts;
use self::kept::Kept;
use self::launch::Node;
use super::lxc::{self, Engine};
use super::{Backend, CreateOptions, Creation, ExecRequest, Running, linux};
use crate::cgroup::Cgroup;
use crate::error::Kind;
use crate::spec::Validated;
use crate::state::{ContainerDir, Record};

pub use settings::Settings;

/// The name in records.
pub const NAME: &str = "proxmox";

/// Guests of this node.
pub struct Proxmox;

/// Whether this host is a node: its cluster file system is there, and `pct`.
pub fn is_node(settings: &Settings) -> bool {
    cluster::Cluster::open(settings).is_ok()
        && pct::Tool::find("pct", settings.tool_dir.as_deref()).is_ok()
}

impl Backend for Proxmox {
    fn create(
        &self,
        dir: &ContainerDir,
        record: &mut Record,
        spec: &Validated,
        options: CreateOptions,
    ) -> anyhow::Result<Box<dyn Creation>> {
        create::create(dir, record, spec, options)
    }

    fn start(&self, dir: &ContainerDir, _record: &Record) -> anyhow::Result<()> {
        linux::start(dir)
    }

    fn exec(
        &self,
        record: &Record,
        config: &Validated,
        job: ExecRequest,
    ) -> anyhow::Result<Running> {
        lxc::exec(record, config, job)
    }

    fn root_path(&self, record: &Record) -> anyhow::Result<PathBuf> {
        lxc::root_path(record)
    }

    fn kill(&self, record: &Record, signal: i32, all: bool) -> anyhow::Result<()> {
        if !owns_cgroup(record)? {
            return Err(Kind::NotRunning.into());
        }
        lxc::kill(record, signal, all)
    }

    fn update(
        &self,
        record: &Record,
        resources: &LinuxResources,
        raw: &Value,
    ) -> anyhow::Result<()> {
        linux::update(record, resources, raw)?;
        // The limit is in force; that Proxmox shows the old one is no failure of the update.
        if let Err(error) = create::show_limits(record, resources) {
            tracing::warn!("show the new limits in Proxmox: {error:#}");
        }
        Ok(())
    }

    fn pids(&self, record: &Record) -> anyhow::Result<Vec<i32>> {
        lxc::pids(record)
    }

    fn stats(&self, record: &Record) -> anyhow::Result<Value> {
        lxc::stats(record)
    }

    fn destroy(&self, record: &Record) -> anyhow::Result<()> {
        let mut record = record.clone();
        if !owns_cgroup(&record)? {
            record.cgroup = Cgroup::disabled();
        }
        let node = Node::default();
        Engine { launcher: &node }.destroy(&record)
    }
}

/// Runs pct on a container's guest, with the caller's own streams: some of its commands need a
/// terminal. The exit code is pct's.
///
/// # Errors
/// The container is no guest, or the command would break its contract.
pub fn run_pct(record: &Record, words: &[String]) -> anyhow::Result<i32> {
    use std::os::unix::process::ExitStatusExt;
    let guest = match Kept::of(record) {
        Some(Kept::Guest { guest }) if record.backend == NAME => guest,
        _ => anyhow::bail!("it is no guest of Proxmox's"),
    };
    let line = passthrough::command_line(words, guest.vmid)?;
    if guest.whereabouts()? == Whereabouts::Foreign {
        return Err(guest::GuestError::Foreign(guest.vmid).into());
    }
    let tool = pct::Tool::find("pct", guest.settings.tool_dir.as_deref())?;
    let status = tool.interactive(&line).status()?;
    let signal = status.signal().map(|signal| 128 + signal);
    Ok(status.code().or(signal).unwrap_or(1))
}

/// Whether the cgroup is still this container's: its path is made of a number that may have come
/// to another guest since.
fn owns_cgroup(record: &Record) -> anyhow::Result<bool> {
    if lxc::own::Own::of(record).live_init().is_some() {
        return Ok(true);
    }
    match Kept::of(record) {
        Some(Kept::Guest { guest }) => Ok(match guest.whereabouts()? {
            Whereabouts::Here(_) | Whereabouts::Gone => true,
            Whereabouts::Foreign | Whereabouts::Moved(_) => false,
        }),
        // Without a number there is no cgroup made of it.
        _ => Ok(true),
    }
}
