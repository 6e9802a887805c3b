//! The home directory that the container's `/etc/passwd` gives a user id.
//! It must not trust the file: a rootfs may put a pipe, a device or a link to anywhere there.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{OFlag, ResolveFlag};

use crate::sys::process::open_below;

/// No passwd file is this long; a rootfs must not make us read without end.
const LIMIT: u64 = 4 << 20;

/// The home of `uid` according to `etc/passwd` below `root`, or `/`, as runc falls back to.
#[must_use]
pub fn home(root: &Path, uid: u32) -> String {
    let found = read(root).and_then(|text| find(&text, uid));
    found.unwrap_or_else(|| "/".to_owned())
}

fn read(root: &Path) -> Option<String> {
    let directory = (OFlag::O_PATH | OFlag::O_DIRECTORY).bits();
    let mut options = OpenOptions::new();
    let root = options.read(true).custom_flags(directory).open(root).ok()?;
    // NONBLOCK and NOCTTY so that a pipe or a terminal in its place neither blocks nor sticks.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let file = File::from(open_below(root.as_fd(), "etc/passwd", flags, resolve).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// passwd(5): `name:password:uid:gid:gecos:home:shell`.
fn find(text: &str, uid: u32) -> Option<String> {
    let line = text.lines().find(|line| {
        let id = line.split(':').nth(2);
        id.and_then(|id| id.parse::<u32>().ok()) == Some(uid)
    })?;
    let home = line.split(':').nth(5).filter(|home| !home.is_empty());
    home.map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

    fn root_with(passwd: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        root
    }

    #[test]
    fn home_comes_from_the_first_entry_of_the_id() {
        let root =
            root_with("root:x:0:0::/root:/bin/sh\nbad\nu:x:7:7::/a:\nv:x:7:7::/b:\nw:x:8:8:::\n");
        for (uid, expected) in [(0, "/root"), (7, "/a"), (8, "/"), (9, "/")] {
            assert_eq!(home(root.path(), uid), expected, "{uid}");
        }
    }

    #[test]
    fn links_stay_inside_the_root() {
        let root = root_with("");
        let passwd = root.path().join("etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        std::fs::write(root.path().join("real"), "u:x:0:0::/inside:").unwrap();
        std::os::unix::fs::symlink("../../../../real", &passwd).unwrap();
        assert_eq!(home(root.path(), 0), "/inside");
        std::fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink("/proc/self/fd/0", &passwd).unwrap();
        assert_eq!(home(root.path(), 0), "/");
    }

    #[test]
    fn a_pipe_in_its_place_does_not_block() {
        let root = root_with("");
        let passwd = root.path().join("etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, Mode::S_IRWXU).unwrap();
        assert_eq!(home(root.path(), 0), "/");
    }
}
