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
