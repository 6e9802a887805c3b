//! Which container a first process belongs to: `<root>/@inits/<pid>` is a symbolic link whose text is
//! the id. So the container that another one joins is found without reading every record. What
//! stands here may be stale; the record decides.

use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The directory's name: one that no container can have.
const NAME: &str = "@inits";

/// The pids that are written down, each with its container's id; `None` where there is none.
pub fn all(root: &Path) -> Option<Vec<(i32, String)>> {
    let entries = std::fs::read_dir(root.join(NAME)).ok()?;
    let known = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let id = std::fs::read_link(entry.path()).ok()?;
        Some((pid, id.to_str()?.to_owned()))
    });
    Some(known.collect())
}

/// Writes down that `pid` is the first process of `id`.
///
/// # Errors
/// From the file system.
pub fn add(root: &Path, pid: i32, id: &str) -> std::io::Result<()> {
    let link = place(root, pid);
    loop {
        let error = match std::os::unix::fs::symlink(id, &link) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match error.kind() {
            // There never was one, or somebody's `remove` took the last one's directory.
            ErrorKind::NotFound => make_place(root)?,
            ErrorKind::AlreadyExists if is_of(&link, id) => return Ok(()),
            // Of a container that has gone without a word.
            ErrorKind::AlreadyExists => match std::fs::remove_file(&link) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            _ => return Err(error),
        }
    }
}

fn make_place(root: &Path) -> std::io::Result<()> {
    let made = std::fs::DirBuilder::new()
        .mode(0o700)
        .create(root.join(NAME));
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Forgets `pid`, if it is still `id`'s. Where it can't be, somebody's `add` replaces it. The last
/// one takes the directory with it.
pub fn remove(root: &Path, pid: i32, id: &str) {
    let link = place(root, pid);
    if is_of(&link, id) {
        let _ = std::fs::remove_file(link);
        let _ = std::fs::remove_dir(root.join(NAME));
    }
}

fn is_of(link: &Path, id: &str) -> bool {
    std::fs::read_link(link).is_ok_and(|text| text == Path::new(id))
}

fn place(root: &Path, pid: i32) -> PathBuf {
    root.join(NAME).join(pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_to_have_a_pid_has_it() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(all(root.path()), None);
        add(root.path(), 7, "a").unwrap();
        add(root.path(), 7, "a").unwrap();
        add(root.path(), 7, "b").unwrap();
        remove(root.path(), 7, "a");
        assert_eq!(all(root.path()), Some(vec![(7, "b".to_owned())]));
        remove(root.path(), 7, "b");
        assert_eq!(all(root.path()), None);
        assert!(!root.path().join(NAME).exists());
    }
}
