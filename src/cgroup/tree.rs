//! Walking cgroups that a container may have made below its own, of any depth and number.
//! It must not follow names outside of the tree: everything is opened relative to a parent.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

const FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// A directory on the way down, with its children not yet visited.
struct Frame {
    name: CString,
    children: Vec<CString>,
}

/// Calls `enter` with every directory (parents first) and `leave` with every one but the
/// topmost (children first), as its parent and its name.
///
/// Two descriptors at most are open at a time, and names stay short of PATH_MAX, whatever the
/// depth: a container chooses it. A directory that vanishes meanwhile is skipped.
pub(super) fn walk(
    top: &Path,
    mut enter: impl FnMut(&Dir) -> io::Result<()>,
    mut leave: impl FnMut(&Dir, &CStr) -> io::Result<()>,
) -> io::Result<()> {
    let mut current = open(top)?;
    enter(&current)?;
    let mut stack = vec![frame(c"".to_owned(), &mut current)?];
    while let Some(last) = stack.last_mut() {
        if let Some(child) = last.children.pop() {
            let fd = Some(current.as_raw_fd());
            current = match Dir::openat(fd, child.as_c_str(), FLAGS, Mode::empty()) {
                Ok(dir) => dir,
                Err(Errno::ENOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            enter(&current)?;
            stack.push(frame(child, &mut current)?);
        } else {
            let done = stack.pop().map(|frame| frame.name);
            if let (Some(name), false) = (done, stack.is_empty()) {
                current = Dir::openat(Some(current.as_raw_fd()), c"..", FLAGS, Mode::empty())?;
                leave(&current, &name)?;
            }
        }
    }
    Ok(())
}

/// Opens the topmost directory.
pub(super) fn open(top: &Path) -> io::Result<Dir> {
    Ok(Dir::open(top, FLAGS, Mode::empty())?)
}

fn frame(name: CString, dir: &mut Dir) -> io::Result<Frame> {
    let mut children = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        let child = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && child != c"." && child != c".." {
            children.push(child.to_owned());
        }
    }
    Ok(Frame { name, children })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{UnlinkatFlags, unlinkat};

    #[test]
    fn a_tree_deeper_than_path_max_is_walked_and_removed() {
        let top = tempfile::tempdir().unwrap();
        let name = "n".repeat(200);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::open(top.path(), flags, Mode::empty()).unwrap();
        for _ in 0..60 {
            let fd = Some(dir.as_raw_fd());
            nix::sys::stat::mkdirat(fd, name.as_str(), Mode::S_IRWXU).unwrap();
            nix::sys::stat::mkdirat(fd, "leaf", Mode::S_IRWXU).unwrap();
            dir = Dir::openat(fd, name.as_str(), flags, Mode::empty()).unwrap();
        }
        let mut seen = 0;
        let count = |_: &Dir| {
            seen += 1;
            Ok(())
        };
        walk(top.path(), count, |parent, name| {
            let fd = Some(parent.as_raw_fd());
            Ok(unlinkat(fd, name, UnlinkatFlags::RemoveDir)?)
        })
        .unwrap();
        assert_eq!(seen, 121);
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0);
    }
}
