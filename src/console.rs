//! Pseudo terminals: opening one inside a container, handing its master over a console socket, and
//! receiving one. Must not follow a path of the rootfs blindly; knows nothing of processes.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use nix::sys::stat::{SFlag, fstat, major, minor};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};

use crate::sys::mounts::{How, openat2};
use crate::sys::{fd, tty};

/// Why a terminal could not be set up or handed over.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Nobody listens where the console socket should be, or it is no socket.
    #[error("connect to console socket `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The path is no socket at all.
    #[error("console socket `{}` is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// `/dev/pts/ptmx` is missing or is something else.
    #[error("`{0}` is not the multiplexer of a devpts file system")]
    NotDevpts(&'static str),
    /// A terminal operation failed.
    #[error("{what}")]
    Terminal {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// The other side closed without sending a terminal.
    #[error("no terminal was received")]
    NothingReceived,
}

fn failed(what: &'static str) -> impl FnOnce(Errno) -> ConsoleError {
    move |source| ConsoleError::Terminal { what, source }
}

/// Connects to the caller's console socket, on the host's side, before anything of the container
/// exists.
pub fn connect(path: &Path) -> Result<UnixStream, ConsoleError> {
    let to_error = |source| ConsoleError::Connect {
        path: path.to_owned(),
        source,
    };
    let meta = std::fs::metadata(path).map_err(to_error)?;
    if SFlag::from_bits_truncate(std::os::unix::fs::MetadataExt::mode(&meta)) & SFlag::S_IFMT
        != SFlag::S_IFSOCK
    {
        return Err(ConsoleError::NotASocket(path.to_owned()));
    }
    UnixStream::connect(path).map_err(to_error)
}

/// A new terminal's two ends.
pub struct Pty {
    /// For the caller.
    pub master: OwnedFd,
    /// For the container's process.
    pub slave: OwnedFd,
}

/// Opens a terminal in the devpts instance mounted at `/dev/pts` of the current root.
///
/// # Errors
/// The multiplexer there isn't devpts' own: a rootfs could hold anything under that name.
pub fn open_in_container(size: Option<(u16, u16)>) -> Result<Pty, ConsoleError> {
    const PTMX: &str = "/dev/pts/ptmx";
    let how = How {
        flags: (OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW).bits(),
        resolve: nix::libc::RESOLVE_NO_MAGICLINKS,
        ..How::default()
    };
    let master = openat2(None, Path::new(PTMX), how).map_err(failed("open `/dev/pts/ptmx`"))?;
    let stat = fstat(master.as_raw_fd()).map_err(failed("stat `/dev/pts/ptmx`"))?;
    let fs = fstatfs(&master).map_err(failed("statfs `/dev/pts/ptmx`"))?;
    if fs.filesystem_type() != DEVPTS_SUPER_MAGIC
        || (major(stat.st_rdev), minor(stat.st_rdev)) != (5, 2)
    {
        return Err(ConsoleError::NotDevpts(PTMX));
    }
    tty::unlock(master.as_fd()).map_err(failed("unlock terminal"))?;
    let slave = tty::open_peer(master.as_fd()).map_err(failed("open terminal"))?;
    if let Some((rows, columns)) = size {
        tty::set_window_size(master.as_fd(), rows, columns).map_err(failed("set window size"))?;
    }
    Ok(Pty { master, slave })
}

/// Sends one descriptor with a name as payload, which is what console sockets expect (containerd's
/// and conmon's receivers take any name that isn't empty).
pub fn send(socket: BorrowedFd<'_>, name: &str, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let fds = [descriptor.as_raw_fd()];
    sendmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &[std::io::IoSlice::new(name.as_bytes())],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// Receives one descriptor.
///
/// # Errors
/// [`ConsoleError::NothingReceived`] when the sender closed first.
pub fn receive(socket: BorrowedFd<'_>) -> Result<OwnedFd, ConsoleError> {
    let mut name = [0; 4096];
    let mut parts = [IoSliceMut::new(&mut name)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EINTR) => continue,
            other => break other.map_err(failed("receive terminal"))?,
        }
    };
    let mut controls = message.cmsgs().map_err(failed("receive terminal"))?;
    controls
        .find_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        })
        .map(fd::adopt)
        .ok_or(ConsoleError::NothingReceived)
}

/// Makes the terminal this session's own, and standard input, output and error.
pub fn become_stdio(slave: &OwnedFd) -> Result<(), ConsoleError> {
    tty::control(slave.as_fd()).map_err(failed("make terminal the controlling one"))?;
    for target in 0..3 {
        nix::unistd::dup2(slave.as_raw_fd(), target).map_err(failed("duplicate terminal"))?;
    }
    Ok(())
}

/// Gives standard input, output and error to the container's user, so that `/dev/stdout` can be
/// opened again by a process that isn't root. What isn't a terminal or pipe of its own (the host's
/// `/dev/null`) and what can't change hands stays as it is, as with runc.
pub fn give_stdio_to(uid: u32) {
    for number in 0..3u8 {
        let stdio = fd::stdio(number);
        let Ok(stat) = fstat(stdio.as_raw_fd()) else {
            continue;
        };
        let is_null = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR
            && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
        if stat.st_uid == uid || is_null {
            continue;
        }
        if let Err(errno) = std::os::unix::fs::fchown(stdio, Some(uid), None) {
            tracing::debug!("change owner of descriptor {number}: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_travels_over_a_socket_with_its_size() {
        let pty = open_in_container(Some((33, 77))).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        send(here.as_fd(), "console", pty.master.as_fd()).unwrap();
        let received = receive(there.as_fd()).unwrap();
        assert_eq!(tty::window_size(received.as_fd()), Ok((33, 77)));
        assert_eq!(
            tty::number(received.as_fd()),
            tty::number(pty.master.as_fd())
        );
    }

    #[test]
    fn a_closed_sender_is_told() {
        let (here, there) = UnixStream::pair().unwrap();
        drop(here);
        assert!(matches!(
            receive(there.as_fd()),
            Err(ConsoleError::NothingReceived)
        ));
    }

    #[test]
    fn what_is_no_socket_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(
            connect(file.path()),
            Err(ConsoleError::NotASocket(_))
        ));
    }
}
