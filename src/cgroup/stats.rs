//! Usage of a container's resources, in the form of `runc events --stats`.
//! It must not print, nor turn a controller that is missing into an error: its part is empty.

mod v1;
mod v2;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{Cgroup, Result, Setup, file};

/// One line of `events`: the field names and what is left out are runc's (its `types/events.go`).
#[derive(Clone, Debug, Serialize)]
pub struct Event<'a> {
    /// `stats` or `oom`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The container.
    pub id: &'a str,
    /// Usage, in an event of `stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Stats>,
}

/// Usage of all controllers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Processors and memory nodes.
    pub cpuset: CpuSet,
    /// Memory.
    pub memory: Memory,
    /// Processes.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages, by their size.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Intel RDT.
    pub intel_rdt: IntelRdt,
    /// Always null: the runtime has no interfaces of its own.
    pub network_interfaces: Option<()>,
}

/// Always empty here.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IntelRdt {}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
}

/// Nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

/// Periods, and nanoseconds of waiting.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Version 1 only.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuSet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    pub usage: MemoryEntry,
    pub swap: MemoryEntry,
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat` as the kernel has it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryEntry {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// Tasks; a limit of 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Cgroup {
    /// What the container uses now.
    pub fn stats(&self) -> Result<Stats> {
        match self.setup {
            Setup::Unified => v2::stats(self),
            Setup::Legacy | Setup::Hybrid => v1::stats(self),
        }
    }
}

impl<'a> Event<'a> {
    /// The line of `events --stats`.
    pub fn stats(id: &'a str, stats: Stats) -> Self {
        Self {
            kind: "stats",
            id,
            data: Some(stats),
        }
    }

    /// The line for a container that ran out of memory.
    pub fn oom(id: &'a str) -> Self {
        Self {
            kind: "oom",
            id,
            data: None,
        }
    }
}

/// A number, 0 where the file is missing.
fn number(dir: &Path, name: &str) -> Result<u64> {
    Ok(file::read_number(dir, name)?.unwrap_or(0))
}

/// `pids.current` and `pids.max`, which both versions have.
fn pids(dir: &Path) -> Result<Option<Pids>> {
    let Some(current) = file::read_number(dir, "pids.current")? else {
        return Ok(None);
    };
    let limit = match number(dir, "pids.max")? {
        u64::MAX => 0,
        limit => limit,
    };
    Ok(Some(Pids { current, limit }))
}

/// The sizes that this machine has, as they are in file names: `2MB`, `1GB`.
fn page_sizes() -> Vec<String> {
    libcgroups::stats::supported_page_sizes().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::cgroup::testing::{Real, Runc, in_v2_view};

    /// The shape of a value: names and types, without the numbers that change by the moment.
    fn shape(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                // Left out when they happen to be 0.
                let moody = ["cache", "total", "usage", "max", "value", "current"];
                let parts = map
                    .iter()
                    .filter(|(key, value)| !(value.is_number() && moody.contains(&key.as_str())))
                    .filter(|(key, _)| !key.starts_with("io") && !key.starts_with("throttled"))
                    .map(|(key, value)| format!("{key}:{}", shape(value)));
                format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
            }
            Value::Array(list) => format!("[{}]", list.first().map(shape).unwrap_or_default()),
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
        }
    }

    /// The statistics of a container, from runc and from here.
    fn both() -> Option<(Value, Value)> {
        let runc = Runc::start(&serde_json::json!({}))?;
        // Until the process has become `sleep` and sleeps.
        std::thread::sleep(std::time::Duration::from_millis(500));
        let theirs = runc.runc(&["events", "--stats", &runc.id]);
        let ours = runc.cgroup.stats().unwrap();
        let ours = serde_json::to_value(Event::stats(&runc.id, ours)).unwrap();
        Some((serde_json::from_str(&theirs).unwrap(), ours))
    }

    fn compare() {
        let Some((theirs, ours)) = both() else { return };
        assert_eq!(shape(&ours), shape(&theirs));
        // The process sleeps: these don't move between the two looks.
        for pointer in [
            "/data/cpuset",
            "/data/pids",
            "/data/memory/usage/limit",
            "/data/memory/swap/limit",
            "/data/memory/kernel/limit",
            "/data/memory/usage/failcnt",
            "/data/cpu/throttling",
            "/data/hugetlb",
            "/data/intel_rdt",
            "/data/network_interfaces",
            "/data/blkio",
            "/data/memory/raw/rss",
            "/data/memory/raw/hierarchical_memory_limit",
            "/data/cpu/usage/kernel",
            "/data/cpu/usage/user",
            "/data/cpu/usage/total",
            "/data/cpu/usage/percpu",
        ] {
            assert_eq!(ours.pointer(pointer), theirs.pointer(pointer), "{pointer}");
        }
    }

    #[test]
    fn the_same_as_runc() {
        compare();
    }

    #[test]
    #[ignore = "run by `the_same_as_runc_on_version_2` in a namespace of its own"]
    fn v2_view() {
        compare();
    }

    #[test]
    fn the_same_as_runc_on_version_2() {
        in_v2_view("cgroup::stats::tests::v2_view");
    }

    #[test]
    fn a_container_without_cgroup_uses_nothing() {
        let stats = Cgroup::disabled().stats().unwrap();
        assert_eq!(stats, Stats::default());
        let real = Real::planned();
        assert_eq!(real.cgroup.stats().unwrap().pids.current, 0);
    }

    #[test]
    fn an_oom_line_has_no_data() {
        let line = serde_json::to_string(&Event::oom("web")).unwrap();
        assert_eq!(line, r#"{"type":"oom","id":"web"}"#);
    }
}
