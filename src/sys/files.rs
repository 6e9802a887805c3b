//! System calls on single files that no library wraps: attributes of files that can't be opened.
//! It must not know trees or archives: descriptors and names in, errno out.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Sets an extended attribute of the file `name` in `dir`; a link itself, not what it leads to.
///
/// # Errors
/// The errno of lsetxattr(2).
pub fn set_xattr_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    value: &[u8],
) -> Result<(), Errno> {
    let path = path_at(dir, name)?;
    // SAFETY: both strings end in NUL, and value has the length that is passed.
    let done = unsafe {
        libc::lsetxattr(
            path.as_ptr(),
            attribute.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    Errno::result(done).map(drop)
}

/// The names of the extended attributes of the file `name` in `dir`, each with a NUL behind it.
///
/// # Errors
/// The errno of llistxattr(2).
pub fn list_xattrs_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    let path = path_at(dir, name)?;
    grow(|into| {
        // SAFETY: the path ends in NUL, and the buffer has the length that is passed.
        unsafe { libc::llistxattr(path.as_ptr(), into.as_mut_ptr().cast(), into.len()) }
    })
}

/// The value of an extended attribute of the file `name` in `dir`.
///
/// # Errors
/// The errno of lgetxattr(2).
pub fn get_xattr_at(dir: BorrowedFd<'_>, name: &CStr, attribute: &CStr) -> Result<Vec<u8>, Errno> {
    let path = path_at(dir, name)?;
    grow(|into| {
        // SAFETY: both strings end in NUL, and the buffer has the length that is passed.
        unsafe {
            libc::lgetxattr(
                path.as_ptr(),
                attribute.as_ptr(),
                into.as_mut_ptr().cast(),
                into.len(),
            )
        }
    })
}

/// The names of the extended attributes of an open file, each with a NUL behind it.
///
/// # Errors
/// The errno of flistxattr(2).
pub fn list_xattrs(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    grow(|into| {
        // SAFETY: the buffer has the length that is passed.
        unsafe { libc::flistxattr(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) }
    })
}

/// The value of an extended attribute of an open file.
///
/// # Errors
/// The errno of fgetxattr(2).
pub fn get_xattr(fd: BorrowedFd<'_>, attribute: &CStr) -> Result<Vec<u8>, Errno> {
    grow(|into| {
        // SAFETY: the string ends in NUL, and the buffer has the length that is passed.
        unsafe {
            libc::fgetxattr(
                fd.as_raw_fd(),
                attribute.as_ptr(),
                into.as_mut_ptr().cast(),
                into.len(),
            )
        }
    })
}

/// Removes an extended attribute of an open file.
///
/// # Errors
/// The errno of fremovexattr(2).
pub fn remove_xattr(fd: BorrowedFd<'_>, attribute: &CStr) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL.
    Errno::result(unsafe { libc::fremovexattr(fd.as_raw_fd(), attribute.as_ptr()) }).map(drop)
}

/// `/proc/self/fd/N/NAME`: the directory by its descriptor, and one component that the `l` calls
/// don't follow.
fn path_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<CString, Errno> {
    if name.to_bytes().contains(&b'/') {
        return Err(Errno::EINVAL);
    }
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend(name.to_bytes());
    CString::new(path).map_err(|_| Errno::EINVAL)
}

/// Calls `ask` with larger and larger buffers until the answer fits.
fn grow(mut ask: impl FnMut(&mut [u8]) -> libc::ssize_t) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match Errno::result(ask(&mut buffer)) {
            Ok(size) => {
                buffer.truncate(size as usize);
                return Ok(buffer);
            }
            // XATTR_SIZE_MAX and XATTR_LIST_MAX are 64 KiB (xattr(7)).
            Err(Errno::ERANGE) if buffer.len() < 1 << 17 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}
