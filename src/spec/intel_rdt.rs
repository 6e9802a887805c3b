//! `linux.intelRdt`: the class of service in resctrl.
//! It must not look whether the host has resctrl.

use oci_spec::runtime::Linux;

use super::report::{Report, show_text};
use super::shape::{Shape, TEXTS, blank, opt};

pub const SHAPE: Shape = Shape::Object(&[
    blank("closID", &Shape::Text),
    opt("schemata", &TEXTS),
    blank("l3CacheSchema", &Shape::Text),
    blank("memBwSchema", &Shape::Text),
    opt("enableCMT", &Shape::Bool),
    opt("enableMBM", &Shape::Bool),
    opt("enableMonitoring", &Shape::Bool),
]);

/// config-linux.md, "IntelRdt". `closID` names a directory below the resctrl mount.
pub fn check(linux: &Linux, report: &mut Report) {
    let Some(rdt) = linux.intel_rdt() else { return };
    if let Some(id) = rdt.clos_id()
        && (id == "." || id == ".." || id.contains('/') || id.len() > 255)
    {
        let expected = "the name of one directory";
        report.bad("linux.intelRdt.closID", &show_text(id), expected);
    }
    if let Some(schema) = rdt.mem_bw_schema()
        && (!schema.starts_with("MB:") || schema.contains('\n'))
    {
        let expected = "one line that starts with `MB:`";
        report.bad("linux.intelRdt.memBwSchema", &show_text(schema), expected);
    }
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        if line.contains('\n') {
            let path = format!("linux.intelRdt.schemata[{index}]");
            report.bad(&path, &show_text(line), "one line");
        }
    }
}
