//! Finds the file behind `args[0]`, in the container and with the rights of the user's process.
//! It must not execute anything, and its texts are runc's: callers tell 126 from 127 by them.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, faccessat};

use super::{ProcessError, Reason};

/// Resolves `name` as runc does: with a slash as it stands, otherwise along `path`, the PATH of the
/// process; no PATH finds nothing. Call it as the final user, in the final working directory.
///
/// # Errors
/// runc's five: not in `$PATH`, relative entry, stat, directory, permission.
pub fn find(name: &str, path: Option<&str>) -> Result<String, ProcessError> {
    if name.contains('/') {
        return check(name).map(|()| name.to_owned());
    }
    let missing = || ProcessError::NotInPath(name.to_owned());
    let path = path.filter(|path| !path.is_empty()).ok_or_else(missing)?;
    let entries = path
        .split(':')
        .map(|entry| if entry.is_empty() { "." } else { entry });
    for entry in entries.filter(|_| !name.is_empty()) {
        let candidate = format!("{}/{name}", entry.trim_end_matches('/'));
        if check(&candidate).is_ok() {
            return match Path::new(&candidate).is_absolute() {
                true => Ok(candidate),
                false => Err(ProcessError::Relative(name.to_owned())),
            };
        }
    }
    Err(missing())
}

fn check(file: &str) -> Result<(), ProcessError> {
    let refused = |errno| ProcessError::NotExecutable(file.to_owned(), Reason(errno));
    let found = stat(file).map_err(|e| ProcessError::Missing(file.to_owned(), Reason(e)))?;
    if SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR {
        return Err(refused(Errno::EISDIR));
    }
    // Effective ids and capabilities count, as they will in execve(2): mode 0700 is enough for the owner.
    faccessat(None, file, AccessFlags::X_OK, AtFlags::AT_EACCESS).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;
    use std::os::unix::fs::PermissionsExt;

    fn text(result: Result<String, ProcessError>) -> String {
        match result {
            Ok(found) => found,
            Err(error) => match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        }
    }

    #[test]
    fn defect_exec_of_a_missing_command_reads_as_in_runc() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for (name, mode) in [("yes", 0o755), ("owner", 0o700), ("no", 0o644)] {
            std::fs::write(at(name), "").unwrap();
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::create_dir(at("dir")).unwrap();
        let path = format!("/nowhere:{}/", dir.path().display());
        let q = |name: &str| format!("exec: {:?}", at(name));
        for (name, path, expected) in [
            ("yes", Some(path.as_str()), at("yes")),
            ("owner", Some(&path), at("owner")),
            (
                "no",
                Some(&path),
                "exec: \"no\": executable file not found in $PATH".into(),
            ),
            (
                "dir",
                Some(&path),
                "exec: \"dir\": executable file not found in $PATH".into(),
            ),
            (
                "foo",
                Some(&path),
                "exec: \"foo\": executable file not found in $PATH".into(),
            ),
            (
                "yes",
                None,
                "exec: \"yes\": executable file not found in $PATH".into(),
            ),
            (
                "yes",
                Some(""),
                "exec: \"yes\": executable file not found in $PATH".into(),
            ),
            (
                "",
                Some(&path),
                "exec: \"\": executable file not found in $PATH".into(),
            ),
            (&at("yes"), None, at("yes")),
            (
                &at("foo"),
                None,
                format!(
                    "{}: stat {}: no such file or directory",
                    q("foo"),
                    at("foo")
                ),
            ),
            (
                &at("yes/x"),
                None,
                format!("{}: stat {}: not a directory", q("yes/x"), at("yes/x")),
            ),
            (&at("dir"), None, format!("{}: is a directory", q("dir"))),
            (&at("no"), None, format!("{}: permission denied", q("no"))),
            (
                "src/lib.rs",
                None,
                "exec: \"src/lib.rs\": permission denied".into(),
            ),
        ] {
            assert_eq!(text(find(name, path)), expected, "{name}");
        }
    }
}
