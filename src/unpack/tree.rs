//! The root that is being filled: finds directories safely, makes and replaces files, remembers
//! what has to be set at the end. It must not read archives.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use std::os::unix::ffi::OsStrExt;

use super::attributes::{self, DirTail};
use super::{UnpackError, kernel, refused};
use crate::archive::{Entry, Kind};
use crate::rootfs::resolve::{self, Links, Want};
use crate::sys::mounts::{How, openat2};

/// Directories that are kept open: a path's neighbours mostly follow it.
const KEPT_OPEN: usize = 64;

/// The root and what is known of it.
pub struct Tree {
    root: Rc<OwnedFd>,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    /// What directories get when nothing changes in them any more.
    tails: BTreeMap<Vec<u8>, DirTail>,
    empty: bool,
}

impl Tree {
    pub fn new(root: OwnedFd) -> Self {
        Self {
            root: Rc::new(root),
            open: HashMap::new(),
            // An archive need not have an entry for the root.
            tails: BTreeMap::from([(Vec::new(), DirTail::default())]),
            empty: true,
        }
    }

    /// Whether nothing was unpacked so far.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// The directory at `path`, made where missing.
    fn dir(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        if let Some(fd) = self.open.get(path) {
            return Ok(fd.clone());
        }
        let fd = match open_dir(self.root.as_fd(), path) {
            Err(Errno::ENOENT) => self.missing_dir(path)?,
            found => found.map_err(kernel("open directory", path))?,
        };
        Ok(self.keep(path, fd))
    }

    fn keep(&mut self, path: &[u8], fd: OwnedFd) -> Rc<OwnedFd> {
        if self.open.len() >= KEPT_OPEN {
            self.open.clear();
        }
        let fd = Rc::new(fd);
        self.open.insert(path.to_vec(), fd.clone());
        fd
    }

    /// A directory that no entry describes: root's, and as old as time, so that the result is
    /// always the same.
    fn missing_dir(&mut self, path: &[u8]) -> Result<OwnedFd, UnpackError> {
        let (parent, name) = split(path);
        let parent = self.dir(parent)?;
        let name = c_string(name)?;
        self.empty = false;
        let mode = Mode::from_bits_truncate(0o755);
        match mkdirat(Some(parent.as_raw_fd()), name.as_c_str(), mode) {
            // A link to something that isn't there: that is made, inside the root.
            Err(Errno::EEXIST) => {
                let path_inside = Path::new(OsStr::from_bytes(path));
                let made = resolve::open_or_create(
                    self.root.as_fd(),
                    path_inside,
                    Want::Dir,
                    Links::Follow,
                );
                return made
                    .map(|target| target.fd)
                    .map_err(kernel("make directory", path));
            }
            made => made.map_err(kernel("make directory", path))?,
        }
        self.tails.insert(path.to_vec(), DirTail::default());
        open_component(parent.as_fd(), &name).map_err(kernel("open directory", path))
    }

