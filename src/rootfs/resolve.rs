//! Finds, and where missing creates, mount points inside a root whose content is hostile.
//! It must not use a path of the root without openat2(2)'s `RESOLVE_IN_ROOT` or one plain component.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat, mknodat};

use crate::sys::mounts::{How, openat2};

/// The kernel's own limit for one lookup, see path_resolution(7).
const MAX_SYMLINKS: usize = 40;

/// What a missing mount point becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A directory, 0755.
    Dir,
    /// An empty file, 0644.
    File,
}

/// What symbolic links may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// They are followed, and stay inside the root.
    Follow,
    /// All but the last component are followed.
    FollowParents,
    /// Any of them is an error.
    Refuse,
}

/// A mount point.
#[derive(Debug)]
pub struct Target {
    /// `O_PATH` descriptor.
    pub fd: OwnedFd,
    /// Whether it had to be made.
    pub created: bool,
}

/// Opens `path` inside `root` with `O_PATH`.
///
/// # Errors
/// The errno of openat2(2): `ELOOP` for a link that `links` refuses and for magic links.
pub fn open(root: BorrowedFd<'_>, path: &Path, links: Links) -> Result<OwnedFd, Errno> {
    let (flags, resolve) = match links {
        Links::Follow => (0, 0),
        Links::FollowParents => (libc::O_NOFOLLOW, 0),
        Links::Refuse => (0, libc::RESOLVE_NO_SYMLINKS),
    };
    let how = How {
        flags: libc::O_PATH | flags,
        resolve: libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS | resolve,
        ..How::default()
    };
    openat2(Some(root), path, how)
}

/// Opens `path` inside `root`, making what is missing. One call when nothing is.
///
/// # Errors
/// As [`open`], and those of mkdirat(2) and mknodat(2).
pub fn open_or_create(
    root: BorrowedFd<'_>,
    path: &Path,
    want: Want,
    links: Links,
) -> Result<Target, Errno> {
    match open(root, path, links) {
        Err(Errno::ENOENT) => Walk::new(root, links).create(path, want),
        found => found.map(|fd| Target { fd, created: false }),
    }
}

/// The directory that holds `path`'s last component, made where missing, and that component.
///
/// # Errors
/// As [`open_or_create`]; `EINVAL` for a path without a last component.
pub fn parent_of<'p>(root: BorrowedFd<'_>, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Errno> {
    let name = path.file_name().ok_or(Errno::EINVAL)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let parent = open_or_create(root, parent, Want::Dir, Links::Follow)?;
    Ok((parent.fd, name))
}

/// `path` made absolute and freed of `.`, `..` and doubled slashes by its text alone.
pub fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// A walk one component at a time. `..` goes back along the way that was come, so that neither a
/// link nor a rename can lead out of the root.
struct Walk<'r> {
    root: BorrowedFd<'r>,
    links: Links,
    way: Vec<OwnedFd>,
    todo: VecDeque<OsString>,
    followed: usize,
    created: bool,
}

impl<'r> Walk<'r> {
    fn new(root: BorrowedFd<'r>, links: Links) -> Self {
        Self {
            root,
            links,
            way: Vec::new(),
            todo: VecDeque::new(),
            followed: 0,
            created: false,
        }
    }

    fn create(mut self, path: &Path, want: Want) -> Result<Target, Errno> {
        self.queue(path);
        while let Some(name) = self.todo.pop_front() {
            if name == ".." {
                self.way.pop();
                continue;
            }
            let want = if self.todo.is_empty() {
                want
            } else {
                Want::Dir
            };
            let fd = self.open_component(&name, want)?;
            if self.is_link_to_follow(&fd)? {
                self.follow(&fd)?;
            } else {
                self.way.push(fd);
            }
        }
        let fd = match self.way.pop() {
            Some(fd) => fd,
            None => component(self.root, OsStr::new("."))?,
        };
        Ok(Target {
            fd,
            created: self.created,
        })
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.way.last().map_or(self.root, |fd| fd.as_fd())
    }

