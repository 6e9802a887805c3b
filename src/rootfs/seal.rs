//! The last step, in the container's root: what must be read-only or hidden becomes so.
//! It must not make anything: paths that are missing are left missing.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libcontainer::syscall::linux as k;
use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};

use super::devices::{is_null, open_null};
use super::error::RootfsError;
use super::kernel::{self, NewFs};
use super::options::Scope;
use super::plan::PlannedPath;
use super::prepare::Prepared;
use crate::sys::mounts::{How, openat2};

impl Prepared {
    /// Read-only mounts, read-only paths, masked paths, the read-only root and its propagation. To be called after [`Prepared::pivot`], when nothing is created any more.
    ///
    /// # Errors
    /// [`RootfsError`] at the path that couldn't be covered.
    pub fn seal(&self) -> Result<(), RootfsError> {
        for (at, mount) in &self.read_only_late {
            kernel::set_read_only(mount.as_fd()).map_err(RootfsError::sys(at, "make read-only"))?;
        }
        for path in &self.readonly {
            make_read_only(path)?;
        }
        self.mask()?;
        if self.root_readonly {
            kernel::set_read_only(self.root.as_fd())
                .map_err(RootfsError::sys("root.readonly", "make the root read-only"))?;
        }
        // Last: from an unbindable root nothing above could have been cloned.
        if let Some((scope, flag)) = self.propagation.of_root() {
            kernel::set_propagation(self.root.as_fd(), scope, flag).map_err(RootfsError::sys(
                "linux.rootfsPropagation",
                "set the propagation of the root",
            ))?;
        }
        Ok(())
    }

    fn mask(&self) -> Result<(), RootfsError> {
        let mut covers = Covers::default();
        for path in &self.masked {
            let Some(target) = open(path)? else { continue };
            let stat = fstat(target.as_raw_fd()).map_err(RootfsError::sys(path, "stat"))?;
            if is_null(&stat) {
                continue;
            }
            let is_dir = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
            let cover = if is_dir {
                covers.empty_dir(self.label.as_deref())
            } else {
                covers.null()
            };
            let cover = cover.map_err(|error| at_path(path, error))?;
            kernel::attach(cover.as_fd(), target.as_fd())
                .map_err(RootfsError::sys(path, "mask"))?;
        }
        Ok(())
    }
}

/// What masks a path: made once, cloned for each further one.
#[derive(Default)]
struct Covers {
    null: Option<OwnedFd>,
    dir: Option<OwnedFd>,
}

impl Covers {
    fn null(&mut self) -> Result<OwnedFd, RootfsError> {
        let null = match &self.null {
            Some(null) => null,
            None => self.null.insert(open_null(libc::O_PATH)?),
        };
        clone(null.as_fd())
    }

    fn empty_dir(&mut self, label: Option<&str>) -> Result<OwnedFd, RootfsError> {
        if let Some(dir) = &self.dir {
            return clone(dir.as_fd());
        }
        let made = empty_tmpfs(label).map_err(RootfsError::sys("mask", "make an empty tmpfs"))?;
        // A descriptor of the same mount: it can be cloned as soon as the first one is attached.
        let again = made
            .try_clone()
            .map_err(|_| RootfsError::sys("mask", "keep the empty tmpfs")(Errno::last()))?;
        self.dir = Some(again);
        Ok(made)
    }
}

fn clone(fd: BorrowedFd<'_>) -> Result<OwnedFd, RootfsError> {
    kernel::clone_fd(fd, Scope::Top).map_err(RootfsError::sys("mask", "clone the cover"))
}

fn empty_tmpfs(label: Option<&str>) -> Result<OwnedFd, Errno> {
    let fs = NewFs::open("tmpfs")?;
    fs.set("source", "tmpfs")?;
    // Nobody can write to it, and nobody could fill it.
    fs.set("nr_blocks", "1")?;
    fs.set("nr_inodes", "1")?;
    if let Some(label) = label {
        fs.set("context", label)?;
    }
    fs.mount(k::MOUNT_ATTR_RDONLY)
}

/// Names the path in an error that happened while its cover was made.
fn at_path(path: &PlannedPath, error: RootfsError) -> RootfsError {
    match error {
        RootfsError::Sys { at, what, source } => RootfsError::Sys {
            at: path.to_string(),
            what: format!("{at}: {what}"),
            source,
        },
        RootfsError::Refused { at, why } => RootfsError::Refused {
            at: path.to_string(),
            why: format!("{at} {why}"),
        },
    }
}

fn make_read_only(path: &PlannedPath) -> Result<(), RootfsError> {
    let Some(target) = open(path)? else {
        return Ok(());
    };
    kernel::clone_fd(target.as_fd(), Scope::Tree)
        .and_then(|tree| {
            kernel::set_read_only(tree.as_fd())?;
            kernel::attach(tree.as_fd(), target.as_fd())
        })
        .map_err(RootfsError::sys(path, "make read-only"))
}

/// `None` when there is nothing at the path, which both lists allow.
fn open(path: &PlannedPath) -> Result<Option<OwnedFd>, RootfsError> {
    let how = How {
        flags: libc::O_PATH,
        resolve: libc::RESOLVE_NO_MAGICLINKS,
        ..How::default()
    };
    match openat2(None, &path.path, how) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(RootfsError::sys(path, "open")(errno)),
    }
}
