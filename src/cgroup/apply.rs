//! `linux.resources` into the files of the container's cgroups, as runc does it, and strictly:
//! what can't take effect is an error that names its JSON path. It must not create directories.

mod cpu;
mod io;
mod memory;
mod misc;

use std::path::Path;

use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use super::{Cgroup, CgroupError, Result, Setup, devices, file};

/// Something asked for that doesn't take effect, and is let through: one of [`WARNED`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// The JSON path.
    pub json: &'static str,
    /// Why it is let through.
    pub reason: &'static str,
}

/// All that is asked for and let through without effect. Everything else is an error.
pub const WARNED: [Warning; 6] = [KERNEL, KERNEL_TCP, HIERARCHY, PIDS, DEVICES, UNIT];

const KERNEL: Warning = Warning {
    json: "linux.resources.memory.kernel",
    reason: "kernel memory limits are ignored, as the kernel dropped them (runc warns too)",
};
const KERNEL_TCP: Warning = Warning {
    json: "linux.resources.memory.kernelTCP",
    reason: "kernel memory limits are ignored, as the kernel dropped them (runc warns too)",
};
const HIERARCHY: Warning = Warning {
    json: "linux.resources.memory.useHierarchy",
    reason: "memory is always counted hierarchically; `false` is ignored, as in runc",
};
const PIDS: Warning = Warning {
    json: "linux.resources.pids.limit",
    reason: "this kernel has no pids controller here, and podman sends the limit unasked",
};
const DEVICES: Warning = Warning {
    json: "linux.resources.devices",
    reason: "an unprivileged user can't filter devices, nor make them (runc ignores it too)",
};
const UNIT: Warning = Warning {
    json: "linux.resources",
    reason: "systemd has no property for a limit that was set in the cgroup itself (as in runc)",
};

impl Cgroup {
    /// Sets the limits of a new container, and its device filter: the rules given, and after them
    /// the devices that every container may use. `raw` is the JSON that `resources` comes from.
    ///
    /// Returns what was let through without effect; each has had its log line.
    pub fn apply(&self, resources: &LinuxResources, raw: &Value) -> Result<Vec<Warning>> {
        let mut applier = Applier::new(self, resources, raw);
        applier.unit()?;
        applier.devices(false)?;
        applier.limits()?;
        Ok(applier.warnings)
    }

    /// Changes limits of a container that runs; what isn't named keeps its value, the device filter
    /// too unless `devices` has rules.
    pub fn update(&self, resources: &LinuxResources, raw: &Value) -> Result<Vec<Warning>> {
        let mut applier = Applier::new(self, resources, raw);
        applier.unit()?;
        if resources
            .devices()
            .as_ref()
            .is_some_and(|rules| !rules.is_empty())
        {
            applier.devices(true)?;
        }
        applier.limits()?;
        Ok(applier.warnings)
    }
}

struct Applier<'a> {
    cgroup: &'a Cgroup,
    resources: &'a LinuxResources,
    raw: &'a Value,
    warnings: Vec<Warning>,
}

impl<'a> Applier<'a> {
    fn new(cgroup: &'a Cgroup, resources: &'a LinuxResources, raw: &'a Value) -> Self {
        Self {
            cgroup,
            resources,
            raw,
            warnings: Vec::new(),
        }
    }

    fn limits(&mut self) -> Result<()> {
        self.pids()?;
        self.memory()?;
        self.cpu()?;
        self.cpuset()?;
        self.block_io()?;
        self.hugepages()?;
        self.network()?;
        self.rdma()?;
        self.unified()
    }

    /// systemd is told as well, or it would set its own idea of the limits at the next reload.
    fn unit(&mut self) -> Result<()> {
        let Some(scope) = &self.cgroup.systemd else {
            return Ok(());
        };
        if self.cgroup.setup == Setup::Unified
            && !scope.set_properties(&self.cgroup.hierarchies, self.resources)?
        {
            self.warn(UNIT);
        }
        Ok(())
    }

    fn devices(&mut self, update: bool) -> Result<()> {
        let rules = self.resources.devices().as_deref().unwrap_or_default();
        match devices::apply(self.cgroup, rules, update) {
            // Also the case of a user namespace: device filters belong to the first one.
            Err(error) if self.cgroup.rootless && !matches!(error, CgroupError::Limit { .. }) => {
                tracing::debug!("{error}");
                self.warn(DEVICES);
                Ok(())
            }
            result => result,
        }
    }

    fn warn(&mut self, warning: Warning) {
        tracing::warn!("{}: {}", warning.json, warning.reason);
        self.warnings.push(warning);
    }

    fn v2(&self) -> bool {
        self.cgroup.setup == Setup::Unified
    }

    /// The directory for a limit, or an error that names it.
    fn dir(&self, json: &str, controller: &str) -> Result<&'a Path> {
        self.cgroup
            .dir_of(controller)
            .filter(|dir| dir.exists())
            .ok_or_else(|| unavailable(json, controller))
    }

    /// Writes one limit; a missing file means a missing controller or feature.
    fn set(&self, json: &str, controller: &str, name: &str, value: &str) -> Result<()> {
        let dir = self.dir(json, controller)?;
        file::write(dir, name, value).map_err(|error| explain(json, controller, dir, error))
    }

    /// Whether the limit's file is there.
    fn has(&self, controller: &str, name: &str) -> bool {
        self.cgroup
            .dir_of(controller)
            .is_some_and(|dir| dir.join(name).exists())
    }

    /// As [`Applier::set`], with `None` where the file isn't there.
    fn set_if_there(
        &self,
        json: &str,
        controller: &str,
        name: &str,
        value: &str,
    ) -> Result<Option<()>> {
        match self.has(controller, name) {
            true => self.set(json, controller, name, value).map(Some),
            false => Ok(None),
        }
    }
}

