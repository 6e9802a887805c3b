//! `linux.maskedPaths` and `linux.readonlyPaths`: what of the container's tree is covered.
//! It must not look whether the paths are there.

use oci_spec::runtime::{Linux, LinuxNamespaceType};

use super::namespaces;
use super::report::Report;
use super::shape::{PATHS, Shape};

/// config-linux.md, "Masked Paths", "Readonly Paths": "The values MUST be absolute paths".
pub const SHAPE: Shape = PATHS;

/// Without a mount namespace of its own the container would cover the host's files.
pub fn check(linux: &Linux, report: &mut Report) {
    if namespaces::has(Some(linux), LinuxNamespaceType::Mount) {
        return;
    }
    for (path, list) in [
        ("linux.maskedPaths", linux.masked_paths()),
        ("linux.readonlyPaths", linux.readonly_paths()),
    ] {
        if list.as_ref().is_some_and(|list| !list.is_empty()) {
            report.rule(path, "paths, expected a `mount` entry in linux.namespaces");
        }
    }
}
