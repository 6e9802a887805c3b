//! Being asked before a file is opened (fanotify(7), FAN_OPEN_PERM). Holds no policy.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

/// Whoever opens the one file waits until [`Opens::answer`]. Once it is closed nobody waits.
#[derive(Debug)]
pub struct Opens(OwnedFd);

impl AsFd for Opens {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Opens {
    /// Begins to watch `path`.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN, EINVAL on a kernel that can't ask.
    pub fn of(path: &Path) -> Result<Opens, Errno> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
        let files = (libc::O_RDONLY | libc::O_CLOEXEC) as u32;
        // SAFETY: plain integers.
        let fd = Errno::result(unsafe { libc::fanotify_init(flags, files) })?;
        let opens = Opens(super::fd::adopt(fd));
        // SAFETY: the path is a terminated string that lives across the call.
        Errno::result(unsafe {
            libc::fanotify_mark(
                opens.0.as_raw_fd(),
                libc::FAN_MARK_ADD,
                libc::FAN_OPEN_PERM,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        })?;
        Ok(opens)
    }

    /// Lets all go on who wait.
    pub fn answer(&self) {
        const SIZE: usize = size_of::<libc::fanotify_event_metadata>();
        let mut buffer = [0u8; SIZE * 16];
        while let Ok(length) = nix::unistd::read(self.0.as_raw_fd(), &mut buffer) {
            if length == 0 {
                return;
            }
            for bytes in buffer[..length].chunks_exact(SIZE) {
                // SAFETY: the kernel writes whole events of this size, integers all.
                let event: libc::fanotify_event_metadata =
                    unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
                if event.fd < 0 {
                    continue;
                }
                let file = super::fd::adopt(event.fd);
                let mut response = [0u8; 8];
                response[..4].copy_from_slice(&file.as_raw_fd().to_ne_bytes());
                response[4..].copy_from_slice(&libc::FAN_ALLOW.to_ne_bytes());
                let _ = nix::unistd::write(&self.0, &response);
            }
        }
    }
}
