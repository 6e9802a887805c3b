//! Which container a first process belongs to: `<root>/@inits/<pid>` is a symbolic link whose text is
//! the id. So the container that another one joins is found without reading every record. What
//! stands here may be stale; the record decides.

use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The directory's name: one that no container can have.
const NAME: &str = "@inits";

/// The pids that are written down, each with its container's id; `None` where nobody ever wrote
/// one.
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
pub fn add(root: &Path, pid: i32, id: &str) -> std::io::Result<()> {
    let link = place(root, pid);
    let make = || std::os::unix::fs::symlink(id, &link);
    match make() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::DirBuilder::new()
                .mode(0o700)
                .recursive(true)
                .create(root.join(NAME))?;
            make()
        }
        // Of a container that has gone without a word, or this one's own.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if std::fs::read_link(&link).is_ok_and(|text| text == Path::new(id)) {
                return Ok(());
            }
            match std::fs::remove_file(&link) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => make(),
            }
        }
        made => made,
    }
}

/// Forgets `pid`, if it is still `id`'s. Where it can't be, somebody's `add` replaces it.
pub fn remove(root: &Path, pid: i32, id: &str) {
    let link = place(root, pid);
    if std::fs::read_link(&link).is_ok_and(|text| text == Path::new(id)) {
        let _ = std::fs::remove_file(link);
    }
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
        assert_eq!(all(root.path()), Some(vec![]));
    }
}
