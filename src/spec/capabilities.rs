//! `process.capabilities`: which names are known.
//! It must not look which capabilities the kernel or the caller has.

use serde_json::Value;

use super::report::{Report, show};
use super::shape::{Shape, TEXTS, opt};
use super::warned::CAPABILITY;

/// The known names (capabilities(7)), in the order of their numbers.
pub const KNOWN: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "inheritable",
    "permitted",
    "ambient",
];

pub const SHAPE: Shape = Shape::Object(&[
    opt("bounding", &TEXTS),
    opt("effective", &TEXTS),
    opt("inheritable", &TEXTS),
    opt("permitted", &TEXTS),
    opt("ambient", &TEXTS),
]);

/// Drops unknown names. Only the exact spelling counts: taking `sys_admin` for CAP_SYS_ADMIN
/// would grant what runc does not.
pub fn edit(process: &mut Value, report: &mut Report) {
    for set in SETS {
        let names = process.pointer_mut(&format!("/capabilities/{set}"));
        let Some(names) = names.and_then(Value::as_array_mut) else {
            continue;
        };
        let path = format!("process.capabilities.{set}");
        names.retain(|name| {
            let known = name.as_str().is_some_and(|name| KNOWN.contains(&name));
            if !known {
                report.warn(&CAPABILITY, &path, &show(name));
            }
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typed_form_takes_all_known_names() {
        for name in KNOWN {
            let typed = serde_json::from_value::<oci_spec::runtime::Capability>(Value::from(*name));
            assert_eq!(format!("CAP_{}", typed.unwrap()), *name);
        }
    }
}
