//! Stands between a caller's terminal and a process in a container, for `run` and `exec` in the
//! foreground: passes signals on, carries bytes between two terminals, follows the window size,
//! returns the exit code. Knows nothing of containers.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::sys::clone::pidfd_send_signal;
use crate::sys::{fd, tty};

/// Why the foreground broke down.
#[derive(Debug, thiserror::Error)]
pub enum ForegroundError {
    /// A system call failed.
    #[error("{what}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// Nobody is there to see a terminal: a shell in it would wait for ever.
    #[error(
        "process.terminal: `true`, but neither standard input, output nor error is a terminal, and \
         no --console-socket is given"
    )]
    NoTerminal,
}

fn failed(what: &'static str) -> impl FnOnce(Errno) -> ForegroundError {
    move |source| ForegroundError::Call { what, source }
}

/// The caller's terminal: the first of its streams that is one, else the controlling one (runc's
/// `initHostConsole`).
///
/// # Errors
/// There is none.
pub fn caller_terminal() -> Result<OwnedFd, ForegroundError> {
    let is_terminal = |number: &u8| tcgetattr(fd::stdio(*number)).is_ok();
    let stream = (0..3).find(is_terminal).map(fd::stdio);
    let opened = match stream {
        Some(stream) => stream.try_clone_to_owned(),
        None => std::fs::File::open("/dev/tty").map(OwnedFd::from),
    };
    opened.map_err(|_| ForegroundError::NoTerminal)
}

/// All signals blocked and readable. To be made before the process exists, so that no SIGCHLD of
/// it can be lost however soon it ends.
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks every signal that can be blocked and passed on.
    pub fn block() -> Result<Signals, ForegroundError> {
        let mut mask = SigSet::all();
        for fault in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
        ] {
            mask.remove(fault);
        }
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before))
            .map_err(failed("block signals"))?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(failed("make signal descriptor"))?;
        Ok(Signals { fd, before })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// The exit code that a shell would give: the process's own, or 128 and the signal's number.
pub fn exit_code(status: WaitStatus) -> i32 {
    match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 1,
    }
}

/// Waits for this command's child `pid`, passing on every signal that arrives meanwhile, and
/// relaying to `master` when it has a terminal. Returns how it ended; it is reaped.
pub fn attend(
    signals: &Signals,
    pid: i32,
    pidfd: BorrowedFd<'_>,
    master: Option<OwnedFd>,
) -> Result<WaitStatus, ForegroundError> {
    let mut relay = master.map(Relay::new).transpose()?;
    loop {
        let mut fds = vec![
            PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN),
            PollFd::new(pidfd, PollFlags::POLLIN),
        ];
        if let Some(relay) = &relay {
            fds.extend(relay.wanted());
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.map_err(failed("wait for events"))?,
        };
        let ended = fds[1].any().unwrap_or(false);
        pass_on(signals, pidfd, relay.as_ref());
        if let Some(relay) = &mut relay {
            relay.step();
        }
        if ended {
            if let Some(relay) = &mut relay {
                relay.drain();
            }
            return reap(pid);
        }
    }
}

fn reap(pid: i32) -> Result<WaitStatus, ForegroundError> {
    let pid = nix::unistd::Pid::from_raw(pid);
    loop {
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED) {
            Err(Errno::EINTR) => continue,
            other => return other.map_err(failed("wait for process")),
        }
    }
}

fn pass_on(signals: &Signals, pidfd: BorrowedFd<'_>, relay: Option<&Relay>) {
    // `read_signal` wants a mutable handle only by its signature's history.
    while let Ok(Some(info)) = signals.fd.read_signal() {
        match Signal::try_from(info.ssi_signo as i32) {
            Ok(Signal::SIGCHLD) => {}
            Ok(Signal::SIGWINCH) => {
                if let Some(relay) = relay {
                    relay.follow_size();
                }
            }
            // The caller's terminal stops background readers; with our own raw terminal that is
            // nothing that the container should see. Urgent data and Go's preemption likewise.
            Ok(Signal::SIGTTIN | Signal::SIGTTOU | Signal::SIGURG | Signal::SIGPIPE) => {}
            _ => {
                let _ = pidfd_send_signal(pidfd, info.ssi_signo as i32);
            }
        }
    }
}

/// Gives a terminal the size of the caller's, so that a process finds it from its beginning.
pub fn take_size(master: BorrowedFd<'_>) {
    let Ok(terminal) = caller_terminal() else {
        return;
    };
    if let Ok((rows, columns)) = tty::window_size(terminal.as_fd()) {
        let _ = tty::set_window_size(master, rows, columns);
    }
}

