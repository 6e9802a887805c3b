//! `features`: what this runtime can do, printed as the OCI has it.

use std::path::Path;

use crate::features::{CgroupFacts, FeatureFacts, IntelRdtFacts, SeccompFacts, features};
use crate::rootfs::options;
use crate::spec::seccomp;

pub fn run() -> anyhow::Result<()> {
    let options: Vec<&str> = options::TABLE.iter().map(|(name, _)| *name).collect();
    let version = libseccomp::ScmpVersion::current().ok();
    let resctrl = Path::new("/sys/fs/resctrl/info").exists();
    let facts = FeatureFacts {
        mount_options: &options,
        cgroup: CgroupFacts {
            v1: true,
            v2: true,
            ..CgroupFacts::default()
        },
        seccomp: version.map(|v| SeccompFacts {
            archs: seccomp::ARCHS,
            supported_flags: seccomp::FLAGS,
            libseccomp: (v.major, v.minor, v.micro),
        }),
        apparmor: true,
        selinux: true,
        intel_rdt: IntelRdtFacts {
            enabled: resctrl,
            schemata: resctrl,
            monitoring: resctrl,
        },
        idmap: true,
        net_devices: true,
        memory_policy: true,
        unsafe_annotations: &[],
        annotations: &[("dev.pxrun.version", env!("CARGO_PKG_VERSION"))],
    };
    super::print_json(&features(&facts))
}