fn unavailable(json: &str, controller: &str) -> CgroupError {
    limit(
        json,
        format!("the `{controller}` controller is not available"),
    )
}

fn limit(json: &str, reason: impl Into<String>) -> CgroupError {
    CgroupError::Limit {
        json: json.to_owned(),
        reason: reason.into(),
    }
}

/// Says what a failed write means.
fn explain(json: &str, controller: &str, dir: &Path, error: CgroupError) -> CgroupError {
    if !file::is_absent(&error) {
        return CgroupError::Refused {
            json: json.to_owned(),
            source: Box::new(error),
        };
    }
    let CgroupError::Write { path, .. } = &error else {
        return error;
    };
    let controllers = file::read_optional(dir, "cgroup.controllers")
        .ok()
        .flatten();
    let enabled = |list: String| list.split_whitespace().any(|name| name == controller);
    match (controllers.map(enabled), path.file_name()) {
        (None | Some(true), Some(name)) => limit(
            json,
            format!("this kernel has no `{}`", name.to_string_lossy()),
        ),
        _ => unavailable(json, controller),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cgroup::testing::FakeHost;

    /// Applies `json` to a cgroup with `files`, and gives the texts of the files named in `read`.
    pub fn golden(fake: &FakeHost, files: &[&str], json: &str) -> Result<Vec<(String, String)>> {
        let cgroup = fake.cgroup(files);
        run(&cgroup, json)?;
        let texts = files.iter().filter_map(|file| {
            let controller = file.split('.').next()?;
            let text = fake.read(&cgroup, controller, file);
            (!text.is_empty()).then(|| (file.to_string(), text))
        });
        Ok(texts.collect())
    }

    pub fn run(cgroup: &Cgroup, json: &str) -> Result<Vec<Warning>> {
        let raw: Value = serde_json::from_str(json).unwrap();
        cgroup.update(&serde_json::from_str(json).unwrap(), &raw)
    }

    /// A table row: what is asked for, and `file=text` for everything that is written.
    pub fn check(fake: &FakeHost, files: &[&str], rows: &[(&str, &[&str])]) {
        for (json, expected) in rows {
            let written: Vec<String> = golden(fake, files, json)
                .unwrap_or_else(|error| panic!("{json}: {error}"))
                .into_iter()
                .map(|(file, text)| format!("{file}={text}"))
                .collect();
            assert_eq!(&written, expected, "{json}");
        }
    }

    /// A table row: what is asked for, and how the error starts.
    pub fn refuse(fake: &FakeHost, files: &[&str], rows: &[(&str, &str)]) {
        for (json, expected) in rows {
            let error = golden(fake, files, json).expect_err(json).to_string();
            assert!(error.starts_with(expected), "{json}: {error}");
        }
    }

    #[test]
    fn nothing_asked_nothing_written() {
        for fake in [
            FakeHost::unified(),
            FakeHost::legacy(&["cpu", "memory", "pids"]),
        ] {
            // Zeros are Go's way of leaving a field out, and callers rely on it.
            for json in [
                "{}",
                r#"{"memory":{},"cpu":{},"blockIO":{},"network":{},"hugepageLimits":[]}"#,
                r#"{"memory":{"limit":0,"swap":0,"reservation":0,"disableOOMKiller":false}}"#,
                r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":"","realtimePeriod":0}}"#,
                r#"{"pids":{"limit":0},"blockIO":{"weight":0},"network":{"classID":0}}"#,
                r#"{"unified":{},"rdma":{}}"#,
            ] {
                assert!(run(&fake.cgroup(&[]), json).unwrap().is_empty(), "{json}");
            }
        }
    }

    #[test]
    fn disabled_cgroups_refuse_limits() {
        let cgroup = Cgroup::disabled();
        cgroup.create(None).unwrap();
        cgroup
            .join(i32::try_from(std::process::id()).unwrap())
            .unwrap();
        assert!(
            cgroup
                .apply(&LinuxResources::default(), &Value::Null)
                .unwrap()
                .is_empty()
        );
        let error = run(&cgroup, r#"{"memory":{"limit":1}}"#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("linux.resources.memory.limit: "),
            "{error}"
        );
        cgroup.remove().unwrap();
    }

    #[test]
    fn warned_paths_are_not_errors() {
        let fake = FakeHost::unified();
        let json =
            r#"{"memory":{"kernel":5,"kernelTCP":5,"useHierarchy":false},"pids":{"limit":9}}"#;
        let warnings = run(&fake.cgroup(&[]), json).unwrap();
        let paths: Vec<_> = warnings.iter().map(|warning| warning.json).collect();
        assert_eq!(
            paths,
            [PIDS.json, KERNEL.json, KERNEL_TCP.json, HIERARCHY.json]
        );
        assert!(warnings.iter().all(|warning| WARNED.contains(warning)));
    }
}
