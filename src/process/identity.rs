//! Who the process is and where it stands: user, groups, working directory, owner of its stdio.
//! It must not look at capabilities, save that they outlive the switch of the user.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl::set_keepcaps;
use nix::sys::stat::{fstat, stat};
use nix::unistd::{Gid, Uid, chdir, fchown, getcwd, setgroups, setresgid, setresuid};
use oci_spec::runtime::User;

use super::{ProcessError, Reason};

/// Becomes `user` inside `cwd`, keeping the permitted capabilities.
///
/// The directory is tried as root first and again as the user, as in runc: one of the two may reach
/// a directory that the other can't.
///
/// # Errors
/// An id that isn't mapped, groups that can't be set, a directory that can't be entered or that
/// lies outside the container.
pub fn assume(user: &User, cwd: &Path, userns: bool) -> Result<(), ProcessError> {
    let entered = match chdir(cwd) {
        Err(Errno::EACCES | Errno::EPERM) => false,
        done => done.map(|()| true).map_err(|e| no_entry(cwd, e))?,
    };
    set_keepcaps(true).map_err(ProcessError::step("keep capabilities"))?;
    switch(user, userns)?;
    if !entered {
        chdir(cwd).map_err(|errno| no_entry(cwd, errno))?;
    }
    verify_cwd()?;
    set_keepcaps(false).map_err(ProcessError::step("stop keeping capabilities"))
}

/// Gives the standard streams to `uid`, so that `/proc/self/fd/1` and the like can be opened again.
///
/// Left alone, as in runc: `/dev/null`, what is on a read-only file system, and what belongs to an
/// id that the user namespace doesn't map.
///
/// # Errors
/// Other refusals of fchown(2).
pub fn own_stdio(uid: u32) -> Result<(), ProcessError> {
    let null = stat("/dev/null").map(|null| null.st_rdev).ok();
    for fd in 0..=2 {
        let Ok(stream) = fstat(fd) else { continue };
        if stream.st_uid == uid || null == Some(stream.st_rdev) {
            continue;
        }
        match fchown(fd, Some(Uid::from_raw(uid)), None) {
            Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS | Errno::ENOSYS) => {}
            Err(errno) => return Err(ProcessError::step("change the owner of stdio")(errno)),
        }
    }
    Ok(())
}

fn switch(user: &User, userns: bool) -> Result<(), ProcessError> {
    let additional = user.additional_gids().as_deref().unwrap_or_default();
    let groups: Vec<_> = additional.iter().copied().map(Gid::from_raw).collect();
    match setgroups(&groups) {
        // Where /proc/self/setgroups says deny, user_namespaces(7); nobody asked for groups here.
        Err(Errno::EPERM) if userns && groups.is_empty() => {}
        done => done.map_err(ProcessError::step("set additional groups"))?,
    }
    let gid = Gid::from_raw(user.gid());
    setresgid(gid, gid, gid).map_err(ProcessError::step("setgid"))?;
    let uid = Uid::from_raw(user.uid());
    setresuid(uid, uid, uid).map_err(ProcessError::step("setuid"))
}

/// A leaked descriptor of a host directory can be a working directory by way of `/proc/self/fd`
/// (CVE-2024-21626); getcwd(3) answers ENOENT for what the root doesn't reach.
fn verify_cwd() -> Result<(), ProcessError> {
    match getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        Ok(_) | Err(Errno::ENOENT) => Err(ProcessError::Outside),
        Err(errno) => Err(ProcessError::step("verify the working directory")(errno)),
    }
}

fn no_entry(cwd: &Path, errno: Errno) -> ProcessError {
    ProcessError::Chdir {
        cwd: cwd.display().to_string(),
        source: Reason(errno),
    }
}
