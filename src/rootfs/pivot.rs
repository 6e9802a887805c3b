//! Makes the container's root the root of the process: pivot_root(2), or the ways without it.
//! It must not change anything inside the container's root.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, fchdir, pivot_root};
use procfs::process::{MountInfo, Process};

use super::error::RootfsError;
use super::kernel;
use super::prepare::Prepared;

impl Prepared {
    /// Changes the root and ends in its `/`. `no_pivot` moves the mount instead, for a host whose
    /// root is an initramfs. Without a mount namespace it is a chroot(2).
    ///
    /// # Errors
    /// [`RootfsError`] at `root.path`.
    pub fn pivot(&self, no_pivot: bool) -> Result<(), RootfsError> {
        let at = format!("root.path `{}`", self.root_path.display());
        let done = if !self.facts.mount_ns {
            self.chroot()
                .map_err(RootfsError::sys(&at, "change the root"))
        } else if no_pivot {
            self.move_root(&at)
        } else {
            pivot_to(self.root.as_fd()).map_err(RootfsError::sys(&at, "pivot to the root"))
        };
        done?;
        chdir("/").map_err(RootfsError::sys(&at, "change to the new root"))
    }

    /// Makes the root this process's alone and ends in its `/`: for a helper, where another one
    /// pivots.
    ///
    /// # Errors
    /// [`RootfsError`] at `root.path`.
    pub fn step_in(&self) -> Result<(), RootfsError> {
        self.chroot().map_err(RootfsError::sys(
            format_args!("root.path `{}`", self.root_path.display()),
            "change the root",
        ))
    }

    fn chroot(&self) -> Result<(), Errno> {
        fchdir(self.root.as_raw_fd())?;
        chroot(".")
    }

    /// Moving the root leaves the host's mounts reachable by those who know how, so at least no
    /// complete proc and sysfs stay behind: they would let a user namespace mount fresh ones.
    fn move_root(&self, at: &str) -> Result<(), RootfsError> {
        hide_proc_and_sysfs(&self.root_path)
            .map_err(RootfsError::sys(at, "hide the host's proc and sysfs"))?;
        fchdir(self.root.as_raw_fd())
            .and_then(|()| mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>))
            .and_then(|()| chroot("."))
            .map_err(RootfsError::sys(at, "move the root"))
    }
}

/// The old root ends up stacked on the new one, see pivot_root(2), `pivot_root(".", ".")`.
pub(super) fn pivot_to(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let old = kernel::open_path(Path::new("/"), libc::O_DIRECTORY)?;
    fchdir(root.as_raw_fd())?;
    pivot_root(".", ".")?;
    fchdir(old.as_raw_fd())?;
    // What is unmounted here must stay mounted for the host.
    set_here(MsFlags::MS_SLAVE | MsFlags::MS_REC)?;
    umount2(".", MntFlags::MNT_DETACH)
}

fn set_here(flags: MsFlags) -> Result<(), Errno> {
    mount(None::<&str>, ".", None::<&str>, flags, None::<&str>)
}

fn hide_proc_and_sysfs(root: &Path) -> Result<(), Errno> {
    let infos = Process::myself()
        .and_then(|me| me.mountinfo())
        .map_err(|_| Errno::EIO)?;
    let complete = |info: &MountInfo| {
        info.root == "/"
            && matches!(info.fs_type.as_str(), "proc" | "sysfs")
            && !info.mount_point.starts_with(root)
    };
    // The last first: what is stacked or below goes before what it lies on.
    for info in infos.0.iter().rev().filter(|info| complete(info)) {
        let path = info.mount_point.as_path();
        mount(
            None::<&str>,
            path,
            None::<&str>,
            MsFlags::MS_SLAVE | MsFlags::MS_REC,
            None::<&str>,
        )?;
        match umount2(path, MntFlags::MNT_DETACH) {
            // Locked by a user namespace.
            Err(Errno::EINVAL | Errno::EPERM) => mount(
                Some("tmpfs"),
                path,
                Some("tmpfs"),
                MsFlags::empty(),
                None::<&str>,
            )?,
            done => done?,
        }
    }
    Ok(())
}
