//! `annotations`: free text for whoever reads it.
//! It must not know what any key means.

use oci_spec::runtime::Spec;

use super::report::Report;
use super::shape::Shape;

pub const SHAPE: Shape = Shape::Map(&Shape::FreeText);

/// config.md, "Annotations": "Keys MUST NOT be an empty string".
pub fn check(spec: &Spec, report: &mut Report) {
    let keys = spec.annotations().iter().flat_map(|map| map.keys());
    if keys.into_iter().any(String::is_empty) {
        report.rule("annotations", "empty key, expected a name");
    }
}