    fn parent<'p>(&mut self, path: &'p [u8]) -> Result<(Rc<OwnedFd>, CString), UnpackError> {
        let (parent, name): (&'p [u8], _) = split(path);
        Ok((self.dir(parent)?, c_string(name)?))
    }

    /// Runs `make`, which must fail with EEXIST where something is; that is removed first then.
    fn replace<T>(
        &mut self,
        path: &[u8],
        doing: &'static str,
        make: impl Fn(BorrowedFd<'_>, &CStr) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let (parent, name) = self.parent(path)?;
        self.empty = false;
        let made = match make(parent.as_fd(), &name) {
            Err(Errno::EEXIST) => {
                self.remove_at(parent.as_fd(), &name, path)?;
                make(parent.as_fd(), &name)
            }
            made => made,
        };
        made.map_err(kernel(doing, path))
    }

    /// A new empty regular file.
    pub fn new_file(&mut self, path: &[u8], entry: &Entry) -> Result<File, UnpackError> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        // Setuid only once the owner is right: chown(2) clears it anyway.
        let how = How {
            flags,
            mode: entry.mode & 0o777,
            resolve: libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS,
        };
        let fd = self.replace(path, "make file", |dir, name| {
            openat2(
                Some(dir),
                Path::new(OsStr::from_bytes(name.to_bytes())),
                how,
            )
        })?;
        Ok(File::from(fd))
    }

    /// A link, a device or a pipe.
    pub fn special(&mut self, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let mode = Mode::from_bits_truncate(entry.mode & 0o777);
        match &entry.kind {
            Kind::Symlink(target) => self.replace(path, "make link", |dir, name| {
                symlinkat(target.as_slice(), Some(dir.as_raw_fd()), name)
            })?,
            kind => {
                let (kind, major, minor) = match kind {
                    Kind::Char(major, minor) => (SFlag::S_IFCHR, *major, *minor),
                    Kind::Block(major, minor) => (SFlag::S_IFBLK, *major, *minor),
                    _ => (SFlag::S_IFIFO, 0, 0),
                };
                let device = nix::sys::stat::makedev(major.into(), minor.into());
                self.replace(path, "make device", |dir, name| {
                    mknodat(Some(dir.as_raw_fd()), name, kind, mode, device)
                })?;
            }
        }
        let (parent, name) = self.parent(path)?;
        attributes::of_special(parent.as_fd(), &name, path, entry)
    }

    /// One more name of a file that is there.
    pub fn hard_link(&mut self, target: &[u8], path: &[u8]) -> Result<(), UnpackError> {
        if target == path {
            return Ok(());
        }
        if target.is_empty() {
            return Err(refused(path, "hard link to the root"));
        }
        let (from, old) = self.parent(target)?;
        let link = |dir: BorrowedFd<'_>, name: &CStr| {
            let (from, to) = (Some(from.as_raw_fd()), Some(dir.as_raw_fd()));
            // Without AT_SYMLINK_FOLLOW: a link to a link is one.
            linkat(from, old.as_c_str(), to, name, AtFlags::empty())
        };
        self.replace(path, "make hard link", link)
    }

    /// A directory with an entry of its own.
    pub fn dir_entry(&mut self, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let (parent, name) = self.parent(path)?;
        self.empty = false;
        let mode = Mode::from_bits_truncate(0o700);
        let mut existed = false;
        match mkdirat(Some(parent.as_raw_fd()), name.as_c_str(), mode) {
            Err(Errno::EEXIST) => {
                existed = is_dir(&stat_at(parent.as_fd(), &name).map_err(kernel("look at", path))?);
                if !existed {
                    self.remove_at(parent.as_fd(), &name, path)?;
                    mkdirat(Some(parent.as_raw_fd()), name.as_c_str(), mode)
                        .map_err(kernel("make directory", path))?;
                }
            }
            made => made.map_err(kernel("make directory", path))?,
        }
        let how = How {
            flags: libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
            ..How::default()
        };
        let fd = openat2(
            Some(parent.as_fd()),
            Path::new(OsStr::from_bytes(name.to_bytes())),
            how,
        )
        .map_err(kernel("open directory", path))?;
        let tail = attributes::of_dir(fd.as_fd(), path, entry, existed)?;
        self.tails.insert(path.to_vec(), tail);
        self.keep(path, fd);
        Ok(())
    }

    /// The entry of the root itself.
    pub fn root_dir(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        let fd = reopen(self.root.as_fd()).map_err(kernel("open", b"/"))?;
        let tail = attributes::of_dir(fd.as_fd(), b"/", entry, true)?;
        self.tails.insert(Vec::new(), tail);
        Ok(())
    }

    /// Removes what is at `path`, if anything is.
    pub fn remove(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        let (parent, name) = split(path);
        match open_dir(self.root.as_fd(), parent) {
            Ok(parent) => self.remove_at(parent.as_fd(), &c_string(name)?, path),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
            Err(errno) => Err(kernel("open directory", parent)(errno)),
        }
    }

    fn remove_at(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
    ) -> Result<(), UnpackError> {
        let stat = match stat_at(dir, name) {
            Err(Errno::ENOENT) => return Ok(()),
            stat => stat.map_err(kernel("look at", path))?,
        };
        match SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) {
            SFlag::S_IFDIR => self.forget(path),
            // Open directories may have been reached through it.
            SFlag::S_IFLNK => self.open.clear(),
            _ => {}
        }
        remove_tree(dir, name, is_dir(&stat)).map_err(kernel("remove", path))
    }

    fn forget(&mut self, path: &[u8]) {
        self.open.clear();
        let below = [path, b"/"].concat();
        self.tails.remove(path);
        self.tails.retain(|known, _| !known.starts_with(&below));
    }

    /// The names in the directory at `path`; none where there is no directory.
    pub fn names(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, bool)>, UnpackError> {
        let dir = match open_dir(self.root.as_fd(), path) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
            dir => dir.map_err(kernel("open directory", path))?,
        };
        let names = names(dir.as_fd()).map_err(kernel("read directory", path))?;
        let with_kind = |name: CString| {
            let stat = stat_at(dir.as_fd(), &name)?;
            Ok((name.into_bytes(), is_dir(&stat)))
        };
        let all: Result<_, Errno> = names.into_iter().map(with_kind).collect();
        all.map_err(kernel("read directory", path))
    }

    /// Whether a directory is at `path`.
    pub fn is_dir(&mut self, path: &[u8]) -> Result<bool, UnpackError> {
        let (parent, name) = self.parent(path)?;
        match stat_at(parent.as_fd(), &name) {
            Err(Errno::ENOENT) => Ok(false),
            stat => Ok(is_dir(&stat.map_err(kernel("look at", path))?)),
        }
    }

    /// Marks the directory at `path` as hiding what lower layers have, for overlayfs.
    pub fn mark_opaque(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        let dir = self.dir(path)?;
        let fd = reopen(dir.as_fd()).map_err(kernel("open", path))?;
        crate::sys::mounts::set_xattr(fd.as_fd(), c"trusted.overlay.opaque", b"y")
            .map_err(kernel("mark", path))
    }

    /// Puts a device 0:0 at `path`: "not there" to overlayfs.
    pub fn mark_removed(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        self.replace(path, "mark", |dir, name| {
            mknodat(
                Some(dir.as_raw_fd()),
                name,
                SFlag::S_IFCHR,
                Mode::empty(),
                0,
            )
        })
    }

    /// Sets what directories had to wait for.
    pub fn finish(mut self) -> Result<(), UnpackError> {
        self.open.clear();
        let Self { root, tails, .. } = self;
        for (path, tail) in tails {
            // A directory that a later layer reached by another name may be gone.
            let opened = open_for_attributes(root.as_fd(), &path);
            match opened {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                fd => tail.apply(fd.map_err(kernel("open", &path))?.as_fd(), &path)?,
            }
        }
        Ok(())
    }
}

