//! The session keyring: without one of its own a container would hold the caller's keys.

use std::ffi::CString;

use nix::errno::Errno;

use super::{ProcessError, system};
use crate::sys::process::{describe_key, join_session_keyring, set_key_permissions};

/// KEY_POS_ALL of keyctl(2)'s possessor bits, and KEY_USR_SEARCH: as runc gives them.
const SEARCH_BY_OWNER: u32 = 0x0008_0000;

/// Joins the container's keyring: a new one for init, the same one, by its name, for `exec`.
pub fn join_new(id: &str, init: bool, label: Option<&str>) -> Result<(), ProcessError> {
    let name = CString::new(format!("_ses.{id}"))
        .map_err(|_| ProcessError::Refused("container id holds a NUL byte".into()))?;
    if label.is_some_and(|l| !l.is_empty()) {
        tracing::debug!("session keyring keeps the label of its maker");
    }
    let serial = match join_session_keyring(&name) {
        Ok(serial) => serial,
        // A kernel without keyrings has none to leak; a filter around us may forbid the call; a
        // full quota is the host's, and no reason not to run (runc: keys quota message).
        Err(Errno::ENOSYS | Errno::EPERM) => return Ok(()),
        Err(errno) => return Err(system("make session keyring")(errno)),
    };
    if init {
        let permissions = describe_key(serial)
            .ok()
            .and_then(|text| u32::from_str_radix(text.split(';').nth(3)?, 16).ok());
        if let Some(permissions) = permissions {
            set_key_permissions(serial, permissions | SEARCH_BY_OWNER)
                .map_err(system("set permissions of session keyring"))?;
        }
    }
    Ok(())
}
