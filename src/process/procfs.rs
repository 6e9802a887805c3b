//! Opens the caller's own files below `/proc` inside a container, and only on a genuine procfs.
//! It must not be used for other processes: `self` is all it resolves.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::{ProcessError, Reason};
use crate::sys::process::open_below;

/// `PROC_ROOT_INO` of the kernel: no bind mount of a part of procfs has it.
const ROOT_INODE: u64 = 1;

/// Writes `text` in one write(2) to `/proc/self/<path>`, after making sure that it is that file.
///
/// A rootfs or a mount may have put a plain file there, which would swallow a label (CVE-2019-16884).
///
/// # Errors
/// `Proc` when the file can't be reached safely; the write's errno comes back as the inner error.
pub fn write_self(path: &str, text: &str) -> Result<Result<(), Reason>, ProcessError> {
    let mut file = open_self(path, OFlag::O_WRONLY).map_err(|errno| ProcessError::Proc {
        path: format!("self/{path}"),
        source: Reason(errno),
    })?;
    // One write(2): the kernel takes a label whole or not at all, and an empty one clears it.
    Ok(match file.write(text.as_bytes()) {
        Ok(length) if length == text.len() => Ok(()),
        Ok(_) => Err(Reason(Errno::EIO)),
        Err(error) => Err(error.into()),
    })
}

fn open_self(path: &str, flags: OFlag) -> nix::Result<File> {
    let directory = (OFlag::O_PATH | OFlag::O_DIRECTORY).bits();
    let mut options = OpenOptions::new();
    let proc = options.read(true).custom_flags(directory).open("/proc");
    let proc = proc.map_err(|error| Reason::from(error).0)?;
    let inode = proc
        .metadata()
        .map_err(|error| Reason::from(error).0)?
        .ino();
    if fstatfs(&proc)?.filesystem_type() != PROC_SUPER_MAGIC || inode != ROOT_INODE {
        return Err(Errno::ENOTSUP);
    }
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_XDEV
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    open_below(proc.as_fd(), &format!("self/{path}"), flags, resolve).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_reach_the_kernel_and_report_its_answer() {
        write_self("comm", "a-name").unwrap().unwrap();
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(name, "a-name\n");
        let refused = write_self("oom_score_adj", "9999").unwrap().unwrap_err();
        assert_eq!(refused, Reason(Errno::EINVAL));
    }

    #[test]
    fn paths_that_leave_procfs_are_refused() {
        for path in ["cwd/x", "root/etc/passwd", "../../etc/passwd", "nothing"] {
            let error = write_self(path, "x").unwrap_err();
            assert!(
                matches!(error, ProcessError::Proc { .. }),
                "{path}: {error}"
            );
        }
    }
}
