//! Cgroups that systemd makes, as transient scopes.
//! It must not write limits into files: `apply` does, after the unit knows them.

mod bus;
mod properties;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use bus::{Bus, BusError};
pub(super) use properties::Property;
use properties::Translated;
use wire::Value;

use super::{CgroupError, Hierarchy, Host, Result, file};

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
    /// Properties from annotations: only for the one who starts the unit.
    #[serde(skip)]
    extra: BTreeMap<String, Value>,
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
            extra: BTreeMap::new(),
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

    /// Sets the properties that annotations ask for, when the unit is started.
    ///
    /// # Errors
    /// An annotation without a value that systemd could take.
    pub(super) fn annotate<'a>(
        &mut self,
        annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<()> {
        self.extra =
            properties::annotated(annotations).map_err(|(key, reason)| CgroupError::Limit {
                json: format!("annotations.{key}"),
                reason: reason.to_owned(),
            })?;
        Ok(())
    }

    /// Starts the unit with `pid` in it; returns when the process is there.
    ///
    /// # Errors
    /// Also if the unit runs already: it is somebody else's.
    pub(super) fn start(&self, pid: i32) -> Result<()> {
        let unit = self.unit();
        let result = self.start_unit(&unit, pid);
        result.map_err(|source| match source {
            BusError::Method { ref name, .. } if name.ends_with(".UnitExists") => {
                CgroupError::UnitExists(unit)
            }
            source => step("start the transient unit")(source),
        })
    }

    fn start_unit(&self, unit: &str, pid: i32) -> std::result::Result<(), BusError> {
        let mut bus = Bus::connect(self.user)?;
        bus.watch_jobs()?;
        let wanted = self.wanted(unit, pid);
        let arguments = vec![
            Value::text(unit),
            // Not `replace`: a job for this unit would be somebody else's.
            Value::text("fail"),
            Value::Array("(sv)", wanted.into_iter().map(pair).collect()),
            Value::Array("(sa(sv))", Vec::new()),
        ];
        let started = match bus.manager("StartTransientUnit", arguments.clone()) {
            Err(BusError::Method { name, .. }) if name.ends_with(".UnitExists") => {
                // A dead one that failed is kept until somebody has seen it.
                bus.manager("ResetFailedUnit", vec![Value::text(unit)])?;
                bus.manager("StartTransientUnit", arguments)
            }
            result => result,
        }?;
        let job = started.into_iter().next().unwrap_or_default();
        bus.await_job(&job, unit)
    }

    /// What the unit is: as runc has it, and to be forgotten by systemd however it ends.
    fn wanted(&self, unit: &str, pid: i32) -> BTreeMap<String, Value> {
        let mut wanted = self.extra.clone();
        let mut set = |name: &str, value| wanted.insert(name.to_owned(), value);
        set(
            "Description",
            Value::text(format!("OCI container {}", self.id)),
        );
        set("DefaultDependencies", Value::Bool(false));
        for accounted in ["CPU", "IO", "Memory", "Tasks"] {
            set(&format!("{accounted}Accounting"), Value::Bool(true));
        }
        if unit.ends_with(".slice") {
            set("Wants", Value::Array("s", vec![Value::text(&self.slice)]));
        } else {
            set("Slice", Value::text(&self.slice));
            set("Delegate", Value::Bool(true));
            set("CollectMode", Value::text("inactive-or-failed"));
            let pid = Value::U32(pid.unsigned_abs());
            set("PIDs", Value::Array("u", vec![pid]));
        }
        wanted
    }

    /// What systemd is to be told of `resources`, for cgroup version 2.
    pub(super) fn translate(
        &self,
        hierarchies: &[Hierarchy],
        resources: &LinuxResources,
    ) -> Result<Translated> {
        let dir = watched(hierarchies).join(self.path.strip_prefix("/").unwrap_or(&self.path));
        let bandwidth = file::read_optional(&dir, "cpu.max")?;
        let version = Bus::connect(self.user)
            .and_then(|mut bus| bus.version())
            .map_err(step("ask for its version"))?;
        Ok(properties::translate(
            resources,
            bandwidth.as_deref(),
            version,
        ))
    }

    /// Tells systemd the limits, so that a reload keeps them.
    pub(super) fn set_properties(&self, properties: Vec<Property>) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let pairs = properties
            .into_iter()
            .map(|property| pair((property.name.to_owned(), property.value)));
        let arguments = vec![
            Value::text(self.unit()),
            // Only until the next boot.
            Value::Bool(true),
            Value::Array("(sv)", pairs.collect()),
        ];
        Bus::connect(self.user)
            .and_then(|mut bus| bus.manager("SetUnitProperties", arguments))
            .map(drop)
            .map_err(step("set the limits of the unit"))
    }

    /// Stops the unit, and waits until it has; one that is gone is fine.
    pub(super) fn stop(&self) -> Result<()> {
        self.stop_unit().map_err(step("stop the transient unit"))
    }

    fn stop_unit(&self) -> std::result::Result<(), BusError> {
        let unit = self.unit();
        let mut bus = Bus::connect(self.user)?;
        bus.watch_jobs()?;
        let arguments = vec![Value::text(&unit), Value::text("replace")];
        match bus.manager("StopUnit", arguments) {
            Ok(answer) => {
                let job = answer.into_iter().next().unwrap_or_default();
                bus.await_job(&job, &unit)
            }
            Err(BusError::Method { name, .. }) if name.ends_with(".NoSuchUnit") => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A property as D-Bus has it: name and variant.
fn pair((name, value): (String, Value)) -> Value {
    Value::Struct(vec![Value::Text(name), Value::Variant(Box::new(value))])
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

fn step(step: &'static str) -> impl FnOnce(BusError) -> CgroupError {
    move |error| CgroupError::Systemd {
        step,
        source: Box::new(error),
    }
}
