//! Containers on this very kernel, built from libcontainer's parts. Must not know argument types
//! or write to standard error.

mod create;
mod init;

use std::path::PathBuf;

use nix::libc::SIGKILL;
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use serde_json::Value;

use super::linux::{self, exec};
use super::{Backend, CreateOptions, Creation, ExecRequest, Running};
use crate::error::Kind;
use crate::spec::Validated;
use crate::state::{ContainerDir, Record};

/// The name in records.
pub const NAME: &str = "embedded";

/// libcontainer, in this process.
pub struct Embedded;

impl Backend for Embedded {
    fn create(
        &self,
        dir: &ContainerDir,
        record: &mut Record,
        spec: &Validated,
        options: CreateOptions,
    ) -> anyhow::Result<Box<dyn Creation>> {
        Ok(Box::new(create::create(dir, record, spec, options)?))
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
        let init = record.live_init().ok_or(Kind::NotRunning)?;
        exec::exec(record, init, config, job)
    }

    fn root_path(&self, record: &Record) -> anyhow::Result<PathBuf> {
        let init = record.live_init().ok_or(Kind::NotRunning)?;
        Ok(PathBuf::from(format!("/proc/{}/root", init.pid)))
    }

    fn kill(&self, record: &Record, signal: i32, all: bool) -> anyhow::Result<()> {
        linux::kill(record, record.live_init(), signal, all)
    }

    fn update(
        &self,
        record: &Record,
        resources: &LinuxResources,
        raw: &Value,
    ) -> anyhow::Result<()> {
        linux::update(record, resources, raw)
    }

    fn update_rdt(
        &self,
        dir: &ContainerDir,
        record: &mut Record,
        rdt: &LinuxIntelRdt,
    ) -> anyhow::Result<()> {
        let init = record.live_init().copied();
        linux::update_rdt(dir, record, init, rdt)
    }

    fn pids(&self, record: &Record) -> anyhow::Result<Vec<i32>> {
        Ok(record.cgroup.pids(true)?)
    }

    fn stats(&self, record: &Record) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(record.cgroup.stats()?)?)
    }

    fn destroy(&self, record: &Record) -> anyhow::Result<()> {
        if !record.is_of_this_boot() {
            // The boot has taken it all away; a cgroup of that name is another container's.
            return Ok(());
        }
        // The cgroup first: in a frozen one, or in a shared pid namespace, init alone won't do.
        record.cgroup.kill_all(SIGKILL)?;
        if let Some(init) = record.live_init() {
            linux::end(init)?;
        }
        record.cgroup.remove()?;
        if let Some(group) = &record.rdt {
            group.remove()?;
        }
        if !record.own_mount_namespace {
            // The root was attached in the host's own mount namespace.
            let _ = nix::mount::umount2(&record.rootfs, nix::mount::MntFlags::MNT_DETACH);
        }
        Ok(())
    }
}
