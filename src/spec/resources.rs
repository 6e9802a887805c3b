//! `linux.resources`: limits of the control group. The shapes are here, the rules in the files
//! below. It must not know which controllers the host has, save whether it is cgroup v2.

use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use super::HostFacts;
use super::devices::{MAJOR, MINOR};
use super::report::Report;
use super::shape::{Field, Shape, U32, U64, blank, opt, req};

mod memory;
mod rules;

pub const CGROUPS_PATH: Field = blank("cgroupsPath", &Shape::Text);

/// config-linux.md, "Control groups".
pub const SHAPE: Shape = Shape::Object(&[
    opt("devices", &Shape::List(&DEVICE)),
    opt("memory", &memory::SHAPE),
    opt("cpu", &CPU),
    opt("pids", &Shape::Object(&[opt("limit", &PIDS)])),
    opt("blockIO", &BLOCK_IO),
    opt("hugepageLimits", &Shape::List(&HUGEPAGE)),
    opt("network", &NETWORK),
    opt("rdma", &Shape::Map(&RDMA)),
    opt("unified", &Shape::Map(&Shape::Text)),
]);

const fn limit(what: &'static str) -> Shape {
    Shape::Int {
        min: -1,
        max: i64::MAX as i128,
        what,
    }
}

const MICROSECONDS: Shape = limit("a number of microseconds, or -1 for none");
const PIDS: Shape = limit("a number of processes, or -1 for none");

const DEVICE: Shape = Shape::Object(&[
    opt("allow", &Shape::Bool),
    blank(
        "type",
        &Shape::OneOf {
            names: &["a", "b", "c"],
            what: "a device type",
        },
    ),
    opt("major", &limit("a device number, or -1 for all")),
    opt("minor", &limit("a device number, or -1 for all")),
    blank("access", &Shape::Text),
]);

const CPU: Shape = Shape::Object(&[
    opt("shares", &U64),
    opt("quota", &MICROSECONDS),
    opt("burst", &U64),
    opt("period", &U64),
    opt("realtimeRuntime", &MICROSECONDS),
    opt("realtimePeriod", &U64),
    blank("cpus", &Shape::Text),
    blank("mems", &Shape::Text),
    opt(
        "idle",
        &Shape::Int {
            min: 0,
            max: 1,
            what: "0 or 1",
        },
    ),
]);

const WEIGHT: Shape = Shape::Int {
    min: 0,
    max: 1000,
    what: "a weight from 10 to 1000, or 0 for none",
};

const BLOCK_IO: Shape = Shape::Object(&[
    opt("weight", &WEIGHT),
    opt("leafWeight", &WEIGHT),
    opt(
        "weightDevice",
        &Shape::List(&Shape::Object(&[
            req("major", &MAJOR),
            req("minor", &MINOR),
            opt("weight", &WEIGHT),
            opt("leafWeight", &WEIGHT),
        ])),
    ),
    opt("throttleReadBpsDevice", &THROTTLES),
    opt("throttleWriteBpsDevice", &THROTTLES),
    opt("throttleReadIOPSDevice", &THROTTLES),
    opt("throttleWriteIOPSDevice", &THROTTLES),
]);

const THROTTLES: Shape = Shape::List(&Shape::Object(&[
    req("major", &MAJOR),
    req("minor", &MINOR),
    req("rate", &U64),
]));

const HUGEPAGE: Shape = Shape::Object(&[req("pageSize", &Shape::Name), req("limit", &U64)]);

const NETWORK: Shape = Shape::Object(&[
    opt("classID", &U32),
    opt(
        "priorities",
        &Shape::List(&Shape::Object(&[
            req("name", &Shape::Text),
            req("priority", &U32),
        ])),
    ),
]);

const RDMA: Shape = Shape::Object(&[opt("hcaHandles", &U32), opt("hcaObjects", &U32)]);

/// Makes of the document what the typed form can hold, without another meaning.
pub fn edit(resources: &mut Value, path: &str, report: &mut Report) {
    memory::edit(resources, path, report);
    let devices = resources.get_mut("devices").and_then(Value::as_array_mut);
    for device in devices.into_iter().flatten() {
        let Some(device) = device.as_object_mut() else {
            continue;
        };
        // Both -1 and absence stand for all devices; the typed form knows absence.
        device.retain(|name, value| !(["major", "minor"].contains(&&**name) && *value == -1));
    }
    let pages = resources.get_mut("hugepageLimits");
    for page in pages.and_then(Value::as_array_mut).into_iter().flatten() {
        // No host has that much memory: the largest signed number limits as little.
        if page["limit"].as_u64() > Some(i64::MAX as u64) {
            page["limit"] = Value::from(i64::MAX);
        }
    }
}

/// Rules for each field; they hold for the partial document of `update` as well.
pub fn check(resources: &LinuxResources, path: &str, host: &HostFacts, report: &mut Report) {
    memory::check(resources, path, report);
    rules::check(resources, path, host, report);
}

/// Rules for what must be said together when a container is created.
pub fn check_whole(resources: &LinuxResources, path: &str, host: &HostFacts, report: &mut Report) {
    memory::check_whole(resources, path, host, report);
}
