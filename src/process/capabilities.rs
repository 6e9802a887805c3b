//! The five capability sets of the user's process, see capabilities(7).
//! It must not invent capabilities: what the spec doesn't list is dropped.

use libcontainer::capabilities::CapabilityExt;
use oci_spec::runtime::{Capabilities, LinuxCapabilities};

use super::warned::{AMBIENT_SET, BOUNDING_SET, UNKNOWN_CAPABILITY, warn};
use super::{ProcessError, Reason};
use crate::sys::process as sys;

/// CAP_SYS_ADMIN's number: seccomp(2) asks for it where no_new_privs isn't set.
const SYS_ADMIN: u64 = 1 << 21;
/// CAP_SETPCAP's number: the bounding set can't be lowered without it.
const SETPCAP: u64 = 1 << 8;

/// The sets as bit masks. No `process.capabilities` at all means none of any, as in runc.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

impl Sets {
    /// Reads `process.capabilities`, leaving out (with a warning) what this kernel doesn't know and
    /// what pxrun doesn't hold, as runc does.
    #[must_use]
    pub fn new(capabilities: Option<&LinuxCapabilities>) -> Self {
        let Some(wanted) = capabilities else {
            return Self::default();
        };
        let sets = Self {
            bounding: mask(wanted.bounding().as_ref()),
            effective: mask(wanted.effective().as_ref()),
            permitted: mask(wanted.permitted().as_ref()),
            inheritable: mask(wanted.inheritable().as_ref()),
            ambient: mask(wanted.ambient().as_ref()),
        };
        sets.within(known() & available())
    }

    /// Leaves out what the kernel doesn't know.
    fn within(self, known: u64) -> Self {
        let all = self.bounding | self.effective | self.permitted | self.inheritable | self.ambient;
        if all & !known != 0 {
            warn(&UNKNOWN_CAPABILITY, &names(all & !known));
        }
        Self {
            bounding: self.bounding & known,
            effective: self.effective & known,
            permitted: self.permitted & known,
            inheritable: self.inheritable & known,
            ambient: self.ambient & known,
        }
    }

    /// Lowers the bounding set; call it while still root.
    ///
    /// Without CAP_SETPCAP (pxrun in a restricted container) it stays, as in runc.
    ///
    /// # Errors
    /// What prctl(2) answers.
    pub fn bound(&self) -> Result<(), ProcessError> {
        let failed = "drop the bounding set";
        let held = sys::capget().map_err(ProcessError::step(failed))?;
        if held.effective & SETPCAP == 0 {
            warn(&BOUNDING_SET, &"CAP_SETPCAP is not held");
            return Ok(());
        }
        // By number until the kernel knows no more: a list of names ends where its author's kernel did.
        for cap in 0..u64::BITS {
            match sys::bounding_has(cap) {
                Ok(true) if self.bounding & (1 << cap) == 0 => {
                    sys::bounding_drop(cap).map_err(ProcessError::step(failed))?;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Sets the other four; call it as the final user, with the permitted set kept.
    ///
    /// `admin` keeps CAP_SYS_ADMIN beside them for a filter still to come. execve(2) takes it away
    /// without a further system call: what it permits comes from the inheritable, the bounding and
    /// the ambient set, never from what was permitted before.
    ///
    /// # Errors
    /// EPERM for a set beyond what pxrun holds or, as in runc, beyond the permitted one.
    pub fn apply(&self, admin: bool) -> Result<(), ProcessError> {
        let extra = if admin { SYS_ADMIN } else { 0 };
        let sets = sys::CapSets {
            effective: self.effective | extra,
            permitted: self.permitted | extra,
            inheritable: self.inheritable,
        };
        sys::capset(&sets).map_err(ProcessError::step("unable to apply caps"))?;
        if let Err(errno) = sys::ambient_clear() {
            warn(&AMBIENT_SET, &Reason(errno));
        }
        for cap in (0..u64::BITS).filter(|cap| self.ambient & (1 << cap) != 0) {
            if let Err(errno) = sys::ambient_raise(cap) {
                warn(
                    &AMBIENT_SET,
                    &format!("{}: {}", names(1 << cap), Reason(errno)),
                );
            }
        }
        Ok(())
    }
}

/// What pxrun itself holds, as a mask: no process gets more. Root of a new user namespace holds
/// everything there, so `None` of it is asked before that.
fn available() -> u64 {
    sys::capget().map_or(u64::MAX, |held| held.permitted)
}

/// What the kernel knows, as a mask.
fn known() -> u64 {
    let numbers = (0..u64::BITS).take_while(|cap| sys::bounding_has(*cap).is_ok());
    numbers.fold(0, |mask, cap| mask | (1 << cap))
}

fn mask(set: Option<&Capabilities>) -> u64 {
    let bits = set.into_iter().flatten().map(|c| c.to_cap().bitmask());
    bits.fold(0, |mask, bit| mask | bit)
}

fn names(mask: u64) -> String {
    let mut names: Vec<_> = caps::all()
        .into_iter()
        .filter(|cap| cap.bitmask() & mask != 0)
        .map(|cap| cap.to_string())
        .collect();
    names.sort_unstable();
    format!("[{}]", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Capability;

    #[test]
    fn masks_hold_the_kernel_s_numbers() {
        let set: Capabilities =
            [Capability::Chown, Capability::SysAdmin, Capability::Setpcap].into();
        assert_eq!(mask(Some(&set)), 1 | SYS_ADMIN | SETPCAP);
        assert_eq!(mask(None), 0);
        assert_eq!(names(1 | SYS_ADMIN), "[CAP_CHOWN CAP_SYS_ADMIN]");
    }

    #[test]
    fn defect_9_what_the_kernel_does_not_know_is_left_out() {
        let wanted = Sets {
            bounding: 3,
            ambient: 2,
            ..Sets::default()
        };
        let kept = Sets {
            bounding: 1,
            ..Sets::default()
        };
        assert_eq!(wanted.within(1), kept);
    }

    #[test]
    fn no_capabilities_means_none() {
        assert_eq!(Sets::new(None), Sets::default());
    }
}
