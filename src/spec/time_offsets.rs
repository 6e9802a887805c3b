//! `linux.timeOffsets`: how far the clocks of a new time namespace are off.
//! It must not write `/proc/PID/timens_offsets`.

use oci_spec::runtime::{Linux, LinuxNamespaceType};

use super::namespaces;
use super::report::{Report, show_text};
use super::shape::{I64, Shape, opt};

pub const SHAPE: Shape = Shape::Map(&Shape::Object(&[
    opt("secs", &I64),
    opt(
        "nanosecs",
        &Shape::Int {
            min: 0,
            max: 999_999_999,
            what: "a number of nanoseconds less than a second",
        },
    ),
]));

/// The clocks that a time namespace shifts (time_namespaces(7)).
const CLOCKS: &[&str] = &["boottime", "monotonic"];

/// config-linux.md, "Time offset": the keys, and a namespace that takes them. Offsets can only be
/// set before the first process enters, so a namespace that is joined keeps its own.
pub fn check(linux: &Linux, report: &mut Report) {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|map| !map.is_empty()) else {
        return;
    };
    let mut keys: Vec<_> = offsets.keys().collect();
    keys.sort_unstable();
    for key in keys
        .into_iter()
        .filter(|key| !CLOCKS.contains(&key.as_str()))
    {
        report.bad(
            "linux.timeOffsets",
            &show_text(key),
            "monotonic or boottime",
        );
    }
    if !namespaces::has_new(linux, LinuxNamespaceType::Time) {
        let text = "offsets, expected a `time` entry without path in linux.namespaces";
        report.rule("linux.timeOffsets", text);
    }
}
