//! Runs Proxmox's tools: absolute paths, a fixed environment, a time limit, both outputs kept. It
//! knows quoting and what the tools' texts mean ([`texts`]), and must not know OCI types, guests'
//! configurations or what its callers want.

mod error;
pub mod texts;

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use error::{PctError, Reason};

/// Where Proxmox installs its tools.
const PLACES: [&str; 2] = ["/usr/sbin", "/usr/bin"];

/// The PATH of every tool, whatever the caller's is.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Most that is kept of one output; the rest is read and dropped.
const KEPT: usize = 64 * 1024;

/// Options whose values never get into a log.
const SECRET: [&str; 2] = ["--password", "--ssh-public-keys"];

/// A Proxmox tool, by its absolute path.
#[derive(Debug, Clone)]
pub struct Tool {
    path: PathBuf,
}

/// What a call printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Tool {
    /// Finds a tool in `dir`, or where Proxmox installs it. Never through the caller's PATH.
    ///
    /// # Errors
    /// [`PctError::Absent`].
    pub fn find(name: &'static str, dir: Option<&Path>) -> Result<Tool, PctError> {
        let places = match dir {
            Some(dir) => vec![dir],
            None => PLACES.iter().map(Path::new).collect(),
        };
        let found = places.iter().map(|place| place.join(name));
        found
            .into_iter()
            .find(|path| path.is_absolute() && path.is_file())
            .map(|path| Tool { path })
            .ok_or(PctError::Absent(name))
    }

    /// Runs the tool and waits for it, at most `limit`.
    ///
    /// # Errors
    /// It can't be run, takes too long, or fails: then with the [`Reason`] that its text gives.
    pub fn call(&self, args: &[&str], limit: Duration) -> Result<Said, PctError> {
        let shown = self.shown(args);
        let begun = Instant::now();
        let outcome = self.run(args, limit);
        let took = begun.elapsed().as_millis();
        match outcome {
            Ok((code, said)) => {
                log(&shown, &format!("exit code {code}"), took, &said);
                match code {
                    0 => Ok(said),
                    code => Err(PctError::Failed {
                        call: shown,
                        reason: texts::reason(&said, code),
                        said: Box::new(said),
                    }),
                }
            }
            Err(Failed::Spawn(source)) => Err(PctError::Spawn {
                tool: self.path.clone(),
                source,
            }),
            Err(Failed::Late(said)) => {
                log(&shown, "ended by its time limit", took, &said);
                Err(PctError::Late { call: shown, limit })
            }
        }
    }

    fn run(&self, args: &[&str], limit: Duration) -> Result<(i32, Said), Failed> {
        let mut child = self.command(args).spawn().map_err(Failed::Spawn)?;
        let out = drain(child.stdout.take());
        let err = drain(child.stderr.take());
        let code = wait(&mut child, limit);
        if code.is_none() {
            end(&mut child);
        }
        let said = Said {
            out: out.text(),
            err: err.text(),
        };
        match code {
            Some(code) => Ok((code, said)),
            None => Err(Failed::Late(said)),
        }
    }

    /// No shell is ever in between, so that nothing needs quoting.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(args)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group, so that a limit ends its children too, and a terminal's signals don't.
            .process_group(0);
        command
    }

    /// The tool with these arguments and the caller's own standard streams and environment, for
    /// people: `pct enter` needs a terminal.
    pub fn interactive(&self, args: &[String]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args);
        command
    }

    /// The call for logs and errors, without secrets, quoted where it has to be.
    fn shown(&self, args: &[&str]) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let mut words = vec![name.into_owned()];
        let mut hide = false;
        for arg in args {
            words.push(match hide {
                true => "***".to_owned(),
                false => quoted(arg),
            });
            hide = SECRET.contains(arg);
        }
        words.join(" ")
    }
}

enum Failed {
    Spawn(std::io::Error),
    Late(Said),
}

fn log(call: &str, outcome: &str, took: u128, said: &Said) {
    tracing::debug!(
        "`{call}`: {outcome} after {took} ms; stdout {:?}, stderr {:?}",
        said.out.trim_end(),
        said.err.trim_end()
    );
}

/// An argument as a shell would want it.
pub fn quoted(arg: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b);
    match !arg.is_empty() && arg.bytes().all(plain) {
        true => arg.to_owned(),
        false => format!("'{}'", arg.replace('\'', r"'\''")),
    }
}

/// One output, read on a thread, so that a full pipe never stops the tool.
struct Drain {
    kept: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Drain {
    /// What has come. A child that was left behind with the pipe open is not waited for.
    fn text(self) -> String {
        let _ = self.end.recv_timeout(Duration::from_millis(200));
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

fn drain(from: Option<impl Read + Send + 'static>) -> Drain {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (sender, end) = channel();
    if let Some(mut from) = from {
        let kept = Arc::clone(&kept);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(&chunk[..room]);
            }
            let _ = sender.send(());
        });
    }
    Drain { kept, end }
}

/// The exit code, or 128 and the signal's number as a shell has it; `None` when time is up.
fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let pid = i32::try_from(child.id()).ok()?;
    let pidfd = crate::sys::clone::pidfd_open(pid).ok()?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if Instant::now() >= end => return None,
            _ => {}
        }
        if let Ok(Some(status)) = child.try_wait() {
            let signal = status.signal().map(|signal| 128 + signal);
            return status.code().or(signal);
        }
    }
}

/// Ends the tool with everything that it started.
fn end(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let group = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests;
