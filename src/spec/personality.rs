//! `linux.personality`: the execution domain.
//! It must not set it.

use serde_json::Value;

use super::report::{Report, show};
use super::shape::{Shape, TEXTS, opt, req};
use super::warned::PERSONALITY_FLAGS;

pub const SHAPE: Shape = Shape::Object(&[
    req(
        "domain",
        &Shape::OneOf {
            names: &["LINUX", "LINUX32"],
            what: "an execution domain",
        },
    ),
    opt("flags", &TEXTS),
]);

/// config-linux.md, "Personality": flags are named, but none is defined.
pub fn edit(linux: &mut Value, report: &mut Report) {
    let Some(personality) = linux.get_mut("personality").and_then(Value::as_object_mut) else {
        return;
    };
    let flags = personality.remove("flags");
    for flag in flags.iter().filter_map(Value::as_array).flatten() {
        report.warn(&PERSONALITY_FLAGS, "linux.personality.flags", &show(flag));
    }
}
