//! The smaller parts of `linux.resources`: pids, hugepageLimits, network, rdma and unified.
//! It must not touch the controllers that have a file of their own.

use serde_json::Value;

use super::super::{CgroupError, Result, file};
use super::{Applier, PIDS, limit, unavailable};

const PIDS_LIMIT: &str = "linux.resources.pids.limit";
const HUGEPAGES: &str = "linux.resources.hugepageLimits";
const CLASS_ID: &str = "linux.resources.network.classID";
const PRIORITIES: &str = "linux.resources.network.priorities";
const RDMA: &str = "linux.resources.rdma";
const UNIFIED: &str = "linux.resources.unified";

impl Applier<'_> {
    /// 0 leaves it as it is, a negative number lifts it (runc).
    pub(super) fn pids(&mut self) -> Result<()> {
        let Some(pids) = *self.resources.pids() else {
            return Ok(());
        };
        let value = match pids.limit() {
            0 => return Ok(()),
            count if count < 0 => "max".to_owned(),
            count => count.to_string(),
        };
        if self.cgroup.main().is_some() && !self.kernel_has_pids()? {
            self.warn(PIDS);
            return Ok(());
        }
        self.set(PIDS_LIMIT, "pids", "pids.max", &value)
    }

    /// Whether the controller is anywhere to be had, as opposed to not given to this container.
    fn kernel_has_pids(&self) -> Result<bool> {
        let Some(dir) = self.cgroup.dir_of("pids") else {
            return Ok(false);
        };
        if !self.v2() || dir.join("pids.max").exists() {
            return Ok(true);
        }
        let top = self
            .cgroup
            .unified()
            .map(|hierarchy| hierarchy.mount.as_path());
        let all = file::read_optional(top.unwrap_or(dir), "cgroup.controllers")?;
        Ok(all
            .unwrap_or_default()
            .split_whitespace()
            .any(|name| name == "pids"))
    }

    pub(super) fn hugepages(&mut self) -> Result<()> {
        let suffix = if self.v2() { "max" } else { "limit_in_bytes" };
        for page in self.resources.hugepage_limits().iter().flatten() {
            let size = page.page_size();
            if !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(limit(HUGEPAGES, format!("`{size}` isn't a page size")));
            }
            let value = page.limit().to_string();
            self.set(
                HUGEPAGES,
                "hugetlb",
                &format!("hugetlb.{size}.{suffix}"),
                &value,
            )?;
            // Reservations have a limit of their own since Linux 5.7; with it a program is refused
            // at mmap(2) instead of killed at its first touch.
            let reserved = format!("hugetlb.{size}.rsvd.{suffix}");
            self.set_if_there(HUGEPAGES, "hugetlb", &reserved, &value)?;
        }
        Ok(())
    }

    pub(super) fn network(&mut self) -> Result<()> {
        let Some(network) = self.resources.network().clone() else {
            return Ok(());
        };
        let class = network.class_id().filter(|class| *class != 0);
        let priorities = network.priorities().clone().unwrap_or_default();
        let asked = [
            (CLASS_ID, class.is_some()),
            (PRIORITIES, !priorities.is_empty()),
        ];
        if let Some((json, _)) = asked.iter().find(|(_, asked)| *asked && self.v2()) {
            return Err(limit(json, "cgroup version 2 has no network controllers"));
        }
        if let Some(class) = class {
            self.set(CLASS_ID, "net_cls", "net_cls.classid", &class.to_string())?;
        }
        for priority in priorities {
            let line = format!("{} {}", priority.name(), priority.priority());
            self.set(PRIORITIES, "net_prio", "net_prio.ifpriomap", &line)?;
        }
        Ok(())
    }

    pub(super) fn rdma(&mut self) -> Result<()> {
        for (device, limits) in self.resources.rdma().iter().flatten() {
            let mut line = device.clone();
            for (name, count) in [
                ("hca_handle", limits.hca_handles()),
                ("hca_object", limits.hca_objects()),
            ] {
                if let Some(count) = count {
                    line += &format!(" {name}={count}");
                }
            }
            // A device without a limit asks for nothing.
            if line != *device {
                self.set(&format!("{RDMA}.{device}"), "rdma", "rdma.max", &line)?;
            }
        }
        Ok(())
    }

    /// In the order of the JSON text, which may matter to the kernel and is lost in a hash map.
    pub(super) fn unified(&mut self) -> Result<()> {
        let entries = self.unified_entries()?;
        if !entries.is_empty() && !self.v2() {
            return Err(limit(UNIFIED, "cannot use unified on cgroup v1"));
        }
        for (key, value) in entries {
            self.unified_one(&format!("{UNIFIED}.{key}"), &key, &value)?;
        }
        Ok(())
    }

    fn unified_entries(&self) -> Result<Vec<(String, String)>> {
        let Some(Value::Object(entries)) = self.raw.get("unified") else {
            let typed = self.resources.unified().clone().unwrap_or_default();
            let mut entries: Vec<_> = typed.into_iter().collect();
            entries.sort();
            return Ok(entries);
        };
        let text = |(key, value): (&String, &Value)| match value {
            Value::String(value) => Ok((key.clone(), value.clone())),
            _ => Err(limit(&format!("{UNIFIED}.{key}"), "isn't a string")),
        };
        entries.iter().map(text).collect()
    }

    fn unified_one(&self, json: &str, key: &str, value: &str) -> Result<()> {
        if key.contains('/') {
            return Err(limit(json, "must be a file name (no slashes)"));
        }
        let Some((controller, _)) = key.split_once('.').filter(|(name, _)| !name.is_empty()) else {
            return Err(limit(json, "must be in the form CONTROLLER.PARAMETER"));
        };
        // Moving or killing processes isn't a limit, and would do more than the key says.
        if ["cgroup.procs", "cgroup.threads", "cgroup.kill"].contains(&key) {
            return Err(limit(json, "isn't a limit"));
        }
        match self.set(json, controller, key, value) {
            Err(CgroupError::Limit { .. })
                if controller != "cgroup" && !self.enabled(controller)? =>
            {
                Err(unavailable(json, controller))
            }
            result => result,
        }
    }

    fn enabled(&self, controller: &str) -> Result<bool> {
        let Some(dir) = self.cgroup.dir_of(controller) else {
            return Ok(false);
        };
        let list = file::read_optional(dir, "cgroup.controllers")?.unwrap_or_default();
        Ok(list.split_whitespace().any(|name| name == controller))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, refuse, run};
    use super::*;
    use crate::cgroup::testing::{FakeHost, Real, in_v2_view};

    #[test]
    fn version_2() {
        let files = [
            "pids.max",
            "hugetlb.2MB.max",
            "hugetlb.2MB.rsvd.max",
            "rdma.max",
            "memory.high",
        ];
        check(
            &FakeHost::unified(),
            &files,
            &[
                (r#"{"pids":{"limit":100}}"#, &["pids.max=100"]),
                (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]),
                (
                    r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4096}]}"#,
                    &["hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"],
                ),
                (
                    r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10}}}"#,
                    &["rdma.max=mlx5_1 hca_handle=3 hca_object=10"],
                ),
                (
                    r#"{"rdma":{"mlx5_1":{"hcaObjects":10}}}"#,
                    &["rdma.max=mlx5_1 hca_object=10"],
                ),
                (r#"{"unified":{"memory.high":"77"}}"#, &["memory.high=77"]),
            ],
        );
        refuse(
            &FakeHost::unified(),
            &files,
            &[
                (
                    r#"{"network":{"classID":5}}"#,
                    "linux.resources.network.classID: ",
                ),
                (
                    r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#,
                    "linux.resources.network.priorities: ",
                ),
                (
                    r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#,
                    "linux.resources.hugepageLimits: ",
                ),
                (
                    r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#,
                    "linux.resources.hugepageLimits: `../x`",
                ),
                (
                    r#"{"unified":{"../x.y":"1"}}"#,
                    "linux.resources.unified.../x.y: must be a file",
                ),
                (
                    r#"{"unified":{"x":"1"}}"#,
                    "linux.resources.unified.x: must be in the form",
                ),
                (
                    r#"{"unified":{"..":"1"}}"#,
                    "linux.resources.unified...: must be in the form",
                ),
                (
                    r#"{"unified":{"cgroup.procs":"1"}}"#,
                    "linux.resources.unified.cgroup.procs: isn't",
                ),
                (
                    r#"{"unified":{"io.max":"1"}}"#,
                    "linux.resources.unified.io.max: the `io` controller",
                ),
            ],
        );
    }

    #[test]
    fn pids_are_let_through_only_where_nobody_can_have_the_controller() {
        let fake = FakeHost::unified();
        let cgroup = fake.cgroup(&[]);
        assert_eq!(run(&cgroup, r#"{"pids":{"limit":9}}"#).unwrap().len(), 1);
        let top = fake.host.mounts[0].point.join("cgroup.controllers");
        std::fs::write(top, "cpu pids\n").unwrap();
        let error = run(&cgroup, r#"{"pids":{"limit":9}}"#)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("linux.resources.pids.limit: "), "{error}");
    }

    #[test]
    fn version_1() {
        let files = [
            "pids.max",
            "net_cls.classid",
            "net_prio.ifpriomap",
            "hugetlb.2MB.limit_in_bytes",
        ];
        check(
            &FakeHost::legacy(&["pids", "net_cls", "net_prio", "hugetlb"]),
            &files,
            &[
                (r#"{"pids":{"limit":100}}"#, &["pids.max=100"]),
                (
                    r#"{"network":{"classID":1048577}}"#,
                    &["net_cls.classid=1048577"],
                ),
                (
                    r#"{"network":{"priorities":[{"name":"eth0","priority":5}]}}"#,
                    &["net_prio.ifpriomap=eth0 5"],
                ),
                (
                    r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
                    &["hugetlb.2MB.limit_in_bytes=0"],
                ),
            ],
        );
        refuse(
            &FakeHost::legacy(&["cpu"]),
            &[],
            &[
                (
                    r#"{"unified":{"memory.high":"1"}}"#,
                    "linux.resources.unified: cannot use unified on",
                ),
                (
                    r#"{"rdma":{"mlx5":{"hcaObjects":1}}}"#,
                    "linux.resources.rdma.mlx5: ",
                ),
                (
                    r#"{"network":{"classID":5}}"#,
                    "linux.resources.network.classID: ",
                ),
            ],
        );
    }

    #[test]
    #[ignore = "run by `the_kernel_takes_it_on_version_2` in a namespace of its own"]
    fn v2_view() {
        let real = Real::created();
        let dir = real.cgroup.path().unwrap();
        run(&real.cgroup, r#"{"unified":{"cgroup.max.depth":"7"}}"#).unwrap();
        assert_eq!(file::read(dir, "cgroup.max.depth").unwrap(), "7");
        run(
            &real.cgroup,
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
        )
        .unwrap();
        assert_eq!(file::read(dir, "hugetlb.2MB.max").unwrap(), "4194304");
        assert_eq!(file::read(dir, "hugetlb.2MB.rsvd.max").unwrap(), "4194304");
        for (json, expected) in [
            (
                r#"{"unified":{"memory.high":"1"}}"#,
                "the `memory` controller is not available",
            ),
            (
                r#"{"memory":{"limit":1}}"#,
                "the `memory` controller is not available",
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"3MB","limit":4}]}"#,
                "this kernel has no `hugetlb.3MB.max`",
            ),
        ] {
            let error = run(&real.cgroup, json).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    #[test]
    fn the_kernel_takes_it_on_version_2() {
        in_v2_view("cgroup::apply::misc::tests::v2_view");
    }

    #[test]
    fn the_kernel_takes_it() {
        let real = Real::created();
        let Some(pids) = real.cgroup.v1("pids") else {
            println!("no version 1 pids controller here");
            return;
        };
        for (limit, expected) in [(17, "17"), (0, "17"), (-5, "max")] {
            run(&real.cgroup, &format!(r#"{{"pids":{{"limit":{limit}}}}}"#)).unwrap();
            assert_eq!(file::read(&pids.dir, "pids.max").unwrap(), expected);
        }
    }
}
