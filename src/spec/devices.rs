//! `linux.devices`: device nodes in the container.
//! It must not make any.

use serde_json::Value;

use super::report::Report;
use super::shape::{ID, Shape, U32, opt, req};

/// config-linux.md, "Devices". The numbers are bounded by the kernel's `dev_t`: 12 and 20 bits.
pub const SHAPE: Shape = Shape::Object(&[
    req("path", &Shape::AbsolutePath),
    req(
        "type",
        &Shape::OneOf {
            names: &["c", "b", "u", "p"],
            what: "a device type",
        },
    ),
    opt("major", &MAJOR),
    opt("minor", &MINOR),
    opt("fileMode", &U32),
    opt("uid", &ID),
    opt("gid", &ID),
]);

pub const MAJOR: Shape = Shape::Int {
    min: 0,
    max: 0xfff,
    what: "a device number from 0 to 4095",
};

pub const MINOR: Shape = Shape::Int {
    min: 0,
    max: 0xf_ffff,
    what: "a device number from 0 to 1048575",
};

/// The numbers are "REQUIRED unless type is p". Writers leave the bits of the file type in the
/// mode; the type has a field of its own.
pub fn edit(linux: &mut Value, report: &mut Report) {
    let devices = linux.get_mut("devices").and_then(Value::as_array_mut);
    for (index, device) in devices.into_iter().flatten().enumerate() {
        for (name, shape) in [("major", &MAJOR), ("minor", &MINOR)] {
            if device["type"] != "p" && device.get(name).is_none() {
                let path = format!("linux.devices[{index}].{name}");
                report.missing(&path, &shape.expected());
            }
        }
        if let Some(mode) = device.get_mut("fileMode") {
            *mode = Value::from(mode.as_u64().unwrap_or(0) & 0o7777);
        }
    }
}
