//! The kernel's process-event connector (Documentation/driver-api/connector.rst), narrowed by a
//! socket filter to the exits of one process: how kernels before 6.15 tell the exit status of a
//! process that is nobody's child of ours. Holds no policy.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, send};

const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;

/// Where things are in a datagram: `nlmsghdr` (16 bytes), `cn_msg` (20), `proc_event`.
const WHAT: usize = 36;
const PID: usize = 52;
const TGID: usize = 56;
const STATUS: usize = 60;

/// Watches one process.
#[derive(Debug)]
pub struct ExitEvents {
    socket: OwnedFd,
    pid: u32,
    status: Option<i32>,
}

impl ExitEvents {
    /// Begins to watch `pid`, a number of the initial pid namespace. To be called in the initial
    /// network namespace, while the process lives.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN, EPROTONOSUPPORT on a kernel without the connector.
    pub fn of(pid: i32) -> Result<ExitEvents, Errno> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: plain integers; the result, if not negative, is fresh and ours.
        let socket = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
        // SAFETY: as above.
        let socket = unsafe { OwnedFd::from_raw_fd(Errno::result(socket)?) };
        let events = ExitEvents {
            socket,
            pid: pid.unsigned_abs(),
            status: None,
        };
        // The filter first: nothing that isn't wanted may wake anyone.
        events.filter()?;
        events.bind()?;
        events.listen()?;
        Ok(events)
    }

    /// Takes what has come. The answer is the wait status as known so far: when the process has
    /// ended as a whole (POLLIN of its pidfd), it is the process's.
    ///
    /// The leader's status counts, unless a thread that ended later brings another: then that one
    /// called exit_group(2).
    pub fn status(&mut self) -> Option<i32> {
        let mut datagram = [0u8; 256];
        loop {
            match recv(self.socket.as_raw_fd(), &mut datagram, MsgFlags::empty()) {
                Ok(length) => self.take(&datagram[..length]),
                // ENOBUFS: events were lost, which with this filter takes a flood of this very
                // process's own threads; what is still to come is read on.
                Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(_) => return self.status,
            }
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let word = |at: usize| {
            let bytes = datagram.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let (Some(what), Some(pid), Some(tgid), Some(status)) =
            (word(WHAT), word(PID), word(TGID), word(STATUS))
        else {
            return;
        };
        if what != PROC_EVENT_EXIT || tgid != self.pid {
            return;
        }
        if pid == self.pid || (status != 0 && self.status.is_some()) {
            self.status = Some(status.cast_signed());
        }
    }

    /// Lets through what is an exit and of this process: four loads and two comparisons on each
    /// event of the host, and no wake-up.
    fn filter(&self) -> Result<(), Errno> {
        const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        // A load by the filter takes the bytes as big-endian.
        let mut program = [
            step(LOAD, 0, 0, WHAT as u32),
            step(EQUAL, 0, 3, PROC_EVENT_EXIT.to_be()),
            step(LOAD, 0, 0, TGID as u32),
            step(EQUAL, 0, 1, self.pid.to_be()),
            step(RETURN, 0, 0, u32::MAX),
            step(RETURN, 0, 0, 0),
        ];
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: `program` and the instructions that it points to outlive the call.
        Errno::result(unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        })
        .map(drop)
    }

    fn bind(&self) -> Result<(), Errno> {
        // SAFETY: sockaddr_nl is plain integers, for which zero is a valid value.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = CN_IDX_PROC;
        // SAFETY: the address and its size belong together and outlive the call.
        Errno::result(unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_nl>() as libc::socklen_t,
            )
        })
        .map(drop)
    }

    fn listen(&self) -> Result<(), Errno> {
        const LENGTH: u32 = 40;
        let mut message = Vec::with_capacity(LENGTH as usize);
        // nlmsghdr: length, type (NLMSG_DONE) and flags, sequence, port.
        message.extend(LENGTH.to_ne_bytes());
        message.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
        message.extend(0u16.to_ne_bytes());
        message.extend([0; 8]);
        // cn_msg: index, value, sequence, acknowledgement, length and flags.
        message.extend(CN_IDX_PROC.to_ne_bytes());
        message.extend(CN_VAL_PROC.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(4u16.to_ne_bytes());
        message.extend(0u16.to_ne_bytes());
        message.extend(PROC_CN_MCAST_LISTEN.to_ne_bytes());
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty()).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_exit_of_one_process_and_of_no_other() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read x; exit 5"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut events = ExitEvents::of(child.id() as i32).unwrap();
        assert!(Command::new("/bin/true").status().unwrap().success());
        assert_eq!(events.status(), None, "another process's exit came through");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(events.status(), Some(5 << 8));
    }

    #[test]
    fn the_end_by_a_signal() {
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let mut events = ExitEvents::of(child.id() as i32).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(events.status(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_leader_that_ends_early_does_not_speak_for_all() {
        let event = |pid: u32, status: u32| {
            let mut bytes = [0u8; 68];
            bytes[WHAT..WHAT + 4].copy_from_slice(&PROC_EVENT_EXIT.to_ne_bytes());
            bytes[PID..PID + 4].copy_from_slice(&pid.to_ne_bytes());
            bytes[TGID..TGID + 4].copy_from_slice(&7u32.to_ne_bytes());
            bytes[STATUS..STATUS + 4].copy_from_slice(&status.to_ne_bytes());
            bytes
        };
        let (socket, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let mut events = ExitEvents {
            socket: socket.into(),
            pid: 7,
            status: None,
        };
        events.take(&event(8, 1 << 8));
        assert_eq!(events.status, None, "a thread's end is not the process's");
        events.take(&event(7, 0));
        assert_eq!(events.status, Some(0));
        events.take(&event(9, 3 << 8));
        assert_eq!(events.status, Some(3 << 8));
    }
}
