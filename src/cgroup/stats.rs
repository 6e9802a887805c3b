//! What a cgroup has used, in the form of `runc events --stats`.

use libcgroups::common::CgroupManager;
use serde_json::{Value, json};

use super::{Cgroup, CgroupError};

impl Cgroup {
    /// The `data` of a stats event (runc, `types/events.go`).
    pub fn stats(&self) -> Result<Value, CgroupError> {
        let stats = self
            .manager()?
            .stats()
            .map_err(|error| CgroupError::Limit(crate::error::one_line(&error)))?;
        let memory = |m: &libcgroups::stats::MemoryData| {
            json!({"limit": m.limit, "usage": m.usage, "max": m.max_usage, "failcnt": m.fail_count})
        };
        let cpu = &stats.cpu;
        Ok(json!({
            "cpu": {
                "usage": {
                    "total": cpu.usage.usage_total,
                    "percpu": cpu.usage.per_core_usage_total,
                    "kernel": cpu.usage.usage_kernel,
                    "user": cpu.usage.usage_user,
                },
                "throttling": {
                    "periods": cpu.throttling.periods,
                    "throttledPeriods": cpu.throttling.throttled_periods,
                    "throttledTime": cpu.throttling.throttled_time,
                },
            },
            "memory": {
                "cache": stats.memory.cache,
                "usage": memory(&stats.memory.memory),
                "swap": memory(&stats.memory.memswap),
                "kernel": memory(&stats.memory.kernel),
                "kernelTCP": memory(&stats.memory.kernel_tcp),
                "raw": stats.memory.stats,
            },
            "pids": {"current": stats.pids.current, "limit": stats.pids.limit},
            "blkio": {},
            "hugetlb": {},
            "intel_rdt": {},
            "network_interfaces": null,
        }))
    }
}
