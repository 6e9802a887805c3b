//! The container's own session keyring, so that it neither sees nor uses the caller's keys.
//! It must not be taken for a border: every container of a host could join it by name.

use std::ffi::CString;

use nix::errno::Errno;

use super::{ProcessError, Reason};
use crate::sys::process::{describe_key, join_session_keyring, set_key_permission};

/// Search right for everybody (keyctl(1), `KEY_OTH_SEARCH`): in a user namespace the ids differ.
const OTHER_SEARCH: u32 = 0x8;
/// Search right for the owner (`KEY_USR_SEARCH`).
const USER_SEARCH: u32 = 0x8_0000;

/// Joins `_ses.<id>` and, for the container's init, lets its later processes find it.
///
/// A kernel without key management is left alone, as in runc.
///
/// # Errors
/// EDQUOT when the user's key quota is used up, and what keyctl(2) else answers.
pub fn join(id: &str, init: bool, userns: bool) -> Result<(), ProcessError> {
    let name = format!("_ses.{id}");
    let failed = |source: Errno| ProcessError::Keyring {
        name: format!("_ses.{id}"),
        source: Reason(source),
    };
    let raw = CString::new(name).map_err(|_| failed(Errno::EINVAL))?;
    let serial = match join_session_keyring(&raw) {
        Err(Errno::ENOSYS) => {
            tracing::debug!("this kernel has no keyrings");
            return Ok(());
        }
        joined => joined.map_err(failed)?,
    };
    // Number 0: it was the caller's session keyring already, keyctl(2).
    if !init || serial == 0 {
        return Ok(());
    }
    let added = if userns { OTHER_SEARCH } else { USER_SEARCH };
    let description = describe_key(serial).map_err(failed)?;
    let held = permission(&description).ok_or_else(|| failed(Errno::EBADMSG))?;
    set_key_permission(serial, held | added).map_err(failed)
}

/// KEYCTL_DESCRIBE answers `type;uid;gid;perm;description`, perm in hexadecimal.
fn permission(description: &str) -> Option<u32> {
    let field = description.split(';').nth(3)?;
    u32::from_str_radix(field, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defect_no_keyring_the_session_keyring_is_the_container_s() {
        /// `KEY_SPEC_SESSION_KEYRING`.
        const SESSION: i64 = -3;
        for (init, userns, added) in [(true, false, USER_SEARCH), (true, true, OTHER_SEARCH)] {
            let id = format!("trial-{}-{userns}", std::process::id());
            join(&id, init, userns).unwrap();
            join(&id, init, userns).unwrap();
            let Ok(description) = describe_key(SESSION) else {
                println!("skipped: this kernel has no keyrings");
                return;
            };
            assert!(
                description.ends_with(&format!(";_ses.{id}")),
                "{description}"
            );
            assert_ne!(
                permission(&description).unwrap() & added,
                0,
                "{description}"
            );
        }
    }

    #[test]
    fn permission_is_the_fourth_field() {
        for (description, expected) in [
            ("keyring;0;0;3f130000;_ses.x", Some(0x3f13_0000)),
            ("keyring;0;0;zz;_ses.x", None),
            ("keyring", None),
        ] {
            assert_eq!(permission(description), expected);
        }
    }
}
