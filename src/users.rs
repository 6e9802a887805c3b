//! The container's own user database. Opens its files as a stranger's: no device, no pipe, no end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::os::fd::AsRawFd;

/// Longest database that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// A user or group that `exec --user` names and the container doesn't have.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such line in `/etc/passwd`.
    #[error("unable to find user `{0}` in the container")]
    NoUser(String),
    /// No such line in `/etc/group`.
    #[error("unable to find group `{0}` in the container")]
    NoGroup(String),
}

/// Who `exec --user` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group: the one named, or the user's own.
    pub gid: u32,
    /// Groups that list the user as a member, when it is known by name and no group was named.
    pub additional: Vec<u32>,
}

/// Home directory of a user in the current root, `/` if unknown.
pub fn home_of(uid: u32) -> String {
    let fallback = if uid == 0 { "/root" } else { "/" };
    let Some(root) = open_root(Path::new("/")) else {
        return fallback.to_owned();
    };
    let home = lines(root.as_fd(), "etc/passwd").find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let matches = fields.get(2)?.parse() == Ok(uid);
        (matches)
            .then(|| fields.get(5).map(|h| h.to_string()))
            .flatten()
    });
    home.filter(|home| home.starts_with('/'))
        .unwrap_or_else(|| fallback.to_owned())
}

/// Name of a user of the host, or its number.
pub fn host_name_of(uid: u32) -> String {
    let root = open_root(Path::new("/"));
    let name = database(root.as_ref(), "etc/passwd")
        .into_iter()
        .find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.get(2)?.parse() == Ok(uid)).then(|| fields.first().map(|n| n.to_string()))?
        });
    name.unwrap_or_else(|| format!("#{uid}"))
}

/// Resolves `uid`, `name`, `uid:gid`, `name:group` in the root file system at `root`.
///
/// # Errors
/// A name that the container doesn't have.
pub fn resolve(root: &Path, text: &str) -> Result<Identity, UserError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (text, None),
    };
    let root = open_root(root);
    let passwd: Vec<String> = database(root.as_ref(), "etc/passwd");
    let entry = passwd.iter().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (
            *fields.first()?,
            fields.get(2)?.parse().ok()?,
            fields.get(3)?.parse().ok()?,
        );
        (name == user || user.parse() == Ok(uid)).then(|| (name.to_owned(), uid, gid))
    });
    let (name, uid, own_gid) = match (entry, user.parse::<u32>()) {
        (Some((name, uid, gid)), _) => (Some(name), uid, gid),
        (None, Ok(uid)) => (None, uid, 0),
        (None, Err(_)) => return Err(UserError::NoUser(user.to_owned())),
    };
    let groups: Vec<String> = database(root.as_ref(), "etc/group");
    match group {
        Some(group) => Ok(Identity {
            uid,
            gid: group_id(&groups, group)?,
            additional: Vec::new(),
        }),
        None => Ok(Identity {
            uid,
            gid: own_gid,
            additional: name.map_or_else(Vec::new, |name| memberships(&groups, &name)),
        }),
    }
}

fn group_id(groups: &[String], text: &str) -> Result<u32, UserError> {
    let by_name = groups.iter().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&text))
            .then(|| fields.get(2)?.parse().ok())
            .flatten()
    });
    by_name
        .or_else(|| text.parse().ok())
        .ok_or_else(|| UserError::NoGroup(text.to_owned()))
}

fn memberships(groups: &[String], name: &str) -> Vec<u32> {
    groups
        .iter()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let member = fields.get(3)?.split(',').any(|member| member == name);
            member.then(|| fields.get(2)?.parse().ok()).flatten()
        })
        .collect()
}

fn open_root(path: &Path) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty()).ok()?;
    Some(crate::sys::fd::adopt(fd))
}

fn database(root: Option<&OwnedFd>, path: &str) -> Vec<String> {
    root.map_or_else(Vec::new, |root| lines(root.as_fd(), path).collect())
}

/// The lines of a regular file below `root`; none when it isn't there or isn't one.
fn lines(root: BorrowedFd<'_>, path: &str) -> impl Iterator<Item = String> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = openat2(root.as_raw_fd(), path, how)
        .ok()
        .map(|fd| File::from(crate::sys::fd::adopt(fd)))
        .filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()));
    file.into_iter()
        .flat_map(|file| BufReader::new(file.take(LONGEST)).lines())
        .map_while(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n";
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        let group = "root:x:0:\nwww:x:44:\nlog:x:50:other,web\n";
        std::fs::write(dir.path().join("etc/group"), group).unwrap();
        dir
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let root = root();
        let id = |uid, gid, additional: &[u32]| Identity {
            uid,
            gid,
            additional: additional.to_vec(),
        };
        let table = [
            ("web", id(33, 44, &[50])),
            ("33", id(33, 44, &[50])),
            ("web:root", id(33, 0, &[])),
            ("7:8", id(7, 8, &[])),
            ("7", id(7, 0, &[])),
            ("7:log", id(7, 50, &[])),
            ("root", id(0, 0, &[])),
        ];
        for (text, expected) in table {
            assert_eq!(resolve(root.path(), text).unwrap(), expected, "{text}");
        }
        assert!(resolve(root.path(), "nobody").is_err());
        assert!(resolve(root.path(), "web:none").is_err());
    }

    #[test]
    fn a_database_that_leads_outside_is_not_followed() {
        let root = root();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "evil:x:1:1::/:\n").unwrap();
        let passwd = root.path().join("etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink(outside.path(), &passwd).unwrap();
        assert!(resolve(root.path(), "evil").is_err());
        std::fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(resolve(root.path(), "evil").is_err());
    }
}
