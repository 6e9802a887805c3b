//! The kernel and what it is set up for. It must not change anything to find out.

use std::path::Path;

use super::{Finding, Verdict};
use crate::cgroup::Host;
use crate::process::Lsm;

/// Everything that matters for containers.
pub fn host() -> Vec<Finding> {
    let mut all = kernel(crate::host::kernel());
    all.push(cgroups());
    all.extend(security());
    all.extend(user_namespaces());
    all.extend(rights());
    all
}

/// What came with which version: mount_setattr(2), clone3(2) into a cgroup, close_range(2),
/// ioctl_pidfd(2) PIDFD_GET_INFO.
const FEATURES: [(&str, (u32, u32), Verdict, &str); 4] = [
    (
        "mount api",
        (5, 12),
        Verdict::Bad,
        "detached mounts with their attributes",
    ),
    (
        "clone3",
        (5, 7),
        Verdict::Bad,
        "processes are born in their cgroup",
    ),
    (
        "id-mapped mounts",
        (5, 12),
        Verdict::Lacking,
        "mounts with mappings of their own",
    ),
    (
        "exit status",
        (6, 15),
        Verdict::Lacking,
        "read of a process that is no child, for guests",
    ),
];

pub(super) fn kernel(version: (u32, u32)) -> Vec<Finding> {
    let (major, minor) = version;
    let mut all = vec![Finding::new(
        "kernel",
        Verdict::Good,
        format!("{major}.{minor}"),
    )];
    all.extend(
        FEATURES
            .iter()
            .map(|(name, since, without, what)| match version >= *since {
                true => Finding::new(name, Verdict::Good, *what),
                false => {
                    let text = format!("{what}: needs Linux {}.{}", since.0, since.1);
                    Finding::new(name, *without, text)
                }
            }),
    );
    all
}

fn cgroups() -> Finding {
    match Host::read() {
        Ok(host) => {
            let names = host
                .mounts
                .iter()
                .flat_map(|mount| mount.controllers.iter());
            let mut names: Vec<&str> = names.map(String::as_str).collect();
            if names.is_empty() {
                let file = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
                let text = format!("{:?}: {}", host.setup, file.unwrap_or_default().trim());
                return Finding::new("cgroups", Verdict::Good, text.to_lowercase());
            }
            names.sort_unstable();
            let text = format!("{:?}: {}", host.setup, names.join(" "));
            Finding::new("cgroups", Verdict::Good, text.to_lowercase())
        }
        Err(error) => Finding::new("cgroups", Verdict::Bad, error.to_string()),
    }
}

fn security() -> Vec<Finding> {
    let labels = Lsm::detect();
    let seccomp = Path::new("/proc/sys/kernel/seccomp/actions_avail");
    let actions = std::fs::read_to_string(seccomp).unwrap_or_default();
    let off = "off: bundles that ask for it are refused";
    vec![
        Finding::told("seccomp", !actions.is_empty(), actions.trim(), off),
        Finding::told("apparmor", labels.apparmor, "on", "off"),
        Finding::told("selinux", labels.selinux, "on", "off"),
    ]
}

fn user_namespaces() -> Vec<Finding> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let max = read("/proc/sys/user/max_user_namespaces");
    let max = max
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(0);
    let all = Finding::told(
        "user namespaces",
        max > 0,
        format!("at most {max}"),
        "switched off",
    );
    let closed =
        read("/proc/sys/kernel/unprivileged_userns_clone").is_some_and(|t| t.trim() == "0");
    let text = "not for users: kernel.unprivileged_userns_clone is 0";
    let mut findings = vec![all];
    if closed {
        findings.push(Finding::new("", Verdict::Lacking, text));
    }
    let helper = ["/usr/bin/newuidmap", "/bin/newuidmap"];
    let there = helper.iter().any(|path| Path::new(path).exists());
    let lacking = "absent: users without privileges get one id only (package uidmap)";
    findings.push(Finding::told("newuidmap", there, "there", lacking));
    findings
}

/// Capabilities that containers may be given only where pxrun itself has them.
fn rights() -> Vec<Finding> {
    let euid = nix::unistd::geteuid();
    let root = Finding::told(
        "root",
        euid.is_root(),
        "uid 0",
        "no: containers need a user namespace",
    );
    let all = caps::read(None, caps::CapSet::Bounding).unwrap_or_default();
    let missing: Vec<String> = caps::all()
        .difference(&all)
        .map(ToString::to_string)
        .collect();
    let mut missing = missing;
    missing.sort();
    let lacking = format!("this host denies {}", missing.join(", "));
    vec![
        root,
        Finding::told("capabilities", missing.is_empty(), "all", &lacking),
    ]
}
