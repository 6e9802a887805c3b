//! `linux.netDevices`: network interfaces that move into the container.
//! It must not look whether they are there.

use std::collections::BTreeMap;

use oci_spec::runtime::{Linux, LinuxNamespaceType};

use super::report::{Report, show_text};
use super::shape::{Shape, blank};
use super::{HostFacts, namespaces};

pub const SHAPE: Shape = Shape::Map(&Shape::Object(&[blank("name", &Shape::Text)]));

/// config-linux.md, "Network Devices".
pub fn check(linux: &Linux, host: &HostFacts, report: &mut Report) {
    let Some(devices) = linux.net_devices().as_ref().filter(|map| !map.is_empty()) else {
        return;
    };
    if !namespaces::has(Some(linux), LinuxNamespaceType::Network) {
        let text = "devices, expected a `network` entry in linux.namespaces";
        report.rule("linux.netDevices", text);
    }
    if host.rootless {
        report.rule("linux.netDevices", "devices, which only root can move");
    }
    let sorted: BTreeMap<_, _> = devices.iter().collect();
    let mut taken = BTreeMap::new();
    for (outside, device) in sorted {
        if !valid_name(outside) {
            report.bad("linux.netDevices", &show_text(outside), NAME);
        }
        let path = format!("linux.netDevices[{}].name", show_text(outside));
        let inside = device.name().as_ref().unwrap_or(outside);
        if device.name().is_some() && !valid_name(inside) {
            report.bad(&path, &show_text(inside), NAME);
        }
        if let Some(other) = taken.insert(inside, outside) {
            let expected = format!("a name that `{}` does not take", show_text(other));
            report.bad(&path, &show_text(inside), &expected);
        }
    }
}

const NAME: &str = "an interface name of 1 to 15 bytes without `/`, `:` and spaces";

/// The kernel's `dev_valid_name`. It adds that `%` makes a template when renaming.
pub fn valid_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|b| b == b'/' || b == b':' || b == b'%' || b.is_ascii_whitespace() || b == 0x0b)
}
