//! AppArmor profile and SELinux label of the process. A label that can't take effect is refused,
//! never dropped.

use std::path::Path;

use oci_spec::runtime::Process;

use super::ProcessError;

/// Which label systems the host has.
#[derive(Debug, Clone, Copy, Default)]
pub struct LabelFacts {
    /// AppArmor is on.
    pub apparmor: bool,
    /// SELinux is on.
    pub selinux: bool,
}

impl LabelFacts {
    /// Looks at the host.
    pub fn probe() -> LabelFacts {
        let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        LabelFacts {
            apparmor: enabled.is_ok_and(|text| text.starts_with('Y')),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }
}

fn asked(label: &Option<String>) -> Option<&str> {
    label.as_deref().filter(|l| !l.is_empty())
}

/// Refuses labels that the host doesn't have.
pub fn check(process: &Process, host: &LabelFacts) -> Result<(), ProcessError> {
    if let Some(profile) = asked(process.apparmor_profile())
        && !host.apparmor
        && profile != "unconfined"
    {
        return Err(ProcessError::Refused(format!(
            "process.apparmorProfile: `{profile}`, but AppArmor is not enabled on this host"
        )));
    }
    if let Some(label) = asked(process.selinux_label())
        && !host.selinux
    {
        return Err(ProcessError::Refused(format!(
            "process.selinuxLabel: `{label}`, but SELinux is not enabled on this host"
        )));
    }
    Ok(())
}

/// Sets the labels that execve will switch to.
pub fn apply(process: &Process) -> Result<(), ProcessError> {
    if let Some(profile) = asked(process.apparmor_profile()).filter(|p| *p != "unconfined") {
        libcontainer::apparmor::apply_profile(profile).map_err(|error| {
            let text = format!("process.apparmorProfile: apply `{profile}`: {error}");
            ProcessError::Refused(text)
        })?;
    }
    if let Some(label) = asked(process.selinux_label()) {
        write_selinux(label).map_err(|source| ProcessError::File {
            what: format!("process.selinuxLabel: apply `{label}`"),
            source,
        })?;
    }
    Ok(())
}

/// Through a procfs that pathrs has verified: what stands at the container's `/proc` may be
/// anything (CVE-2019-16884).
fn write_selinux(label: &str) -> std::io::Result<()> {
    use pathrs::flags::OpenFlags;
    use pathrs::procfs::{ProcfsBase, ProcfsHandle};
    use std::io::Write;
    let flags = OpenFlags::O_WRONLY | OpenFlags::O_CLOEXEC;
    let mut file = ProcfsHandle::new()
        .and_then(|proc| proc.open(ProcfsBase::ProcThreadSelf, "attr/exec", flags))
        .map_err(std::io::Error::other)?;
    file.write_all(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn process(key: &str, value: &str) -> Process {
        serde_json::from_value(json!({"cwd": "/", "user": {"uid": 0, "gid": 0}, key: value}))
            .unwrap()
    }

    #[test]
    fn a_label_without_its_system_is_refused_by_name() {
        let none = LabelFacts::default();
        let all = LabelFacts {
            apparmor: true,
            selinux: true,
        };
        for (key, value) in [("apparmorProfile", "web"), ("selinuxLabel", "a:b:c:s0")] {
            let error = check(&process(key, value), &none).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(value), "{error}");
            assert!(check(&process(key, value), &all).is_ok());
            assert!(check(&process(key, ""), &none).is_ok());
        }
        assert!(check(&process("apparmorProfile", "unconfined"), &none).is_ok());
    }
}
