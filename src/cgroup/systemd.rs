//! Cgroups that systemd makes, as transient scopes, over libcgroups' D-Bus client.
//! It must not write limits into files: `apply` does, after the unit knows them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use libcgroups::common::{CgroupManager, ControllerOpt};
use libcgroups::systemd::manager::{
    Manager, PROCESS_IN_CGROUP_TIMEOUT_DURATION, SystemdManagerError,
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::{CgroupError, Hierarchy, Host, Result, file};

/// A transient unit. Tested against recorded D-Bus messages only, never on a running systemd.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scope {
    slice: String,
    prefix: String,
    name: String,
    /// The container, for the unit's description.
    id: String,
    /// From the root of the hierarchies.
    path: PathBuf,
    /// The user's own systemd, on the session bus.
    user: bool,
}

impl Scope {
    /// Reads `slice:prefix:name`; without a path the unit is `<prefix>-<id>.scope` in the default slice.
    pub(super) fn plan(
        host: &Host,
        given: Option<&Path>,
        id: &str,
        prefix: &str,
        rootless: bool,
    ) -> Result<Self> {
        let text = given.map(|path| path.display().to_string());
        let parts: Vec<&str> = text
            .as_deref()
            .map_or(vec!["", prefix, id], |text| text.split(':').collect());
        let [slice, prefix, name] = parts[..] else {
            return Err(CgroupError::SystemdPath(text.unwrap_or_default()));
        };
        let default = if rootless {
            "user.slice"
        } else {
            "system.slice"
        };
        let slice = if slice.is_empty() { default } else { slice };
        let bad = || CgroupError::Path {
            path: text.clone().unwrap_or_else(|| id.to_owned()),
            reason: "isn't a systemd slice, prefix and name",
        };
        let below = expand(slice).ok_or_else(bad)?;
        if name.is_empty() || name.contains('/') || prefix.contains('/') {
            return Err(bad());
        }
        let mut scope = Self {
            slice: slice.to_owned(),
            prefix: prefix.to_owned(),
            name: name.to_owned(),
            id: id.to_owned(),
            path: PathBuf::new(),
            user: rootless,
        };
        scope.path = manager_root(host, rootless)?.join(below).join(scope.unit());
        Ok(scope)
    }

    /// The unit: a scope, unless the name says that it is a slice.
    pub fn unit(&self) -> String {
        match self.name.ends_with(".slice") {
            true => self.name.clone(),
            false => format!("{}-{}.scope", self.prefix, self.name),
        }
    }

    /// The unit's cgroup, from the root of the hierarchies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts the unit with `pid` in it, or attaches the process if it runs; returns when it is there.
    pub(super) fn start(&self, hierarchies: &[Hierarchy], pid: i32) -> Result<()> {
        self.manager(hierarchies)?
            .add_task(Pid::from_raw(pid))
            .map_err(step("start the transient unit"))
    }

    /// Tells systemd the limits, so that a reload keeps them. False if some have no property: those
    /// are in the cgroup's files alone.
    pub(super) fn set_properties(
        &self,
        hierarchies: &[Hierarchy],
        resources: &LinuxResources,
    ) -> Result<bool> {
        let dir = watched(hierarchies).join(self.path.strip_prefix("/").unwrap_or(&self.path));
        let bandwidth = file::read_optional(&dir, "cpu.max")?;
        let (resources, complete) = translatable(resources, bandwidth.as_deref());
        let options = ControllerOpt {
            resources: &resources,
            disable_oom_killer: false,
            oom_score_adj: None,
            freezer_state: None,
        };
        match self.manager(hierarchies)?.apply(&options) {
            Ok(()) => Ok(complete),
            Err(error @ SystemdManagerError::SystemdClient(_)) => {
                Err(step("set the limits of the unit")(error))
            }
            Err(error) => {
                tracing::debug!("{error}");
                Ok(false)
            }
        }
    }

    /// Stops the unit; one that is gone is fine.
    pub(super) fn stop(&self, hierarchies: &[Hierarchy]) -> Result<()> {
        self.manager(hierarchies)?
            .remove()
            .map_err(step("stop the transient unit"))
    }

