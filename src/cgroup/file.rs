//! Reading and writing the small files of cgroup file systems.
//! It must not know what any of the files means.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::CgroupError;

/// Writes `value` in one write(2), never creating the file: on cgroup file systems a
/// missing file is a missing feature.
pub(super) fn write(dir: &Path, name: &str, value: &str) -> Result<(), CgroupError> {
    let path = dir.join(name);
    open_for_write(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| CgroupError::Write {
            path,
            value: value.to_owned(),
            source,
        })
}

pub(super) fn open_for_write(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// The whole file, without white space at its end.
pub(super) fn read(dir: &Path, name: &str) -> Result<String, CgroupError> {
    let path = dir.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(source) => Err(CgroupError::Read { path, source }),
    }
}

/// As `read`, with `None` for a file (or a controller's whole set of files) that isn't there.
pub(super) fn read_optional(dir: &Path, name: &str) -> Result<Option<String>, CgroupError> {
    match read(dir, name) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An unsigned number; `max` is `u64::MAX` (cgroup-v2.rst, "Format"), and so is a negative one
/// that means no limit on version 1.
pub(super) fn read_number(dir: &Path, name: &str) -> Result<Option<u64>, CgroupError> {
    let Some(text) = read_optional(dir, name)? else {
        return Ok(None);
    };
    match text.as_str() {
        "max" => Ok(Some(u64::MAX)),
        // runc reads the few files with a sign in them as 0.
        negative if negative.starts_with('-') => Ok(Some(0)),
        number => number
            .parse()
            .map(Some)
            .map_err(|_| malformed(dir, name, &text)),
    }
}

/// The value of `key` in a flat keyed file ("key value" lines).
pub(super) fn read_key(dir: &Path, name: &str, key: &str) -> Result<Option<u64>, CgroupError> {
    Ok(read_optional(dir, name)?.and_then(|text| keyed(&text, key)))
}

/// The value of `key` in the text of a flat keyed file.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    pairs(text)
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

/// All "key value" lines; lines of another form are left out, as kernels add new ones.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

pub(super) fn malformed(dir: &Path, name: &str, value: &str) -> CgroupError {
    CgroupError::Malformed {
        path: dir.join(name),
        value: value.to_owned(),
    }
}

/// ENODEV is what a file says whose cgroup was removed while it was open.
pub(super) fn is_absent(error: &CgroupError) -> bool {
    matches!(error.errno(), Some(libc::ENOENT | libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("17\n", Some(17)),
            ("max\n", Some(u64::MAX)),
            ("-1\n", Some(0)),
            ("9223372036854771712", Some(9_223_372_036_854_771_712)),
        ] {
            std::fs::write(dir.path().join("f"), text).unwrap();
            assert_eq!(read_number(dir.path(), "f").unwrap(), expected, "{text:?}");
        }
        assert_eq!(read_number(dir.path(), "none").unwrap(), None);
        std::fs::write(dir.path().join("f"), "many").unwrap();
        assert!(read_number(dir.path(), "f").is_err());
    }

    #[test]
    fn a_missing_file_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(dir.path(), "memory.max", "1").is_err());
        assert!(!dir.path().join("memory.max").exists());
    }

    #[test]
    fn keys_are_whole_words() {
        let text = "oom 3\noom_kill 5\nstrange\n";
        assert_eq!(keyed(text, "oom_kill"), Some(5));
        assert_eq!(keyed(text, "oom"), Some(3));
        assert_eq!(keyed(text, "o"), None);
    }
}
