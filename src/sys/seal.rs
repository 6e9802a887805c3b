//! Keeps the host's pxrun binary out of reach of containers: a process in a container can open
//! `/proc/PID/exe` of ours, and an entry point may be `/proc/self/exe` itself (CVE-2019-5736).
//! Closes what was inherited for the same reason. Must run before anything else of a command that
//! enters a container.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use libcontainer::syscall::Syscall;
use libcontainer::syscall::linux::{LinuxSyscall, MountAttr};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MemFdCreateFlag, memfd_create};

/// Tells the program that is executed again by which path it can be found.
const PATH_VARIABLE: &str = "PXRUN_EXECUTABLE";

/// Where this very program lies on the host: for others that shall execute it.
///
/// A detached mount has no path, so the one who sealed it says where it was; believed only if the
/// file there is the one that runs.
///
/// # Errors
/// ENOENT when the program runs from a copy in memory, or the file was replaced meanwhile.
pub fn own_path() -> std::io::Result<std::path::PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let path = match std::env::var_os(PATH_VARIABLE) {
        Some(path) => path.into(),
        None => std::fs::read_link("/proc/self/exe")?,
    };
    let (own, there) = (
        std::fs::metadata("/proc/self/exe")?,
        std::fs::metadata(&path)?,
    );
    match (own.dev(), own.ino()) == (there.dev(), there.ino()) {
        true => Ok(path),
        false => Err(std::io::ErrorKind::NotFound.into()),
    }
}

/// Why the binary could not be put out of reach.
#[derive(Debug, thiserror::Error)]
#[error("seal own executable: {what}")]
pub struct SealError {
    what: &'static str,
    #[source]
    source: std::io::Error,
}

fn failed(what: &'static str) -> impl FnOnce(Errno) -> SealError {
    move |errno| SealError {
        what,
        source: errno.into(),
    }
}

/// Whether the file's owner or group gave this process rights that its caller doesn't have.
pub fn is_set_id() -> bool {
    use nix::unistd::{getegid, geteuid, getgid, getuid};
    geteuid() != getuid() || getegid() != getgid()
}

/// Makes sure that `/proc/self/exe` can't be written through, executing this program once more
/// when it has to: from a detached read-only mount of the file, or, where mounting isn't allowed,
/// from a sealed copy in memory.
///
/// # Errors
/// Neither way worked.
pub fn ensure_sealed() -> Result<(), SealError> {
    let own = File::open("/proc/self/exe").map_err(|source| SealError {
        what: "open",
        source,
    })?;
    if is_sealed(&own) {
        return Ok(());
    }
    match read_only_mount() {
        Ok(exe) => Err(execute(&exe)),
        Err(_) => Err(execute(&sealed_copy(own)?)),
    }
}

/// Closes every descriptor above standard error but the first `kept`. An inherited one may be a
/// directory of the host, and close-on-exec isn't enough against it: execve(2) looks
/// `/proc/self/fd/N/…` up before it closes anything (CVE-2024-21626).
///
/// # Errors
/// The kernel has no close_range(2) (before Linux 5.9).
pub fn close_inherited(kept: u32) -> Result<(), SealError> {
    let first = kept.saturating_add(3);
    // SAFETY: nothing has been opened yet that lives longer than its scope: the numbers from
    // `first` up belong to nobody in this process.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    Errno::result(closed)
        .map(drop)
        .map_err(failed("close inherited descriptors"))
}

fn is_sealed(own: &File) -> bool {
    let all = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    let seals = fcntl(own.as_raw_fd(), FcntlArg::F_GET_SEALS).unwrap_or(0);
    SealFlag::from_bits_truncate(seals).contains(all)
        || nix::sys::statvfs::fstatvfs(own)
            .is_ok_and(|fs| fs.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}

/// A private mount of the one file. Once this descriptor is closed the mount belongs to no
/// namespace and nobody can change its flags any more.
fn read_only_mount() -> Result<OwnedFd, libcontainer::syscall::SyscallError> {
    let kernel = LinuxSyscall;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let tree = kernel.open_tree(libc::AT_FDCWD, Some("/proc/self/exe"), flags)?;
    let read_only = MountAttr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    kernel.mount_setattr(
        tree.as_fd(),
        std::path::Path::new(""),
        libc::AT_EMPTY_PATH as u32,
        &read_only,
        size_of::<MountAttr>(),
    )?;
    Ok(tree)
}

fn sealed_copy(mut own: File) -> Result<OwnedFd, SealError> {
    let flags = MemFdCreateFlag::MFD_CLOEXEC | MemFdCreateFlag::MFD_ALLOW_SEALING;
    let copy = memfd_create(c"pxrun", flags).map_err(failed("memfd_create"))?;
    let mut copy = File::from(copy);
    copy_all(&mut own, &mut copy).map_err(|source| SealError {
        what: "copy",
        source,
    })?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(copy.as_raw_fd(), FcntlArg::F_ADD_SEALS(seals)).map_err(failed("add seals"))?;
    // A descriptor open for writing could not be executed.
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let read_only = File::open(path).map_err(|source| SealError {
        what: "reopen copy",
        source,
    })?;
    Ok(read_only.into())
}

fn copy_all(from: &mut File, to: &mut File) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    from.rewind()?;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n])?,
        }
    }
}

/// execveat(2) of a descriptor with this process's own arguments and environment.
fn execute(exe: &OwnedFd) -> SealError {
    let strings = |list: Vec<Vec<u8>>| -> Vec<CString> {
        list.into_iter()
            .filter_map(|bytes| CString::new(bytes).ok())
            .collect()
    };
    let argv = strings(std::env::args_os().map(OsStringExt::into_vec).collect());
    let path = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let own = (PATH_VARIABLE.into(), path.into_os_string());
    let envp = strings(
        std::env::vars_os()
            .filter(|(key, _)| key != PATH_VARIABLE)
            .chain([own])
            .map(|(key, value)| [key.into_vec(), value.into_vec()].join(&b'='))
            .collect(),
    );
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        let nulls = std::iter::once(std::ptr::null());
        list.iter().map(|s| s.as_ptr()).chain(nulls).collect()
    };
    let (argv_p, envp_p) = (pointers(&argv), pointers(&envp));
    // The descriptor is close-on-exec: after the call only the running image refers to the mount.
    // SAFETY: both arrays end with a null pointer and point into strings that outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            exe.as_raw_fd(),
            c"".as_ptr(),
            argv_p.as_ptr(),
            envp_p.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    failed("execute")(Errno::last())
}