    fn manager(&self, hierarchies: &[Hierarchy]) -> Result<Manager> {
        let before = descriptors();
        let manager = Manager::new(
            watched(hierarchies).to_owned(),
            PathBuf::from(format!("{}:{}:{}", self.slice, self.prefix, self.name)),
            self.id.clone(),
            !self.user,
            PROCESS_IN_CGROUP_TIMEOUT_DURATION,
        );
        // libcgroups 0.7 neither closes its sockets nor marks them: hooks would inherit the bus.
        for fd in descriptors().difference(&before) {
            fcntl(*fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|error| {
                CgroupError::Systemd {
                    step: "mark the connection",
                    source: Box::new(error),
                }
            })?;
        }
        manager.map_err(step("connect"))
    }
}

/// The numbers of all open descriptors, without that of the listing itself.
fn descriptors() -> BTreeSet<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let number =
        |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let mut numbers: BTreeSet<RawFd> = entries.filter_map(number).collect();
    numbers.retain(|fd| fcntl(*fd, FcntlArg::F_GETFD).is_ok());
    numbers
}

/// What libcgroups turns into the right properties, and whether that is all.
///
/// It would take zeros for limits, lift the quota when only shares are set, take `cpu.weight` for
/// shares, and send cpusets in a type that systemd refuses; the cgroup's files get all of them.
fn translatable(given: &LinuxResources, bandwidth: Option<&str>) -> (LinuxResources, bool) {
    let mut out = LinuxResources::default();
    let mut complete = given.unified().as_ref().is_none_or(HashMap::is_empty)
        && given.hugepage_limits().as_ref().is_none_or(Vec::is_empty)
        && given.rdma().as_ref().is_none_or(HashMap::is_empty);
    out.set_pids(given.pids().filter(|pids| pids.limit() != 0));
    out.set_block_io(given.block_io().clone());
    if let Some(mut memory) = *given.memory() {
        memory.set_limit(memory.limit().filter(|bytes| *bytes != 0));
        memory.set_swap(memory.swap().filter(|bytes| *bytes != 0));
        memory.set_reservation(memory.reservation().filter(|bytes| *bytes != 0));
        out.set_memory(Some(memory));
    }
    if let Some(mut cpu) = given.cpu().clone() {
        let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        complete &=
            !set(cpu.cpus()) && !set(cpu.mems()) && cpu.idle().is_none() && cpu.burst().is_none();
        cpu.set_cpus(None)
            .set_mems(None)
            .set_realtime_period(None)
            .set_realtime_runtime(None);
        // `cpu.max`: QUOTA, which may be `max`, and PERIOD.
        let (quota, period) = bandwidth
            .and_then(|text| text.split_once(' '))
            .unwrap_or(("max", ""));
        let now = (quota.parse().unwrap_or(-1), period.trim().parse().ok());
        cpu.set_quota(cpu.quota().filter(|quota| *quota != 0).or(Some(now.0)));
        cpu.set_period(cpu.period().filter(|period| *period != 0).or(now.1));
        out.set_cpu(Some(cpu));
    }
    (out, complete)
}

/// The hierarchy in which systemd makes its units: version 2, else the one it has by name.
fn watched(hierarchies: &[Hierarchy]) -> &Path {
    let named = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|c| c == "name=systemd");
    let found = hierarchies
        .iter()
        .find(|hierarchy| hierarchy.unified)
        .or_else(|| hierarchies.iter().find(named));
    found.map_or(Path::new(super::CGROUP_ROOT), |hierarchy| &hierarchy.mount)
}

/// Where the manager's own tree starts: a user's is the delegated `user@UID.service` that he is in.
fn manager_root(host: &Host, rootless: bool) -> Result<PathBuf> {
    let Some(mount) = host
        .mounts
        .iter()
        .find(|mount| mount.unified)
        .filter(|_| rootless)
    else {
        return Ok(PathBuf::from("/"));
    };
    let own = host.own_path(mount)?;
    let service = own.ancestors().find(|path| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("user@") && name.ends_with(".service"))
    });
    Ok(Path::new("/").join(service.unwrap_or(Path::new(""))))
}

/// `a-b.slice` lies in `a.slice/a-b.slice`, and `-.slice` is the root (systemd.slice(5)).
fn expand(slice: &str) -> Option<PathBuf> {
    let stem = slice
        .strip_suffix(".slice")
        .filter(|stem| !stem.is_empty() && !stem.contains('/'))?;
    let mut path = PathBuf::new();
    if stem == "-" {
        return Some(path);
    }
    let mut prefix = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return None;
        }
        path.push(format!("{prefix}{part}.slice"));
        prefix += &format!("{part}-");
    }
    Some(path)
}

fn step(step: &'static str) -> impl FnOnce(SystemdManagerError) -> CgroupError {
    move |error| CgroupError::Systemd {
        step,
        source: Box::new(error),
    }
}
