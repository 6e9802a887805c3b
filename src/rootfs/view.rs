//! Mount namespaces that the command enters for a while: the container's own, and the host's as a
//! user namespace would see it. It must not change any mount.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{fstat, stat};
use nix::unistd::{chroot, fchdir};

use super::kernel::{open_path, open_read};
use crate::sys::mounts::NamespaceHolder;

/// A place to return to: entering a mount namespace moves root and working directory to its top.
#[derive(Debug)]
struct Place {
    namespace: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Place {
    fn here() -> Result<Self, Errno> {
        Ok(Self {
            namespace: open_read(Path::new("/proc/self/ns/mnt"))?,
            root: open_path(Path::new("/"), libc::O_DIRECTORY)?,
            cwd: open_path(Path::new("."), libc::O_DIRECTORY)?,
        })
    }

    fn go(&self) -> Result<(), Errno> {
        setns(&self.namespace, CloneFlags::CLONE_NEWNS)?;
        fchdir(self.root.as_raw_fd())?;
        chroot(".")?;
        fchdir(self.cwd.as_raw_fd())
    }
}

/// The way back, taken at the latest when it is dropped.
#[derive(Debug)]
struct Return {
    place: Place,
    done: bool,
}

impl Return {
    fn go(mut self) -> Result<(), Errno> {
        self.done = true;
        self.place.go()
    }
}

impl Drop for Return {
    fn drop(&mut self) {
        if !self.done {
            // On an error's way out, or in a chroot: the caller fails anyway or notices by itself.
            if let Err(errno) = self.place.go() {
                tracing::error!("return to the host's mount namespace: {errno}");
            }
        }
    }
}

/// A new mount namespace, a copy of the host's, which the command is in while this lives.
///
/// What it clones there, or lets a child clone that it makes meanwhile, begins and ends in one
/// namespace: the kernel clones only mounts of the caller's own (open_tree(2)).
#[derive(Debug)]
pub struct OwnNamespace {
    back: Return,
}

impl OwnNamespace {
    /// Makes and enters it. The process must be single-threaded.
    ///
    /// # Errors
    /// The errno of unshare(2) or of opening what is needed to come back.
    pub fn enter() -> Result<Self, Errno> {
        let place = Place::here()?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        Ok(Self {
            back: Return { place, done: false },
        })
    }

    /// Calls `body` in the host's namespace.
    ///
    /// # Errors
    /// The errno of going there or coming back; the process must not go on then.
    pub fn outside<T>(&self, body: impl FnOnce() -> T) -> Result<T, Errno> {
        let inside = Place::here()?;
        self.back.place.go()?;
        let done = body();
        inside.go()?;
        Ok(done)
    }

    /// What leads back to the host: a child that goes into a container has to close it.
    pub fn ways_back(&self) -> [RawFd; 3] {
        let place = &self.back.place;
        [&place.namespace, &place.root, &place.cwd].map(AsRawFd::as_raw_fd)
    }

    /// Goes back to the host's mounts, root and working directory.
    ///
    /// # Errors
    /// The errno of the call that failed; the process must not go on then.
    pub fn leave(self) -> Result<(), Errno> {
        self.back.go()
    }
}

/// While it lives, this process sees the host's mounts as a user namespace below the host's does:
/// what is read-only, nosuid, covered and so on there is locked on every clone (mount_namespaces(7),
/// "Restrictions on mount namespaces"), and root of the container can't undo it.
///
/// The process keeps its own user namespace, so it can still open what only the host's root can.
#[derive(Debug)]
pub struct LockedView {
    back: Return,
}

impl LockedView {
    /// Enters the view. `None` when this process is in a chroot: paths would mean something else in
    /// the view.
    ///
    /// # Errors
    /// The errno of clone3(2), setns(2) or of opening what is needed to come back.
    pub fn enter() -> Result<Option<Self>, Errno> {
        let back = Return {
            place: Place::here()?,
            done: false,
        };
        let holder = NamespaceHolder::new(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        let view = open_read(Path::new(&format!("/proc/{}/ns/mnt", holder.pid())))?;
        setns(view.as_fd(), CloneFlags::CLONE_NEWNS)?;
        let (old, new) = (fstat(back.place.root.as_raw_fd())?, stat("/")?);
        let same = (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino);
        Ok(same.then_some(Self { back }))
    }

    /// Goes back to the host's mounts, root and working directory.
    ///
    /// # Errors
    /// The errno of the call that failed; the process must not go on then.
    pub fn leave(self) -> Result<(), Errno> {
        self.back.go()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked;

    #[test]
    fn the_command_goes_in_and_out() {
        let namespace = || stat("/proc/self/ns/mnt").unwrap().st_ino;
        let seen = forked::run(
            CloneFlags::empty(),
            |_| (),
            || {
                std::env::set_current_dir("/usr").unwrap();
                let host = namespace();
                let own = OwnNamespace::enter().unwrap();
                let inside = namespace();
                assert_ne!(host, inside);
                assert_eq!(own.outside(namespace).unwrap(), host);
                assert_eq!(namespace(), inside);
                own.leave().unwrap();
                assert_eq!(namespace(), host);
                drop(OwnNamespace::enter().unwrap());
                assert_eq!(namespace(), host);
                let cwd = std::env::current_dir().unwrap();
                Ok(cwd.display().to_string())
            },
        );
        assert_eq!(seen.unwrap(), "/usr");
    }
}
