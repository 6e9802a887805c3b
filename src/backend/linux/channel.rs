//! The conversation between a command and the process it makes for a container, over one
//! SOCK_SEQPACKET pair. Knows the words, not what they lead to.
//!
//! Wire format: one packet a message, JSON, at most [`MAX_PACKET`] bytes. Both ends are
//! close-on-exec, so a successful execve is the end of the stream.
//!
//! ```text
//! command                         init
//!    │ ── Go ──────────────────────▶ │  mappings and cgroups stand
//!    │ ◀───────────── Sandbox ────── │  mounts stand (only with hooks of the host's side)
//!    │ ── Go ──────────────────────▶ │  prestart and createRuntime have run
//!    │ ◀────────────── Ready ─────── │  all but filter and execve is done
//!    │ ── Go ──────────────────────▶ │  the record and the pid-file are written
//!    │ ◀──────────── Executing ───── │  filter and execve are next (to `start`, over its own socket)
//!    │ ◀───── Failed(text) ───────── │  at any time; the sender ends
//! ```

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libcontainer::network::cidr::CidrAddress;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recv, recvmsg, send, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest packet, in bytes.
pub const MAX_PACKET: usize = 1 << 16;

/// Most descriptors that go with one message: SCM_MAX_FD of unix(7).
pub const MAX_DESCRIPTORS: usize = 253;

/// Why the conversation broke off.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("talk to container process")]
    Socket(#[from] Errno),
    /// The other side ended without a word: it was killed.
    #[error("container process ended unexpectedly")]
    Closed,
    /// The other side said why it gives up.
    #[error("{0}")]
    Failed(String),
    /// Something that isn't a message.
    #[error("container process sent a damaged message")]
    Damaged(#[from] serde_json::Error),
}

/// From the command to the new process: go on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Go {
    /// The process's pid as the command sees it.
    #[serde(default)]
    pub pid: i32,
    /// Addresses that network devices had before they moved into the container.
    #[serde(default)]
    pub addresses: Vec<(String, Vec<CidrAddress>)>,
}

impl Go {
    /// The first word to a new process.
    pub fn to(pid: i32) -> Go {
        Go {
            pid,
            ..Go::default()
        }
    }
}

/// From the new process to the command.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// Mounts stand; hooks of the host's side may run now.
    Sandbox,
    /// Everything is done that `create` has to do.
    Ready,
    /// Only filter and execve are left: the end of the stream means that they went well.
    Executing,
    /// It can't go on, and why.
    Failed(String),
}

/// One end.
#[derive(Debug)]
pub struct End(OwnedFd);

/// Makes both ends.
pub fn pair() -> Result<(End, End), ChannelError> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    Ok((End(ours), End(theirs)))
}

