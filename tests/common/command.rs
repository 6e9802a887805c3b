//! Runs a command to its end with a time limit, and says everything about it when it went wrong.
//! It must not interpret what a command printed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// No call of a caller or of the runtime may take longer.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How a command ended and what it printed.
#[derive(Debug)]
pub struct Output {
    line: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// Standard output as it came, where it is no text.
    pub bytes: Vec<u8>,
}

impl Output {
    /// The exit code, or 128+n for a command that signal n ended.
    pub fn code(&self) -> i32 {
        let signal = || self.status.signal().map(|n| 128 + n);
        self.status.code().or_else(signal).unwrap_or(-1)
    }

    /// Panics unless the command ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Panics unless the command ended with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit code of {self}");
        self
    }

    /// Panics unless the command failed.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code(), 0, "should have failed: {self}");
        self
    }

    /// Standard output without white space around it.
    pub fn out(&self) -> &str {
        self.stdout.trim()
    }

    /// Both streams, for texts that a caller looks for in either.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Panics unless one of the streams has `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.all().contains(text),
            "no `{text}` in the output of {self}"
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            status,
            stdout,
            stderr,
            ..
        } = self;
        write!(
            f,
            "`{line}` ({status})\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}

/// A command that reads nothing.
pub fn cmd(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// A shell's line, for pipes and terminals.
pub fn sh(line: &str) -> Command {
    let mut command = cmd("/bin/sh");
    command.args(["-c", line]);
    command
}

/// Runs to the end, at most [`LIMIT`].
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    finish(start(command), LIMIT)
}

/// Runs to the end with `input` on standard input.
#[track_caller]
pub fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut running = start(command.stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().expect("stdin is a pipe");
    let input = input.to_vec();
    std::thread::spawn(move || stdin.write_all(&input));
    finish(running, LIMIT)
}

/// Runs a command whose child lives on and would keep pipes open; panics unless it succeeds.
#[track_caller]
pub fn detach(command: &mut Command) {
    limited(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
}

/// Runs a command whose stdio the test has arranged itself; panics unless it succeeds.
#[track_caller]
pub fn limited(command: &mut Command) {
    let status = status(command);
    assert!(status.success(), "`{}`: {status}", line(command));
}

/// The exit status of a command whose stdio the test has arranged itself.
#[track_caller]
pub fn status(command: &mut Command) -> ExitStatus {
    let line = line(command);
    let child = command
        .process_group(0)
        .spawn()
        .unwrap_or_else(|e| panic!("start `{line}`: {e}"));
    let mut running = Running {
        child,
        line,
        stdout: reader(None::<File>),
        stderr: reader(None::<File>),
    };
    wait(&mut running, LIMIT)
}

/// A command that runs, its output being read.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
    line: String,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for the end.
    #[track_caller]
    pub fn end(self) -> Output {
        finish(self, LIMIT)
    }
}

/// Starts a command in a process group of its own.
#[track_caller]
pub fn start(command: &mut Command) -> Running {
    let line = line(command);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("start `{line}`: {e}"));
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    Running {
        child,
        line,
        stdout,
        stderr,
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|w| w.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn reader(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut all);
        }
        let _ = send.send(all);
    });
    receive
}

#[track_caller]
fn finish(mut running: Running, limit: Duration) -> Output {
    let status = wait(&mut running, limit);
    let Running {
        line,
        stdout,
        stderr,
        ..
    } = running;
    // Who holds a pipe open after the command's end keeps conmon and the shims waiting.
    let read = |pipe: Receiver<Vec<u8>>, name: &str| {
        pipe.recv_timeout(Duration::from_secs(15))
            .unwrap_or_else(|_| panic!("`{line}` ended, but somebody holds its {name} open"))
    };
    let bytes = read(stdout, "stdout");
    let stderr = String::from_utf8_lossy(&read(stderr, "stderr")).into_owned();
    let stdout = String::from_utf8_lossy(&bytes).into_owned();
    Output {
        line,
        status,
        stdout,
        stderr,
        bytes,
    }
}

#[track_caller]
fn wait(running: &mut Running, limit: Duration) -> ExitStatus {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = running.child.try_wait().expect("wait for the command") {
            return status;
        }
        if Instant::now() > end {
            kill_group(running.pid());
            let _ = running.child.wait();
            let read = |pipe: &Receiver<Vec<u8>>| {
                let bytes = pipe
                    .recv_timeout(Duration::from_secs(1))
                    .unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let (out, err) = (read(&running.stdout), read(&running.stderr));
            panic!(
                "`{}` hangs: no end after {limit:?}\n{out}\n{err}",
                running.line
            );
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn kill_group(pid: i32) {
    use nix::sys::signal::{Signal, killpg};
    let _ = killpg(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
}
