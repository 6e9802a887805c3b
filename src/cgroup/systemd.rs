//! Cgroups that systemd makes, as transient scopes, over libcgroups' D-Bus client.
//! It must not write limits into files: `apply` does, after the unit knows them.

use std::path::{Path, PathBuf};

use libcgroups::common::{CgroupManager, ControllerOpt};
use libcgroups::systemd::manager::{
    Manager, PROCESS_IN_CGROUP_TIMEOUT_DURATION, SystemdManagerError,
};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::{CgroupError, Hierarchy, Host, Result};

/// A transient unit.
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
        let mut resources = resources.clone();
        // libcgroups takes `cpu.weight` for shares and knows few keys: the files have them all.
        let unified = resources
            .unified()
            .as_ref()
            .is_some_and(|map| !map.is_empty());
        resources.set_unified(None);
        let options = ControllerOpt {
            resources: &resources,
            disable_oom_killer: false,
            oom_score_adj: None,
            freezer_state: None,
        };
        match self.manager(hierarchies)?.apply(&options) {
            Ok(()) => Ok(!unified),
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
        Manager::new(
            watched(hierarchies).to_owned(),
            PathBuf::from(format!("{}:{}:{}", self.slice, self.prefix, self.name)),
            self.id.clone(),
            !self.user,
            PROCESS_IN_CGROUP_TIMEOUT_DURATION,
        )
        .map_err(step("connect"))
    }
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