    fn open_component(&mut self, name: &OsStr, want: Want) -> Result<OwnedFd, Errno> {
        match component(self.here(), name) {
            Err(Errno::ENOENT) => {}
            found => return found,
        }
        let dir = Some(self.here().as_raw_fd());
        let made = match want {
            Want::Dir => mkdirat(dir, name, Mode::from_bits_retain(0o755)),
            Want::File => mknodat(dir, name, SFlag::S_IFREG, Mode::from_bits_retain(0o644), 0),
        };
        match made {
            Ok(()) => self.created = true,
            // Somebody else was faster; the component is looked at like any other.
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        component(self.here(), name)
    }

    fn is_link_to_follow(&self, fd: &OwnedFd) -> Result<bool, Errno> {
        if !is_type(fd.as_fd(), SFlag::S_IFLNK)? {
            return Ok(false);
        }
        match self.links {
            Links::Follow => Ok(true),
            Links::FollowParents => Ok(!self.todo.is_empty()),
            Links::Refuse => Err(Errno::ELOOP),
        }
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.followed += 1;
        if self.followed > MAX_SYMLINKS {
            return Err(Errno::ELOOP);
        }
        let target = PathBuf::from(readlinkat(Some(link.as_raw_fd()), "")?);
        if target.is_absolute() {
            self.way.clear();
        }
        self.queue(&target);
        Ok(())
    }

    /// Puts the components of `path` before what is still to do.
    fn queue(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.todo.push_front(name.to_owned()),
                Component::ParentDir => self.todo.push_front("..".into()),
                _ => {}
            }
        }
    }
}

fn component(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_PATH | libc::O_NOFOLLOW,
        ..How::default()
    };
    openat2(Some(dir), Path::new(name), how)
}

/// Whether the open file is of this type.
pub fn is_type(fd: BorrowedFd<'_>, kind: SFlag) -> Result<bool, Errno> {
    let mode = fstat(fd.as_raw_fd())?.st_mode;
    Ok(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root(dir: &Path) -> OwnedFd {
        super::super::kernel::open_path(dir, libc::O_DIRECTORY).unwrap()
    }

    #[test]
    fn missing_parts_are_made_inside() {
        let temp = tempfile::tempdir().unwrap();
        let (inside, outside) = (temp.path().join("root"), temp.path().join("out"));
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("../../../../out", inside.join("relative")).unwrap();
        symlink("/run", inside.join("dangling")).unwrap();
        let root = root(&inside);
        // (destination, what it must become below the root)
        let cases = [
            ("/a/b/c", "a/b/c"),
            ("/absolute/x", &format!("{}/x", outside.display())[1..]),
            ("/relative/y", "out/y"),
            ("/dangling/secrets", "run/secrets"),
            ("/../../../z", "z"),
            ("/n/../m", "m"),
        ];
        for (destination, becomes) in cases {
            let target = open_or_create(
                root.as_fd(),
                Path::new(destination),
                Want::File,
                Links::Follow,
            )
            .unwrap();
            assert!(target.created, "{destination}");
            assert!(inside.join(becomes).is_file(), "{destination}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn links_are_refused_and_loops_end() {
        let temp = tempfile::tempdir().unwrap();
        symlink("loop", temp.path().join("loop")).unwrap();
        symlink("real", temp.path().join("link")).unwrap();
        let root = root(temp.path());
        let make = |path: &str, links| {
            open_or_create(root.as_fd(), Path::new(path), Want::Dir, links).map(|t| t.created)
        };
        assert_eq!(make("/loop/x", Links::Follow), Err(Errno::ELOOP));
        assert_eq!(make("/link", Links::Refuse), Err(Errno::ELOOP));
        assert_eq!(make("/link", Links::FollowParents), Ok(false));
        assert_eq!(make("/link", Links::Follow), Ok(true));
        assert!(temp.path().join("real").is_dir());
    }

    #[test]
    fn lexical_cleans() {
        for (path, clean) in [
            ("/proc//sys/./", "/proc/sys"),
            ("proc/../dev", "/dev"),
            ("/../..", "/"),
        ] {
            assert_eq!(lexical(Path::new(path)), Path::new(clean));
        }
    }
}