/// Carries bytes between standard input and output and a pty master.
struct Relay {
    master: OwnedFd,
    saved: Option<Termios>,
    to_container: Buffer,
    to_caller: Buffer,
    input_open: bool,
    master_open: bool,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    sent: usize,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn refill(&mut self, from: BorrowedFd<'_>) -> nix::Result<usize> {
        self.bytes.resize(16 << 10, 0);
        self.sent = 0;
        let read = nix::unistd::read(from.as_raw_fd(), &mut self.bytes);
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        read
    }

    fn flush(&mut self, to: BorrowedFd<'_>) -> nix::Result<()> {
        while !self.is_empty() {
            self.sent += nix::unistd::write(to, &self.bytes[self.sent..])?;
        }
        Ok(())
    }
}

impl Relay {
    fn new(master: OwnedFd) -> Result<Relay, ForegroundError> {
        let saved = make_raw(fd::stdio(0))?;
        let relay = Relay {
            saved,
            to_container: Buffer::default(),
            to_caller: Buffer::default(),
            input_open: true,
            master_open: true,
            master,
        };
        set_nonblocking(relay.master.as_fd())?;
        relay.follow_size();
        Ok(relay)
    }

    fn follow_size(&self) {
        take_size(self.master.as_fd());
    }

    fn wanted(&self) -> Vec<PollFd<'_>> {
        let mut wanted = Vec::new();
        let mut flags = PollFlags::empty();
        if self.to_caller.is_empty() {
            flags |= PollFlags::POLLIN;
        }
        if !self.to_container.is_empty() {
            flags |= PollFlags::POLLOUT;
        }
        if self.master_open {
            wanted.push(PollFd::new(self.master.as_fd(), flags));
        }
        if self.input_open && self.to_container.is_empty() {
            wanted.push(PollFd::new(fd::stdio(0), PollFlags::POLLIN));
        }
        wanted
    }

    /// Moves what can be moved without waiting, save for the caller's own output: that may block,
    /// and then so does the container, as on any terminal.
    fn step(&mut self) {
        if self.input_open && self.to_container.is_empty() && is_readable(fd::stdio(0)) {
            match self.to_container.refill(fd::stdio(0)) {
                Ok(0) => self.close_input(),
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => self.input_open = false,
            }
        }
        let _ = self.to_container.flush(self.master.as_fd());
        if self.master_open {
            self.copy_out();
        }
    }

    /// The end of piped input is the terminal's end-of-file character.
    fn close_input(&mut self) {
        self.input_open = false;
        self.to_container.bytes = vec![4];
        self.to_container.sent = 0;
    }

    fn copy_out(&mut self) {
        loop {
            match self.to_caller.refill(self.master.as_fd()) {
                Ok(0) => break,
                Ok(_) => {
                    if self.to_caller.flush(fd::stdio(1)).is_err() {
                        break;
                    }
                }
                // EIO: the last slave is closed.
                Err(Errno::EIO) => {
                    self.master_open = false;
                    break;
                }
                Err(_) => break,
            }
        }
    }

    /// The process has ended; what it wrote last may still be on its way. Others may hold the
    /// terminal open for ever, so this waits only while bytes keep coming.
    fn drain(&mut self) {
        while self.master_open && readable_within(self.master.as_fd(), Duration::from_millis(20)) {
            self.copy_out();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(fd::stdio(0), SetArg::TCSADRAIN, saved);
        }
    }
}

fn make_raw(terminal: BorrowedFd<'_>) -> Result<Option<Termios>, ForegroundError> {
    let Ok(saved) = tcgetattr(terminal) else {
        return Ok(None);
    };
    let mut raw = saved.clone();
    cfmakeraw(&mut raw);
    tcsetattr(terminal, SetArg::TCSANOW, &raw).map_err(failed("make terminal raw"))?;
    Ok(Some(saved))
}

fn set_nonblocking(descriptor: BorrowedFd<'_>) -> Result<(), ForegroundError> {
    fcntl(descriptor.as_raw_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map(drop)
        .map_err(failed("make terminal non-blocking"))
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    readable_within(descriptor, Duration::ZERO)
}

fn readable_within(descriptor: BorrowedFd<'_>, time: Duration) -> bool {
    let mut fds = [PollFd::new(descriptor, PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    matches!(poll(&mut fds, timeout), Ok(n) if n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        let pid = Pid::from_raw(1);
        assert_eq!(exit_code(WaitStatus::Exited(pid, 7)), 7);
        let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
        assert_eq!(exit_code(killed), 137);
    }
}
