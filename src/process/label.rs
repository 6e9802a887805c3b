//! Security labels that take effect at the next `execve`: AppArmor's profile, SELinux's context.
//! It must not let a label fall away: a host that can't apply it refuses the process.

use nix::sys::statfs::{SELINUX_MAGIC, statfs};

use super::procfs::write_self;
use super::{ProcessError, Reason};

/// Which security modules the host's kernel has turned on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lsm {
    /// AppArmor.
    pub apparmor: bool,
    /// SELinux.
    pub selinux: bool,
}

impl Lsm {
    /// Looks at the host; call it before the container's root is in place.
    #[must_use]
    pub fn detect() -> Self {
        let selinux = statfs("/sys/fs/selinux").map(|fs| fs.filesystem_type());
        Self {
            apparmor: libcontainer::apparmor::is_enabled().unwrap_or(false),
            selinux: selinux.is_ok_and(|kind| kind == SELINUX_MAGIC),
        }
    }
}

/// The labels of one process.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    apparmor: Option<String>,
    selinux: Option<String>,
}

impl Labels {
    /// Takes `process.apparmorProfile` and `process.selinuxLabel`; empty means none.
    ///
    /// # Errors
    /// A label whose module the host doesn't have, save AppArmor's `unconfined`, which then holds.
    pub fn new(
        apparmor: Option<&str>,
        selinux: Option<&str>,
        lsm: Lsm,
    ) -> Result<Self, ProcessError> {
        let apparmor = apparmor.filter(|profile| !profile.is_empty());
        let apparmor = apparmor.filter(|profile| lsm.apparmor || *profile != "unconfined");
        let selinux = selinux.filter(|label| !label.is_empty());
        match (apparmor, selinux) {
            (Some(profile), _) if !lsm.apparmor => {
                Err(ProcessError::NoAppArmor(profile.to_owned()))
            }
            (_, Some(label)) if !lsm.selinux => Err(ProcessError::NoSelinux(label.to_owned())),
            _ => Ok(Self {
                apparmor: apparmor.map(ToOwned::to_owned),
                selinux: selinux.map(ToOwned::to_owned),
            }),
        }
    }

    /// Makes the kernel apply the labels at the next execve(2).
    ///
    /// # Errors
    /// What the module answers, for instance a profile that isn't loaded.
    pub fn apply(&self) -> Result<(), ProcessError> {
        if let Some(profile) = &self.apparmor {
            apply_apparmor(profile)?;
        }
        match &self.selinux {
            Some(label) => write("attr/exec", label),
            None => Ok(()),
        }
    }

    /// Labels the keys that `make` creates, as runc does for the session keyring.
    ///
    /// # Errors
    /// Those of `make`, and what SELinux answers.
    pub fn label_keys(
        &self,
        make: impl FnOnce() -> Result<(), ProcessError>,
    ) -> Result<(), ProcessError> {
        let Some(label) = &self.selinux else {
            return make();
        };
        write("attr/keycreate", label)?;
        make()?;
        write("attr/keycreate", "")
    }
}

/// AppArmor has its own directory since Linux 5.8; before, and below other modules, it shares one.
fn apply_apparmor(profile: &str) -> Result<(), ProcessError> {
    let text = format!("exec {profile}");
    match write("attr/apparmor/exec", &text) {
        Err(ProcessError::Proc { .. }) => write("attr/exec", &text),
        done => done,
    }
}

fn write(file: &'static str, label: &str) -> Result<(), ProcessError> {
    write_self(file, label)?.map_err(|source: Reason| ProcessError::Label {
        label: label.to_owned(),
        file: file.trim_start_matches("attr/"),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Lsm = Lsm {
        apparmor: false,
        selinux: false,
    };

    #[test]
    fn defect_apparmor_profile_without_apparmor_is_refused_clearly() {
        for (apparmor, selinux, text) in [
            (
                Some("x"),
                None,
                "apparmor is not enabled on this host, process.apparmorProfile is `x`",
            ),
            (
                None,
                Some("a:b"),
                "selinux is not enabled on this host, process.selinuxLabel is `a:b`",
            ),
        ] {
            let error = Labels::new(apparmor, selinux, NONE).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn empty_and_unconfined_ask_for_nothing() {
        for apparmor in [None, Some(""), Some("unconfined")] {
            let labels = Labels::new(apparmor, Some(""), NONE).unwrap();
            assert!(labels.apparmor.is_none() && labels.selinux.is_none());
        }
        let on = Lsm {
            apparmor: true,
            selinux: true,
        };
        let labels = Labels::new(Some("unconfined"), Some("l"), on).unwrap();
        assert_eq!(labels.apparmor.as_deref(), Some("unconfined"));
        assert_eq!(labels.selinux.as_deref(), Some("l"));
    }

    #[test]
    fn a_label_that_the_kernel_refuses_is_an_error() {
        if Lsm::detect() != NONE {
            println!("skipped: this host has a security module that may take the label");
            return;
        }
        let on = Lsm {
            apparmor: true,
            selinux: true,
        };
        for (apparmor, selinux) in [(Some("x"), None), (None, Some("a:b:c:s0"))] {
            let error = Labels::new(apparmor, selinux, on)
                .unwrap()
                .apply()
                .unwrap_err();
            assert!(
                matches!(error, ProcessError::Label { file: "exec", .. }),
                "{error}"
            );
        }
    }
}
