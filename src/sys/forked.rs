#![allow(unsafe_code)]
//! For tests: runs a closure in a child process, so that namespaces, mounts and roots can be changed
//! without harm. It must not be used outside tests.

use std::fs::File;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe};

/// Copies an executable by a process of its own: a descriptor open for writing, inherited by what
/// another test forks meanwhile, would make the file busy for execve(2).
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "copy {}", from.display());
}

/// Runs `child` in a new process in the new namespaces of `flags` and returns what it returned; a
/// panic becomes the error. `prepare` gets the child's process id before `child` runs.
///
/// With flags the caller must be single-threaded, that is, inside another `run`.
pub fn run(
    flags: CloneFlags,
    prepare: impl FnOnce(Pid),
    child: impl FnOnce() -> Result<String, String>,
) -> Result<String, String> {
    let (go_read, go_write) = pipe().unwrap();
    let (out_read, out_write) = pipe().unwrap();
    let pid = fork(flags);
    if pid == 0 {
        drop((go_write, out_read));
        let _ = File::from(go_read).read(&mut [0]);
        let result = catch_unwind(AssertUnwindSafe(child))
            .unwrap_or_else(|panic| Err(text_of(panic.as_ref())));
        let (mark, text) = match result {
            Ok(text) => ("+", text),
            Err(text) => ("-", text),
        };
        let _ = File::from(out_write).write_all(format!("{mark}{text}").as_bytes());
        // SAFETY: ends the process at once, without the test harness's exit handlers.
        unsafe { libc::_exit(0) }
    }
    drop((go_read, out_write));
    prepare(Pid::from_raw(pid));
    // A byte, not the end of the file: children of other tests may hold copies of this pipe.
    File::from(go_write).write_all(&[0]).unwrap();
    let mut text = String::new();
    File::from(out_read).read_to_string(&mut text).unwrap();
    waitpid(Pid::from_raw(pid), None).unwrap();
    match text.split_at_checked(1) {
        Some(("+", text)) => Ok(text.to_owned()),
        Some((_, text)) => Err(text.to_owned()),
        None => Err("the child died without a word".into()),
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (_, Some(text)) => (*text).to_owned(),
        _ => "panic".into(),
    }
}

fn fork(flags: CloneFlags) -> libc::pid_t {
    let pid = if flags.is_empty() {
        // SAFETY: glibc's fork keeps its allocator usable in the child of a threaded process.
        i64::from(unsafe { libc::fork() })
    } else {
        // SAFETY: clone_args is plain integers; without CLONE_VM this is a fork, and the caller has
        // one thread.
        unsafe {
            let mut args: libc::clone_args = std::mem::zeroed();
            args.flags = flags.bits() as u64;
            args.exit_signal = libc::SIGCHLD as u64;
            let size = size_of::<libc::clone_args>();
            libc::syscall(libc::SYS_clone3, &raw mut args, size)
        }
    };
    nix::errno::Errno::result(pid).unwrap() as libc::pid_t
}
