//! Starts another program with this process's descriptors and standard streams, for runtimes that
//! are given a command whole. It must not choose what is started or with which arguments.
//!
//! `std::process::Command` can't do it: `LISTEN_PID` has to name the new process (sd_listen_fds(3)),
//! which is known only after the fork.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

/// A program with all that execve(2) wants.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its file.
    pub path: CString,
    /// Its arguments, its own name first.
    pub argv: Vec<CString>,
    /// Its environment. `LISTEN_PID`, if there, gets the new process's id.
    pub env: Vec<CString>,
}

const LISTEN_PID: &[u8] = b"LISTEN_PID=";

impl Program {
    /// Becomes the program. Returns only when that fails.
    pub fn become_it(&self) -> io::Error {
        reset_signals(&SigSet::empty());
        match nix::unistd::execve(&self.path, &self.argv, &self.env) {
            Ok(never) => match never {},
            Err(errno) => errno.into(),
        }
    }

    /// Starts the program as a child that dies with this process, its signal mask being `mask`.
    ///
    /// # Errors
    /// No process can be made, or the program can't be executed.
    pub fn spawn(&self, mask: &SigSet) -> io::Result<Pid> {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let argv = pointers(&self.argv);
        let mut env: Vec<Vec<u8>> = self
            .env
            .iter()
            .map(|v| v.as_bytes_with_nul().to_vec())
            .collect();
        let listen = env.iter().position(|v| v.starts_with(LISTEN_PID));
        if let Some(at) = listen {
            env[at] = [LISTEN_PID, &[0; 12]].concat();
        }
        let parent = nix::unistd::getpid();
        // SAFETY: pxrun has one thread here, so the child may do what the parent could.
        let pid = Errno::result(unsafe { libc::fork() })?;
        if pid != 0 {
            drop(write);
            return outcome(read, Pid::from_raw(pid));
        }
        // SAFETY: prctl with integers only.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
        if nix::unistd::getppid() == parent {
            if let Some(at) = listen {
                write_pid(&mut env[at], nix::unistd::getpid());
            }
            reset_signals(mask);
            let env: Vec<*const libc::c_char> = env
                .iter()
                .map(|v| v.as_ptr().cast())
                .chain([std::ptr::null()])
                .collect();
            // SAFETY: both lists end with a null pointer and outlive the call.
            unsafe { libc::execve(self.path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
        }
        let errno = Errno::last_raw().to_ne_bytes();
        let _ = nix::unistd::write(write.as_fd(), &errno);
        // SAFETY: ends the child at once; the parent's destructors aren't its own.
        unsafe { libc::_exit(127) }
    }
}

/// What the child says: nothing once its execve has closed the pipe, else an error number.
fn outcome(read: OwnedFd, pid: Pid) -> io::Result<Pid> {
    let mut errno = [0u8; 4];
    let got = loop {
        match nix::unistd::read(read.as_raw_fd(), &mut errno) {
            Err(Errno::EINTR) => continue,
            other => break other?,
        }
    };
    if got == 0 {
        return Ok(pid);
    }
    let _ = nix::sys::wait::waitpid(pid, None);
    Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
}

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter()
        .map(|text: &CString| CStr::as_ptr(text))
        .chain([std::ptr::null()])
        .collect()
}

/// Rust's runtime ignores SIGPIPE; the program, and the container after it, should not.
fn reset_signals(mask: &SigSet) {
    use nix::sys::signal::{SigHandler, SigmaskHow, Signal, signal, sigprocmask};
    // SAFETY: the default action runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None);
}

/// Decimal digits behind `LISTEN_PID=`; the rest is zero already.
fn write_pid(variable: &mut [u8], pid: Pid) {
    let digits = pid.as_raw().to_string();
    let place = &mut variable[LISTEN_PID.len()..];
    place[..digits.len()].copy_from_slice(digits.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};

    fn shell(script: &str, env: &[&str]) -> Program {
        let text = |t: &str| CString::new(t).unwrap();
        Program {
            path: text("/bin/sh"),
            argv: ["sh", "-c", script].map(text).to_vec(),
            env: env.iter().map(|v| text(v)).collect(),
        }
    }

    #[test]
    fn the_child_gets_its_own_listen_pid_and_the_mask() {
        let script = r#"[ "$LISTEN_PID" = $$ ] && [ "$A" = b ] && exit 7; exit 1"#;
        let pid = shell(script, &["A=b", "LISTEN_PID=1"]).spawn(&SigSet::empty());
        let status = waitpid(pid.unwrap(), None).unwrap();
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }

    #[test]
    fn what_cant_be_executed_is_an_error() {
        let mut program = shell("", &[]);
        program.path = CString::new("/nowhere/at/all").unwrap();
        let error = program.spawn(&SigSet::empty()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
