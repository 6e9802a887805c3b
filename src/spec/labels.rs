//! `process.apparmorProfile`, `process.selinuxLabel` and `linux.mountLabel`.
//! It must not look which security modules the host has: that comes in as a fact.

use oci_spec::runtime::Process;
use serde_json::Value;

use super::HostFacts;
use super::report::{Report, show, show_text};
use super::shape::{Field, Shape, blank};
use super::warned;

pub const APPARMOR_PROFILE: Field = blank("apparmorProfile", &Shape::Text);
pub const SELINUX_LABEL: Field = blank("selinuxLabel", &Shape::Text);
pub const MOUNT_LABEL: Field = blank("mountLabel", &Shape::Text);

/// The profile that confines nothing; a host without AppArmor gives that to everyone.
const UNCONFINED: &str = "unconfined";

/// Drops `linux.mountLabel` on a host without SELinux, where the `context=` option that it stands
/// for would make every mount fail.
pub fn edit(linux: &mut Value, host: &HostFacts, report: &mut Report) {
    let Some(members) = linux.as_object_mut().filter(|_| !host.selinux) else {
        return;
    };
    if let Some(label) = members.remove("mountLabel") {
        report.warn(&warned::MOUNT_LABEL, "linux.mountLabel", &show(&label));
    }
}

/// A confinement that the host cannot give is refused, as in runc.
pub fn check(process: &Process, host: &HostFacts, report: &mut Report) {
    if let Some(label) = process.selinux_label().as_ref().filter(|_| !host.selinux) {
        let expected = "no label: SELinux is off on this host";
        report.bad("process.selinuxLabel", &show_text(label), expected);
    }
    let profile = process.apparmor_profile().as_ref();
    if let Some(profile) = profile.filter(|name| !host.apparmor && *name != UNCONFINED) {
        let expected = "no profile: AppArmor is off on this host";
        report.bad("process.apparmorProfile", &show_text(profile), expected);
    }
}
