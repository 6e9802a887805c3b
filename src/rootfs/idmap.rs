//! User namespaces that carry the id mappings of idmapped mounts.
//! It must not touch any mount.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use oci_spec::runtime::LinuxIdMapping;

use super::kernel::open_read;
use crate::sys::mounts::NamespaceHolder;

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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::sys::stat::fstat;

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
