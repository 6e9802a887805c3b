//! Containers in LXC, with everything that callers expect of an OCI runtime. LXC makes the
//! namespaces and the cgroup and supervises the first process; pxrun builds the container from
//! LXC's mount hook, and a keeper stands for it towards the caller. Must not know argument types or
//! write to standard error.

mod build;
mod create;
mod destroy;
mod hook;
mod init;
pub mod keeper;
pub mod launch;
pub mod lines;
pub mod own;
pub mod place;
mod stub;
mod task;
pub mod translate;
pub mod wire;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use serde_json::Value;

use self::launch::{Launcher, LxcStart};
use self::own::Own;
use super::linux::{self, exec};
use super::{Backend, CreateOptions, Creation, ExecRequest, Running};
use crate::error::Kind;
use crate::spec::Validated;
use crate::state::{ContainerDir, Record};

/// The name in records.
pub const NAME: &str = "lxc";

/// First argument of the program when LXC runs it as the mount hook.
const HOOK: &str = "@lxc-hook";

/// First argument of the program when LXC runs it as the container's first process.
const STUB: &str = "@lxc-init";

/// Runs the program as a part of a container, if that is what it was executed for; its exit code.
pub fn program(args: &[OsString]) -> Option<i32> {
    match args.get(1)?.to_str()? {
        HOOK => Some(hook::run(Path::new(args.get(2)?))),
        STUB => Some(stub::run()),
        keeper::WORD => Some(keeper::run()),
        _ => None,
    }
}

/// LXC containers, however they are started: plain ones by [`Lxc`], guests of Proxmox by another
/// launcher.
pub struct Engine<'a> {
    /// Who starts and removes them.
    pub launcher: &'a dyn Launcher,
}

impl Engine<'_> {
    /// See [`Backend::create`].
    pub fn create(
        &self,
        dir: &ContainerDir,
        record: &mut Record,
        spec: &Validated,
        options: CreateOptions,
    ) -> anyhow::Result<Box<dyn Creation>> {
        let built = create::create(self.launcher, dir, record, spec, options)?;
        Ok(Box::new(built))
    }

    /// See [`Backend::destroy`].
    pub fn destroy(&self, record: &Record) -> anyhow::Result<()> {
        destroy::destroy(self.launcher, record)
    }
}

/// See [`Backend::exec`].
pub fn exec(record: &Record, config: &Validated, job: ExecRequest) -> anyhow::Result<Running> {
    let own = Own::of(record);
    let init = own.live_init().ok_or(Kind::NotRunning)?;
    exec::exec(record, init, config, job)
}

/// See [`Backend::kill`]. The keeper would pass on to init what it is sent, and init would get it
/// twice.
pub fn kill(record: &Record, signal: i32, all: bool) -> anyhow::Result<()> {
    if all {
        let keeper = record.init.map(|keeper| keeper.pid);
        return Ok(record.cgroup.kill_all_but(keeper, signal)?);
    }
    linux::kill(record, Own::of(record).live_init(), signal, all)
}

/// See [`Backend::pids`]. The keeper is no process of the container.
pub fn pids(record: &Record) -> anyhow::Result<Vec<i32>> {
    let keeper = record.init.map(|keeper| keeper.pid);
    let mut pids = record.cgroup.pids(true)?;
    pids.retain(|pid| Some(*pid) != keeper);
    Ok(pids)
}

/// See [`Backend::stats`]. The keeper is no process of the container.
pub fn stats(record: &Record) -> anyhow::Result<Value> {
    let mut stats = serde_json::to_value(record.cgroup.stats()?)?;
    if record.live_init().is_some()
        && let Some(count) = stats.pointer_mut("/pids/current")
    {
        *count = count.as_u64().unwrap_or(0).saturating_sub(1).into();
    }
    Ok(stats)
}

/// See [`Backend::root_path`].
pub fn root_path(record: &Record) -> anyhow::Result<PathBuf> {
    let own = Own::of(record);
    let init = own.live_init().ok_or(Kind::NotRunning)?;
    Ok(PathBuf::from(format!("/proc/{}/root", init.pid)))
}

/// LXC on a host of any kind.
pub struct Lxc;

/// The engine with LXC's own program.
const ENGINE: Engine<'static> = Engine {
    launcher: &LxcStart,
};

impl Backend for Lxc {
    fn create(
        &self,
        dir: &ContainerDir,
        record: &mut Record,
        spec: &Validated,
        options: CreateOptions,
    ) -> anyhow::Result<Box<dyn Creation>> {
        ENGINE.create(dir, record, spec, options)
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
        exec(record, config, job)
    }

    fn root_path(&self, record: &Record) -> anyhow::Result<PathBuf> {
        root_path(record)
    }

    fn kill(&self, record: &Record, signal: i32, all: bool) -> anyhow::Result<()> {
        kill(record, signal, all)
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
        let init = Own::of(record).live_init().copied();
        linux::update_rdt(dir, record, init, rdt)
    }

    fn pids(&self, record: &Record) -> anyhow::Result<Vec<i32>> {
        pids(record)
    }

    fn stats(&self, record: &Record) -> anyhow::Result<Value> {
        stats(record)
    }

    fn destroy(&self, record: &Record) -> anyhow::Result<()> {
        ENGINE.destroy(record)
    }
}
