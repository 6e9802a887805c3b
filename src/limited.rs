//! Runs a program to its end or to the end of its time, whichever comes first, and collects what it
//! says. It must not know what is run, nor make threads: others fork after it.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long to read on after the program's end: a child that it left behind may hold its outputs.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// How a program ended and what it said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// The exit code, or 128 and the signal's number as a shell has it; `None` when its time was up
    /// and it was killed.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: Vec<u8>,
}

/// Runs `command` without input, keeping `kept` bytes of each output and dropping the rest, in a process group of its own, so that the limit ends its children
/// too and a terminal's signals don't.
///
/// # Errors
/// It can't be started.
pub fn run(command: &mut Command, limit: Duration, kept: usize) -> io::Result<Ended> {
    run_with(command, Stdio::null(), limit, kept)
}

/// The same, with this as its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    command: &mut Command,
    stdin: Stdio,
    limit: Duration,
    kept: usize,
) -> io::Result<Ended> {
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let watched = watch(&mut child, limit, kept);
    if !matches!(&watched, Ok(ended) if ended.code.is_some()) {
        end(&mut child);
    }
    watched
}

fn watch(child: &mut Child, limit: Duration, kept: usize) -> io::Result<Ended> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let pidfd = crate::sys::clone::pidfd_open(pid)?;
    let mut ended = Ended::default();
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let mut until = Instant::now() + limit;
    while ended.code.is_none() || out.is_some() || err.is_some() {
        let running = ended.code.is_none().then(|| pidfd.as_fd());
        let outputs = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
        let Some([gone, said, complained]) = ready([running, outputs[0], outputs[1]], until)?
        else {
            break;
        };
        if said {
            keep(&mut out, &mut ended.out, kept);
        }
        if complained {
            keep(&mut err, &mut ended.err, kept);
        }
        if gone && let Some(status) = child.try_wait()? {
            ended.code = status.code().or(status.signal().map(|signal| 128 + signal));
            until = Instant::now() + AFTERWARDS;
        }
    }
    Ok(ended)
}

/// Which of the descriptors have something; `None` when the time is up.
fn ready(all: [Option<BorrowedFd<'_>>; 3], until: Instant) -> io::Result<Option<[bool; 3]>> {
    let mut fds: Vec<PollFd<'_>> = all
        .iter()
        .flatten()
        .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
        .collect();
    let left = until.saturating_duration_since(Instant::now());
    // Rounded up: poll(2) counts whole milliseconds.
    let timeout = PollTimeout::try_from(left + Duration::from_micros(999));
    match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
        Ok(0) if Instant::now() >= until => return Ok(None),
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut answers = fds.iter().map(|fd| fd.any().unwrap_or(false));
    Ok(Some(
        all.map(|fd| fd.is_some() && answers.next() == Some(true)),
    ))
}

/// Reads what is there; an output that has ended is closed.
fn keep(from: &mut Option<impl Read>, into: &mut Vec<u8>, kept: usize) {
    let mut chunk = [0; 4096];
    match from.as_mut().map(|from| from.read(&mut chunk)) {
        Some(Ok(count @ 1..)) => {
            let room = kept.saturating_sub(into.len()).min(count);
            into.extend_from_slice(&chunk[..room]);
        }
        _ => *from = None,
    }
}

/// Ends the program with everything that it started.
fn end(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let group = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Ended, Duration) {
        let begun = Instant::now();
        let ended = run(Command::new("/bin/sh").args(["-c", script]), limit, KEPT).unwrap();
        (ended, begun.elapsed())
    }

    const KEPT: usize = 1 << 20;
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn outputs_and_code_are_the_programs_own() {
        let (ended, _) = shell("echo out; echo err >&2; exit 7", LONG);
        assert_eq!(ended.code, Some(7));
        assert_eq!(
            (&ended.out[..], &ended.err[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(shell("kill -9 $$", LONG).0.code, Some(137));
    }

    #[test]
    fn outputs_larger_than_a_pipe_dont_stop_it() {
        let (ended, _) = shell(
            "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2",
            LONG,
        );
        assert_eq!(
            (ended.code, ended.out.len(), ended.err.len()),
            (Some(0), 300_000, 300_000)
        );
        let (flood, _) = shell("head -c 9000000 /dev/zero", LONG);
        assert_eq!((flood.code, flood.out.len()), (Some(0), KEPT));
    }

    #[test]
    fn a_limit_ends_it_with_its_children() {
        let (ended, took) = shell(
            "echo begun; sleep 300 & echo $!; wait",
            Duration::from_millis(300),
        );
        assert_eq!(ended.code, None);
        assert!(took < Duration::from_secs(10), "{took:?}");
        let text = String::from_utf8(ended.out).unwrap();
        let child: i32 = text.lines().nth(1).unwrap().parse().unwrap();
        // The orphan is somebody else's to reap, so it may be a zombie for a moment.
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        let begun = Instant::now();
        while !gone() {
            assert!(begun.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn an_orphan_that_holds_the_outputs_is_not_waited_for() {
        let (ended, took) = shell("sleep 300 & echo $!", LONG);
        assert_eq!(ended.code, Some(0));
        assert!(took < Duration::from_secs(10), "{took:?}");
        let orphan: i32 = String::from_utf8(ended.out)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(orphan),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
}
