//! User namespaces that carry the id mappings of idmapped mounts, and the view of the host's mounts
//! that a container with a user namespace may have. It must not touch any mount.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;
use nix::unistd::{chroot, fchdir};
use oci_spec::runtime::LinuxIdMapping;

use super::kernel::open_path;
use crate::sys::mounts::{How, NamespaceHolder, openat2};

/// Where the mapping of an idmapped mount comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// The lines of `uid_map` and `gid_map`, see user_namespaces(7).
    Lines {
        /// For users.
        uids: String,
        /// For groups.
        gids: String,
    },
    /// The user namespace that the container joins.
    Namespace(std::path::PathBuf),
}

impl Mapping {
    /// From the `uidMappings` and `gidMappings` of a mount or of the container; `None` unless both
    /// are there.
    pub fn from_spec(
        uids: Option<&Vec<LinuxIdMapping>>,
        gids: Option<&Vec<LinuxIdMapping>>,
    ) -> Option<Self> {
        let (uids, gids) = (lines(uids?), lines(gids?));
        (!uids.is_empty() && !gids.is_empty()).then_some(Self::Lines { uids, gids })
    }
}

fn lines(mappings: &[LinuxIdMapping]) -> String {
    mappings
        .iter()
        .map(|m| format!("{} {} {}\n", m.container_id(), m.host_id(), m.size()))
        .collect()
}

/// One user namespace for each distinct mapping.
#[derive(Debug, Default)]
pub struct UserNamespaces {
    made: Vec<(Mapping, OwnedFd)>,
}

impl UserNamespaces {
    /// The user namespace with this mapping, made on first use.
    ///
    /// # Errors
    /// The errno of clone3(2), of opening the namespace, or of writing the maps (user_namespaces(7)
    /// lists when they are refused).
    pub fn get(&mut self, mapping: &Mapping) -> Result<BorrowedFd<'_>, Errno> {
        let at = match self.made.iter().position(|(made, _)| made == mapping) {
            Some(at) => at,
            None => {
                self.made.push((mapping.clone(), open_userns(mapping)?));
                self.made.len() - 1
            }
        };
        Ok(self.made[at].1.as_fd())
    }
}

fn open_userns(mapping: &Mapping) -> Result<OwnedFd, Errno> {
    let (uids, gids) = match mapping {
        Mapping::Namespace(path) => return open_read(path),
        Mapping::Lines { uids, gids } => (uids, gids),
    };
    let holder = NamespaceHolder::new(CloneFlags::CLONE_NEWUSER)?;
    let proc = format!("/proc/{}", holder.pid());
    let write = |file: &str, text: &str| {
        fs::write(format!("{proc}/{file}"), text)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    };
    write("uid_map", uids)?;
    write("gid_map", gids)?;
    open_read(Path::new(&format!("{proc}/ns/user")))
}

fn open_read(path: &Path) -> Result<OwnedFd, Errno> {
    let how = How {
        flags: libc::O_RDONLY,
        ..How::default()
    };
    openat2(None, path, how)
}

/// While it lives, this process sees the host's mounts as a user namespace below the host's does:
/// what is read-only, nosuid, covered and so on there is locked on every clone (mount_namespaces(7),
/// "Restrictions on mount namespaces"), and root of the container can't undo it.
///
/// The process keeps its own user namespace, so it can still open what only the host's root can.
#[derive(Debug)]
pub struct LockedView {
    namespace: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
    left: bool,
}

impl LockedView {
    /// Enters the view. `None` when this process is in a chroot: paths would mean something else in
    /// the view.
    ///
    /// # Errors
    /// The errno of clone3(2), setns(2) or of opening what is needed to come back.
    pub fn enter() -> Result<Option<Self>, Errno> {
        let back = Self {
            namespace: open_read(Path::new("/proc/self/ns/mnt"))?,
            root: open_path(Path::new("/"), libc::O_DIRECTORY)?,
            cwd: open_path(Path::new("."), libc::O_DIRECTORY)?,
            left: false,
        };
        let holder = NamespaceHolder::new(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        let view = open_read(Path::new(&format!("/proc/{}/ns/mnt", holder.pid())))?;
        setns(&view, CloneFlags::CLONE_NEWNS)?;
        let (old, new) = (fstat(back.root.as_raw_fd())?, nix::sys::stat::stat("/")?);
        Ok(((old.st_dev, old.st_ino) == (new.st_dev, new.st_ino)).then_some(back))
    }

    /// Goes back to the host's mounts, root and working directory.
    ///
    /// # Errors
    /// The errno of the call that failed; the process must not go on then.
    pub fn leave(mut self) -> Result<(), Errno> {
        self.left = true;
        self.back()
    }

    fn back(&self) -> Result<(), Errno> {
        setns(&self.namespace, CloneFlags::CLONE_NEWNS)?;
        fchdir(self.root.as_raw_fd())?;
        chroot(".")?;
        fchdir(self.cwd.as_raw_fd())
    }
}

impl Drop for LockedView {
    fn drop(&mut self) {
        if !self.left {
            // On an error's way out, or in a chroot: the caller fails anyway or notices by itself.
            if let Err(errno) = self.back() {
                tracing::error!("return to the host's mount namespace: {errno}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_for_each_mapping() {
        let map = |host: u32| Mapping::Lines {
            uids: format!("0 {host} 10\n"),
            gids: format!("0 {host} 10\n"),
        };
        let mut all = UserNamespaces::default();
        let inode = |all: &mut UserNamespaces, host| {
            fstat(all.get(&map(host)).unwrap().as_raw_fd())
                .unwrap()
                .st_ino
        };
        let first = inode(&mut all, 1000);
        assert_eq!(first, inode(&mut all, 1000));
        assert_ne!(first, inode(&mut all, 2000));
        let bad = Mapping::Lines {
            uids: "nonsense".into(),
            gids: String::new(),
        };
        assert_eq!(all.get(&bad).unwrap_err(), Errno::EINVAL);
    }
}
