//! The rules of `linux.resources` outside `memory`.
//! It must not hold rules that need two sections of the document.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxResources;

use crate::spec::report::{Report, show_text};
use crate::spec::{HostFacts, cpu_list, net_devices};

pub fn check(resources: &LinuxResources, path: &str, host: &HostFacts, report: &mut Report) {
    check_devices(resources, path, report);
    check_cpu(resources, path, report);
    check_hugepages(resources, path, report);
    check_network(resources, path, report);
    check_rdma(resources, path, report);
    check_unified(resources, path, host, report);
}

/// config-linux.md, "Allowed Device list". A rule without access says nothing; runc refuses it.
fn check_devices(resources: &LinuxResources, path: &str, report: &mut Report) {
    for (index, device) in resources.devices().iter().flatten().enumerate() {
        let path = format!("{path}.devices[{index}].access");
        match device.access() {
            None => report.missing(&path, "letters of `rwm`"),
            Some(access) if access.chars().all(|c| "rwm".contains(c)) => {}
            Some(access) => report.bad(&path, &show_text(access), "letters of `rwm`"),
        }
    }
}

fn check_cpu(resources: &LinuxResources, path: &str, report: &mut Report) {
    let Some(cpu) = resources.cpu() else { return };
    for (name, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        let Some(list) = list.as_ref().filter(|list| !cpu_list::valid(list)) else {
            continue;
        };
        let path = format!("{path}.cpu.{name}");
        report.bad(&path, &show_text(list), "a list of numbers such as `0-1,3`");
    }
}

/// "pageSize ... MUST match ^[1-9][0-9]*[KMG]B$": it names files. "Entries MUST be unique".
fn check_hugepages(resources: &LinuxResources, path: &str, report: &mut Report) {
    let mut seen = Vec::new();
    for (index, page) in resources.hugepage_limits().iter().flatten().enumerate() {
        let path = format!("{path}.hugepageLimits[{index}].pageSize");
        let size = page.page_size();
        if !page_size_valid(size) {
            let expected = "a size such as `2MB` or `1GB`";
            report.bad(&path, &show_text(size), expected);
        }
        if seen.contains(&size) {
            report.bad(&path, &show_text(size), "each size once");
        }
        seen.push(size);
    }
}

fn page_size_valid(size: &str) -> bool {
    let number = ["KB", "MB", "GB"]
        .iter()
        .find_map(|unit| size.strip_suffix(unit));
    number.is_some_and(|number| {
        !number.is_empty() && !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn check_network(resources: &LinuxResources, path: &str, report: &mut Report) {
    let priorities = resources
        .network()
        .as_ref()
        .and_then(|n| n.priorities().as_ref());
    for (index, entry) in priorities.into_iter().flatten().enumerate() {
        if !net_devices::valid_name(entry.name()) {
            let path = format!("{path}.network.priorities[{index}].name");
            report.bad(&path, &show_text(entry.name()), "an interface name");
        }
    }
}

/// config-linux.md, "RDMA": "You MUST specify at least one of the hcaHandles or hcaObjects".
fn check_rdma(resources: &LinuxResources, path: &str, report: &mut Report) {
    let sorted: BTreeMap<_, _> = resources.rdma().iter().flatten().collect();
    for (name, limits) in sorted {
        let at = format!("{path}.rdma[{}]", show_text(name));
        if name.is_empty() || name.contains(char::is_whitespace) {
            report.rule(&at, "expected the name of an RDMA device");
        }
        if limits.hca_handles().is_none() && limits.hca_objects().is_none() {
            report.missing(&at, "hcaHandles or hcaObjects");
        }
    }
}

/// config-linux.md, "Unified": the keys are names of files in the cgroup; v1 has no such files.
fn check_unified(resources: &LinuxResources, path: &str, host: &HostFacts, report: &mut Report) {
    let Some(unified) = resources.unified().as_ref().filter(|map| !map.is_empty()) else {
        return;
    };
    if !host.cgroup_v2 {
        let text = "cgroup v2 parameters, but this host has cgroup v1";
        report.rule(&format!("{path}.unified"), text);
    }
    let mut keys: Vec<_> = unified.keys().collect();
    keys.sort_unstable();
    for key in keys {
        if !key.contains('.') || key.contains('/') || key.starts_with('.') {
            let expected = "the name of a file such as `memory.high`";
            report.bad(&format!("{path}.unified"), &show_text(key), expected);
        }
    }
}