impl From<OwnedFd> for End {
    fn from(fd: OwnedFd) -> End {
        End(fd)
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl End {
    /// Sends one message.
    pub fn send<T: Serialize>(&self, message: &T) -> Result<(), ChannelError> {
        let packet = serde_json::to_vec(message)?;
        send(self.0.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL).map_err(|errno| match errno {
            Errno::EPIPE | Errno::ECONNRESET => ChannelError::Closed,
            other => ChannelError::Socket(other),
        })?;
        Ok(())
    }

    /// Waits for one message; `None` at the end of the stream.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<Option<T>, ChannelError> {
        let mut packet = vec![0; MAX_PACKET];
        let length = loop {
            match recv(self.0.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                Err(Errno::ECONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        match packet.get(..length) {
            None | Some([]) => Ok(None),
            Some(bytes) => Ok(Some(serde_json::from_slice(bytes)?)),
        }
    }

    /// Sends one message with descriptors, at most [`MAX_DESCRIPTORS`].
    pub fn send_with<T: Serialize>(
        &self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let packet = serde_json::to_vec(message)?;
        let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let slices = [std::io::IoSlice::new(&packet)];
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        match sendmsg::<UnixAddr>(self.0.as_raw_fd(), &slices, rights, flags, None) {
            Ok(_) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(ChannelError::Closed),
            Err(other) => Err(ChannelError::Socket(other)),
        }
    }

    /// Waits for one message with descriptors, which arrive close-on-exec; `None` at the end of the
    /// stream.
    pub fn receive_with<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<(T, Vec<OwnedFd>)>, ChannelError> {
        let mut packet = vec![0; MAX_PACKET];
        let mut slices = [IoSliceMut::new(&mut packet)];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; MAX_DESCRIPTORS]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let (length, descriptors) = loop {
            let received =
                recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut slices, Some(&mut space), flags);
            let message = match received {
                Err(Errno::EINTR) => continue,
                Err(Errno::ECONNRESET) => return Ok(None),
                other => other?,
            };
            let mut descriptors = Vec::new();
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(numbers) = control {
                    descriptors.extend(numbers.into_iter().map(crate::sys::fd::adopt));
                }
            }
            break (message.bytes, descriptors);
        };
        match packet.get(..length) {
            None | Some([]) => Ok(None),
            Some(bytes) => Ok(Some((serde_json::from_slice(bytes)?, descriptors))),
        }
    }

    /// The new process waits for leave to go on.
    pub fn await_go(&self) -> Result<Go, ChannelError> {
        self.receive()?.ok_or(ChannelError::Closed)
    }

    /// The command waits for a report; a failure that is reported becomes the error.
    pub fn await_report(&self) -> Result<Report, ChannelError> {
        match self.receive()? {
            Some(Report::Failed(text)) => Err(ChannelError::Failed(text)),
            Some(report) => Ok(report),
            None => Err(ChannelError::Closed),
        }
    }

    /// The command waits for the execve that closes the other end. An end without the word that it
    /// is next is that of a process that was killed.
    pub fn await_exec(&self) -> Result<(), ChannelError> {
        match self.await_report()? {
            Report::Executing => self.await_close(),
            _ => Err(ChannelError::Closed),
        }
    }

    /// The command waits until the other end is closed, with no other word than why it failed.
    pub fn await_close(&self) -> Result<(), ChannelError> {
        match self.receive()? {
            None => Ok(()),
            Some(Report::Failed(text)) => Err(ChannelError::Failed(text)),
            Some(_) => Err(ChannelError::Closed),
        }
    }

    /// The new process gives up. A text too long for one packet is cut.
    pub fn fail(&self, text: &str) {
        let cut: String = text.chars().take(4096).collect();
        if let Err(error) = self.send(&Report::Failed(cut)) {
            tracing::debug!("report failure: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_the_end_is_seen() {
        let (a, b) = pair().unwrap();
        a.send(&Go::default()).unwrap();
        assert!(b.await_go().is_ok());
        b.send(&Report::Ready).unwrap();
        assert!(matches!(a.await_report(), Ok(Report::Ready)));
        b.fail(&"x".repeat(1 << 20));
        assert!(matches!(a.await_report(), Err(ChannelError::Failed(t)) if t.len() == 4096));
        drop(b);
        assert!(matches!(a.await_report(), Err(ChannelError::Closed)));
        assert!(matches!(a.send(&Go::default()), Err(ChannelError::Closed)));
    }

    #[test]
    fn descriptors_travel_with_a_message() {
        use std::io::{Read, Seek, Write};
        let (a, b) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"here").unwrap();
        a.send_with(&1, &[file.as_fd(), file.as_fd()]).unwrap();
        a.send_with(&2, &[]).unwrap();
        let (one, mut descriptors) = b.receive_with::<i32>().unwrap().unwrap();
        assert_eq!((one, descriptors.len()), (1, 2));
        let mut same = std::fs::File::from(descriptors.remove(0));
        let mut text = String::new();
        same.rewind().unwrap();
        same.read_to_string(&mut text).unwrap();
        assert_eq!(text, "here");
        assert!(matches!(b.receive_with::<i32>(), Ok(Some((2, none))) if none.is_empty()));
        drop(a);
        assert!(matches!(b.receive_with::<i32>(), Ok(None)));
    }

    #[test]
    fn execve_is_the_end_of_the_stream_after_the_word_that_it_is_next() {
        let (a, b) = pair().unwrap();
        b.send(&Report::Executing).unwrap();
        drop(b);
        assert!(a.await_exec().is_ok());
        let (a, b) = pair().unwrap();
        drop(b);
        assert!(matches!(a.await_exec(), Err(ChannelError::Closed)));
        let (a, b) = pair().unwrap();
        b.send(&Report::Executing).unwrap();
        b.fail("no");
        assert!(matches!(a.await_exec(), Err(ChannelError::Failed(text)) if text == "no"));
    }
}
