//! `linux.resources.memory`: limits on memory and swap, in bytes.
//! It must not know how each cgroup version writes them.

use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use super::limit;
use crate::spec::HostFacts;
use crate::spec::report::{Report, show};
use crate::spec::shape::{Shape, U64, opt};
use crate::spec::warned::KERNEL_MEMORY;

const BYTES: Shape = limit("a number of bytes, or -1 for none");

pub const SHAPE: Shape = Shape::Object(&[
    opt("limit", &BYTES),
    opt("reservation", &BYTES),
    opt("swap", &BYTES),
    opt("kernel", &BYTES),
    opt("kernelTCP", &BYTES),
    opt("swappiness", &U64),
    opt("disableOOMKiller", &Shape::Bool),
    opt("useHierarchy", &Shape::Bool),
    opt("checkBeforeUpdate", &Shape::Bool),
]);

pub fn edit(resources: &mut Value, path: &str, report: &mut Report) {
    let Some(memory) = resources.get_mut("memory").and_then(Value::as_object_mut) else {
        return;
    };
    let limit = memory.shift_remove("kernel");
    if let Some(limit) = limit.filter(|limit| limit.as_i64() > Some(0)) {
        report.warn(
            &KERNEL_MEMORY,
            &format!("{path}.memory.kernel"),
            &show(&limit),
        );
    }
    // -1 of a signed field in a writer's unsigned one: not set.
    if memory.get("swappiness").and_then(Value::as_u64) == Some(u64::MAX) {
        memory.shift_remove("swappiness");
    }
}

pub fn check(resources: &LinuxResources, path: &str, report: &mut Report) {
    let Some(memory) = resources.memory() else {
        return;
    };
    if let Some(swappiness @ 101..) = memory.swappiness() {
        let path = format!("{path}.memory.swappiness");
        report.bad(&path, &swappiness.to_string(), "a number from 0 to 100");
    }
    // `swap` is memory and swap together (config-linux.md, "Memory").
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.limit(), memory.swap())
        && swap < limit
    {
        let expected = format!("at least the memory limit `{limit}`, which it includes");
        report.bad(&format!("{path}.memory.swap"), &swap.to_string(), &expected);
    }
}

/// cgroup v2 limits swap alone, which can only be told from both numbers.
pub fn check_whole(resources: &LinuxResources, path: &str, host: &HostFacts, report: &mut Report) {
    let Some(memory) = resources.memory().filter(|_| host.cgroup_v2) else {
        return;
    };
    if let (None | Some(-1..=0), Some(swap @ 1..)) = (memory.limit(), memory.swap()) {
        let expected = "a memory limit beside it";
        report.bad(&format!("{path}.memory.swap"), &swap.to_string(), expected);
    }
}
