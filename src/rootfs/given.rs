//! What somebody else has mounted for the container, in its own mount namespace: the root itself in
//! place of the bundle's directory, or mounts below it. It must not know who that was.

use std::fs::{File, FileTimes, Permissions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::fstat;

use super::error::RootfsError;
use super::kernel;
use super::options::Scope;
use super::prepare::Prepared;
use super::resolve::{self, Links, Want};

/// What goes into the container of a root that is mounted already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// The root with all that is mounted below it.
    pub root: bool,
    /// Otherwise these mounts below it, in the order in which they were made.
    pub mounts: Vec<PathBuf>,
    /// The directory whose owner, mode and times the root gets: what filled it can't have set them.
    pub like: Option<PathBuf>,
}

impl Prepared {
    /// Takes from what is mounted at `left`; in the container's mount namespace, before anything is
    /// attached there.
    ///
    /// # Errors
    /// [`RootfsError`] at `root.path` or the mount.
    pub fn take(&mut self, left: &Path, given: &Given) -> Result<(), RootfsError> {
        let at = "root.path";
        let top = kernel::open_path(left, libc::O_DIRECTORY)
            .map_err(RootfsError::sys(at, "open what is mounted for it"))?;
        if given.root {
            uncover(left, top.as_fd())?;
            self.root = self.clone_given(at, top.as_fd())?;
            // A shared top would carry the container's mounts away, and pivot_root(2) refuses it.
            if self.propagation.leaves_shared() {
                kernel::set_propagation(self.root.as_fd(), Scope::Top, MsFlags::MS_PRIVATE)
                    .map_err(RootfsError::sys(at, "set the propagation"))?;
            }
            return Ok(());
        }
        for path in &given.mounts {
            let at = path.display().to_string();
            let mount = resolve::open(top.as_fd(), path, Links::Refuse)
                .map_err(RootfsError::sys(&at, "open what is mounted there"))?;
            let tree = self.clone_given(&at, mount.as_fd())?;
            self.given.push((path.clone(), tree));
        }
        Ok(())
    }

    fn clone_given(&self, at: &str, mount: BorrowedFd<'_>) -> Result<OwnedFd, RootfsError> {
        let tree = kernel::clone_fd(mount, Scope::Tree)
            .map_err(RootfsError::sys(at, "clone what is mounted there"))?;
        if let Some(flag) = self.propagation.of_clones() {
            kernel::set_propagation(tree.as_fd(), Scope::Tree, flag)
                .map_err(RootfsError::sys(at, "set the propagation"))?;
        }
        Ok(tree)
    }

    /// Attaches the mounts that were taken, before those of the configuration.
    pub(super) fn attach_given(&mut self) -> Result<(), RootfsError> {
        for (path, tree) in std::mem::take(&mut self.given) {
            let at = path.display().to_string();
            let target =
                resolve::open_or_create(self.root.as_fd(), &path, Want::Dir, Links::Refuse)
                    .map_err(RootfsError::sys(&at, "open the place of the mount"))?;
            kernel::attach(tree.as_fd(), target.fd.as_fd())
                .map_err(RootfsError::sys(&at, "attach"))?;
        }
        Ok(())
    }
}

/// What covers `/dev` of the root is for whoever has mounted it.
fn uncover(left: &Path, top: BorrowedFd<'_>) -> Result<(), RootfsError> {
    let at = "root.path";
    let Ok(dev) = resolve::open(top, Path::new("/dev"), Links::Refuse) else {
        return Ok(());
    };
    let device = |fd: BorrowedFd<'_>| fstat(fd.as_raw_fd()).map(|stat| stat.st_dev);
    let (root, dev) = (device(top), device(dev.as_fd()));
    if root.map_err(RootfsError::sys(at, "stat"))? == dev.map_err(RootfsError::sys(at, "stat"))? {
        return Ok(());
    }
    let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    umount2(&left.join("dev"), flags).map_err(RootfsError::sys(at, "uncover `/dev`"))
}

/// Gives the directory `root` owner, mode and times of `like`, with the host's rights.
///
/// # Errors
/// From the file system.
pub fn make_alike(root: &Path, like: &Path) -> std::io::Result<()> {
    let meta = std::fs::metadata(like)?;
    let root = File::open(root)?;
    std::os::unix::fs::fchown(&root, Some(meta.uid()), Some(meta.gid()))?;
    root.set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
    root.set_times(FileTimes::new().set_modified(meta.modified()?))
}
