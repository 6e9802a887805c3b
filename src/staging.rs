//! Things that are made beside their place and moved there when they are complete: a reader sees
//! the whole or nothing. It must not know what they are.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, RenameFlags, renameat2};

/// Between the name of what is made and what tells two makers apart.
const MARK: &str = ".pxrun-part-";

/// A file or directory in the making; removed when dropped before [`Staging::commit`].
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    target: PathBuf,
    /// Held as long as somebody works on it, which tells it from what a killed process left.
    _lock: Flock<File>,
    committed: bool,
}

/// What may be at the target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Refuse,
    /// Anything: it is replaced.
    Replace,
}

impl Staging {
    /// Begins a directory (0700) that is to become `target`.
    ///
    /// # Errors
    /// From the file system.
    pub fn dir(target: &Path) -> io::Result<Self> {
        Self::begin(target, |path| {
            DirBuilder::new().mode(0o700).create(path)?;
            File::open(path)
        })
    }

    /// Begins a file (0600) that is to become `target`, and opens it.
    ///
    /// # Errors
    /// From the file system.
    pub fn file(target: &Path) -> io::Result<(Self, File)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let staging = Self::begin(target, |path| options.open(path))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&staging.path)?;
        Ok((staging, file))
    }

    fn begin(target: &Path, make: impl Fn(&Path) -> io::Result<File>) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        remove_abandoned(parent, Some(name))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        hidden.push(format!("{MARK}{}-{next}", std::process::id()));
        let path = parent.join(hidden);
        let made = make(&path)?;
        let lock = Flock::lock(made, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::from(errno))?;
        Ok(Self {
            path,
            target: target.to_path_buf(),
            _lock: lock,
            committed: false,
        })
    }

    /// Where it is made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is to be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Changes where it is to be, for one whose name shows only at the end. In the same directory.
    pub fn aim(&mut self, target: &Path) {
        self.target = target.to_path_buf();
    }

    /// Moves it to its place.
    ///
    /// # Errors
    /// `AlreadyExists` when something is there and may not be; what was made is removed then.
    pub fn commit(mut self, existing: Existing) -> io::Result<()> {
        match existing {
            Existing::Refuse => self.rename(RenameFlags::RENAME_NOREPLACE)?,
            Existing::Replace => match self.rename(RenameFlags::RENAME_EXCHANGE) {
                // What was there stands under the hidden name now, and goes.
                Ok(()) => remove(&self.path)?,
                Err(Errno::ENOENT) => self.rename(RenameFlags::RENAME_NOREPLACE)?,
                Err(errno) => return Err(errno.into()),
            },
        }
        self.committed = true;
        if let Some(parent) = self.target.parent().filter(|p| !p.as_os_str().is_empty()) {
            // The new name is on disk when this returns; not every file system can say so.
            let _ = File::open(parent).and_then(|dir| dir.sync_all());
        }
        Ok(())
    }

    fn rename(&self, flags: RenameFlags) -> nix::Result<()> {
        renameat2(None, &self.path, None, &self.target, flags)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.committed {
            let _ = remove(&self.path);
        }
    }
}

/// Removes a file, or a directory with all that is in it.
///
/// # Errors
/// From the file system; nothing there is none.
pub fn remove(path: &Path) -> io::Result<()> {
    let done = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// What killed processes left in `dir`, for `name` or for any.
///
/// # Errors
/// From the file system.
pub fn abandoned(dir: &Path, name: Option<&std::ffi::OsStr>) -> io::Result<Vec<PathBuf>> {
    let wanted = |found: &str| match name {
        Some(name) => found.starts_with(&format!(".{}{MARK}", name.to_string_lossy())),
        None => found.starts_with('.') && found.contains(MARK),
    };
    let mut left = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !wanted(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let Ok(file) = options.open(entry.path()) else {
            continue;
        };
        let ours = file.metadata()?.uid() == nix::unistd::geteuid().as_raw();
        if ours && Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            left.push(entry.path());
        }
    }
    Ok(left)
}

fn remove_abandoned(dir: &Path, name: Option<&std::ffi::OsStr>) -> io::Result<()> {
    for path in abandoned(dir, name)? {
        remove(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn appears_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("t");
        drop(Staging::dir(&target).unwrap());
        assert!(names(temp.path()).is_empty());
        let staging = Staging::dir(&target).unwrap();
        fs::write(staging.path().join("f"), "1").unwrap();
        assert!(!target.exists());
        staging.commit(Existing::Refuse).unwrap();
        assert_eq!(names(temp.path()), ["t"]);
        let again = Staging::dir(&target).unwrap();
        let error = again.commit(Existing::Refuse).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(temp.path()), ["t"]);
        let again = Staging::dir(&target).unwrap();
        again.commit(Existing::Replace).unwrap();
        assert_eq!(names(temp.path()), ["t"]);
        assert!(names(&target).is_empty());
    }

    #[test]
    fn leftovers_of_the_dead_go_and_work_of_the_living_stays() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("t");
        let dead = temp.path().join(".t.pxrun-part-1-0");
        let other = temp.path().join(".other.pxrun-part-1-0");
        fs::create_dir_all(dead.join("sub")).unwrap();
        fs::create_dir(&other).unwrap();
        let living = Staging::dir(&target).unwrap();
        assert!(!dead.exists());
        let second = Staging::file(&target).unwrap();
        assert!(living.path().exists());
        assert!(other.exists());
        drop(second);
        assert_eq!(abandoned(temp.path(), None).unwrap(), [other]);
    }
}