/// Parent and last component of a clean path.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn c_string(name: &[u8]) -> Result<CString, UnpackError> {
    CString::new(name).map_err(|_| refused(name, "NUL byte in the path"))
}

/// Links on the way are followed as the container would: they can't leave the root.
const INSIDE: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_XDEV;

fn open_dir(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_PATH | libc::O_DIRECTORY,
        resolve: INSIDE,
        ..How::default()
    };
    openat2(Some(root), as_path(path), how)
}

fn open_for_attributes(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
        resolve: INSIDE,
        ..How::default()
    };
    openat2(Some(root), as_path(path), how)
}

fn as_path(path: &[u8]) -> &Path {
    match path {
        b"" => Path::new("."),
        path => Path::new(OsStr::from_bytes(path)),
    }
}

fn open_component(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW,
        ..How::default()
    };
    openat2(Some(dir), as_path(name.to_bytes()), how)
}

/// The same directory, for reading.
fn reopen(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_RDONLY | libc::O_DIRECTORY,
        ..How::default()
    };
    openat2(Some(dir), Path::new("."), how)
}

fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<FileStat, Errno> {
    fstatat(Some(dir.as_raw_fd()), name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn is_dir(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFDIR
}

fn names(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(Some(dir.as_raw_fd()), ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes a file, or a directory with all that is in it.
fn remove_tree(dir: BorrowedFd<'_>, name: &CStr, is_directory: bool) -> Result<(), Errno> {
    if !is_directory {
        return unlinkat(Some(dir.as_raw_fd()), name, UnlinkatFlags::NoRemoveDir);
    }
    let inner = open_component(dir, name)?;
    for child in names(inner.as_fd())? {
        let stat = stat_at(inner.as_fd(), &child)?;
        remove_tree(inner.as_fd(), &child, is_dir(&stat))?;
    }
    unlinkat(Some(dir.as_raw_fd()), name, UnlinkatFlags::RemoveDir)
}
