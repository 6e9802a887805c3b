//! `linux.resources` into the files of the container's cgroups, as runc does it, and strictly:
//! what can't take effect is an error that names its JSON path. It must not create directories.

mod cpu;
pub use cpu::weight;
mod io;
mod memory;
mod misc;

use std::path::Path;

use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use super::systemd::Property;
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

    /// systemd is told as well, or it would set its own idea of the limits at the next reload; but of
    /// nothing that can't hold here.
    fn unit(&mut self) -> Result<()> {
        let Some(scope) = &self.cgroup.systemd else {
            return Ok(());
        };
        if !self.v2() {
            return Ok(());
        }
        let translated = scope.translate(&self.cgroup.hierarchies, self.resources)?;
        let mut properties = translated.properties;
        properties.retain(|property| {
            property.controller != "pids" || self.has(property.controller, property.file)
        });
        let missing = |property: &&Property| !self.has(property.controller, property.file);
        if let Some(property) = properties.iter().find(missing) {
            return Err(unavailable(property.json, property.controller));
        }
        scope.set_properties(properties)?;
        if translated.incomplete {
            self.warn(UNIT);
        }
        Ok(())
    }

    fn devices(&mut self, update: bool) -> Result<()> {
        let rules = devices::rules(self.resources.devices().as_deref().unwrap_or_default())?;
        match devices::apply(self.cgroup, &rules, update) {
            // Also the case of a user namespace: device filters belong to the first one.
            Err(error) if self.cgroup.rootless => {
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
    use crate::cgroup::Host;
    use crate::cgroup::testing::{FakeHost, Real, Runc, in_v2_view};

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
    fn a_user_without_rights_gets_no_filter_but_still_no_nonsense() {
        let fake = FakeHost::legacy(&["cpu"]);
        let mut cgroup = fake.cgroup(&[]);
        let apply = |cgroup: &Cgroup, json| {
            cgroup.apply(&serde_json::from_str(json).unwrap(), &Value::Null)
        };
        let deny = r#"{"devices":[{"allow":false,"access":"rwm"}]}"#;
        assert!(apply(&cgroup, deny).is_err());
        cgroup.rootless = true;
        assert_eq!(apply(&cgroup, deny).unwrap(), [DEVICES]);
        assert!(apply(&cgroup, r#"{"devices":[{"allow":false,"access":"x"}]}"#).is_err());
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

    /// Files whose content is chosen, not counted.
    fn settings(dir: &Path) -> std::collections::BTreeMap<String, String> {
        let counted = [
            "cgroup.procs",
            "tasks",
            "stat",
            "usage",
            "current",
            "events",
            "pressure",
            "failcnt",
            "watermark",
            "slabinfo",
            "effective",
            "local",
            "io_serv",
            "peak",
            "cgroup.threads",
        ];
        let mut out = std::collections::BTreeMap::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if counted.iter().any(|part| name.contains(part)) {
                continue;
            }
            if let Ok(text) = std::fs::read_to_string(dir.join(&name)) {
                let mut lines: Vec<_> = text.lines().collect();
                lines.sort_unstable();
                out.insert(name, lines.join("\n"));
            }
        }
        out
    }

    /// The first block device of this machine.
    fn disk() -> Option<(u64, u64)> {
        let entry = std::fs::read_dir("/sys/block").ok()?.next()?.ok()?;
        let text = std::fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Gives the same resources to a container of runc and to one of ours, and compares all files.
    fn compare(resources: &Value, except: &[&str]) {
        let Some(runc) = Runc::start(resources) else {
            return;
        };
        let mut real = Real::planned();
        let typed = serde_json::from_value(resources.clone()).unwrap();
        real.cgroup.create(Some(&typed)).unwrap();
        real.cgroup.apply(&typed, resources).unwrap();
        real.sleeper();
        let mut compared = 0;
        for (ours, theirs) in real.cgroup.hierarchies.iter().zip(&runc.cgroup.hierarchies) {
            let (ours_all, theirs_all) = (settings(&ours.dir), settings(&theirs.dir));
            for (name, theirs) in theirs_all {
                if except.contains(&name.as_str()) {
                    continue;
                }
                // Later runcs dropped the tun device, and so did we.
                let theirs = theirs.replace("c 10:200 rwm\n", "");
                assert_eq!(ours_all.get(&name), Some(&theirs), "{name}");
                compared += 1;
            }
        }
        assert!(compared > 8, "only {compared} files");
    }

    #[test]
    fn the_same_files_as_runc() {
        let mut resources = serde_json::json!({
            "devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                {"allow": true, "type": "b", "major": 8, "access": "r"},
            ],
            "memory": {"limit": 104857600, "swap": 209715200, "reservation": 52428800, "swappiness": 30},
            "cpu": {"shares": 700, "quota": 30000, "period": 50000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 55},
            "blockIO": {"weight": 300},
        });
        if let Some((major, minor)) = disk() {
            let throttle =
                |rate: u64| serde_json::json!([{"major": major, "minor": minor, "rate": rate}]);
            resources["blockIO"]["throttleReadBpsDevice"] = throttle(1_000_000);
            resources["blockIO"]["throttleWriteIOPSDevice"] = throttle(500);
        }
        if Host::read().unwrap().setup == Setup::Unified {
            println!("only version 1 controllers are compared, and this host has none");
            return;
        }
        compare(&resources, &[]);
        compare(
            &serde_json::json!({"memory": {"limit": -1}, "pids": {"limit": -1}}),
            &[],
        );
    }

    #[test]
    #[ignore = "run by `the_same_files_as_runc_on_version_2` in a namespace of its own"]
    fn v2_view() {
        let resources = serde_json::json!({
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
            "unified": {"cgroup.max.depth": "9"},
        });
        // runc limits reservations only since 1.2.
        compare(&resources, &["hugetlb.2MB.rsvd.max"]);
    }

    #[test]
    fn the_same_files_as_runc_on_version_2() {
        in_v2_view("cgroup::apply::tests::v2_view");
    }
}
