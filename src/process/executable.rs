//! Finds the user's program and words what is wrong with it. Looks with the rights of the user
//! that the process already is, in the root that it already has.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::ProcessError;
use crate::error::Kind;

/// Resolves `command` the way that runc's callers know: a name with a slash is a path, another is
/// looked for in `path`.
pub fn find(command: &CStr, path: &str) -> Result<CString, ProcessError> {
    let name = command.to_string_lossy().into_owned();
    if name.contains('/') {
        return check(command).map(|()| command.to_owned()).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR => Kind::NoSuchExecutable(name).into(),
            Errno::EISDIR => Kind::ExecutableIsDirectory(name).into(),
            Errno::EACCES | Errno::EPERM => Kind::ExecutableDenied(name).into(),
            source => ProcessError::Exec { path: name, source },
        });
    }
    let mut denied = false;
    for directory in path.split(':') {
        // An empty element is the working directory, execvp(3).
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = Path::new(directory).join(&name);
        let Ok(candidate) = CString::new(candidate.as_os_str().as_bytes()) else {
            continue;
        };
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => denied = true,
            Err(_) => {}
        }
    }
    Err(if denied {
        Kind::ExecutableDenied(name).into()
    } else {
        Kind::ExecutableNotFound(name).into()
    })
}

fn check(path: &CStr) -> Result<(), Errno> {
    let stat = nix::sys::stat::stat(path)?;
    let kind = nix::sys::stat::SFlag::from_bits_truncate(stat.st_mode) & nix::sys::stat::SFlag::S_IFMT;
    if kind == nix::sys::stat::SFlag::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    match crate::sys::process::may_execute(&path.to_owned()) {
        // The check with effective ids is emulated by C libraries without faccessat2, and wrongly
        // so for capabilities: execve has the last word.
        Err(Errno::ENOSYS) => Ok(()),
        other => other,
    }
}

/// Words a failed execve(2).
pub fn exec_error(path: &CStr, errno: Errno) -> ProcessError {
    let name = path.to_string_lossy().into_owned();
    match errno {
        Errno::ENOENT => Kind::NoInterpreter(name).into(),
        Errno::EACCES => Kind::ExecutableDenied(name).into(),
        source => ProcessError::Exec { path: name, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn text(command: &str, path: &str) -> String {
        match find(&CString::new(command).unwrap(), path) {
            Ok(found) => found.to_string_lossy().into_owned(),
            Err(error) => crate::error::one_line(&error),
        }
    }

    #[test]
    fn programs_are_found_and_what_is_wrong_is_said_in_callers_words() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        for (name, mode) in [("run", 0o700), ("plain", 0o644)] {
            std::fs::write(at(name), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = format!("/nowhere:{}", dir.path().display());
        assert_eq!(text("run", &path), at("run"));
        assert_eq!(text(&at("run"), ""), at("run"));
        assert_eq!(
            text("nope", &path),
            "exec: \"nope\": executable file not found in $PATH"
        );
        assert_eq!(text("plain", &path), "exec: \"plain\": permission denied");
        let missing = at("missing");
        assert_eq!(
            text(&missing, ""),
            format!("exec: \"{missing}\": stat {missing}: no such file or directory")
        );
        assert_eq!(text(&at("plain"), ""), format!("exec: \"{}\": permission denied", at("plain")));
        let directory = dir.path().display().to_string();
        assert_eq!(
            text(&directory, ""),
            format!("exec: \"{directory}\": is a directory: permission denied")
        );
    }
}
