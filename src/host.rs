//! What this host is, as values for the rooms that must not look themselves.

use libcgroups::common::{CgroupSetup, get_cgroup_setup};

use crate::process::Lsm;
use crate::spec::HostFacts;

/// The facts that validation needs.
pub fn facts() -> HostFacts {
    let labels = Lsm::detect();
    HostFacts {
        selinux: labels.selinux,
        apparmor: labels.apparmor,
        cgroup_v2: matches!(get_cgroup_setup(), Ok(CgroupSetup::Unified)),
        rootless: !nix::unistd::geteuid().is_root(),
    }
}

/// Version of the running kernel, the first two numbers.
pub fn kernel() -> (u32, u32) {
    let release = nix::sys::utsname::uname();
    let release = release
        .ok()
        .map(|u| u.release().to_string_lossy().into_owned());
    let release = release.unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
