//! Runs Proxmox's tools: absolute paths, a fixed environment, a time limit, both outputs kept. It
//! knows quoting and what the tools' texts mean ([`texts`]), and must not know OCI types, guests'
//! configurations or what its callers want.

mod error;
pub mod texts;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub use error::{PctError, Reason};

use crate::limited;

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
        self.call_with(args, limit, Stdio::null())
    }

    /// The same, with a locked file as the tool's standard input, which it doesn't read: the lock of
    /// flock(2) is then held until the tool has ended, though this process may be killed before.
    ///
    /// # Errors
    /// As [`Tool::call`].
    pub fn call_holding(
        &self,
        args: &[&str],
        limit: Duration,
        lock: &File,
    ) -> Result<Said, PctError> {
        let lock = lock.try_clone().map_err(|source| PctError::Spawn {
            tool: self.path.clone(),
            source,
        })?;
        self.call_with(args, limit, lock.into())
    }

    fn call_with(&self, args: &[&str], limit: Duration, stdin: Stdio) -> Result<Said, PctError> {
        let shown = self.shown(args);
        let begun = Instant::now();
        let outcome = limited::run_with(&mut self.command(args), stdin, limit, KEPT);
        let took = begun.elapsed().as_millis();
        let ended = outcome.map_err(|source| PctError::Spawn {
            tool: self.path.clone(),
            source,
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&ended.out), text(&ended.err));
        let said = Said { out, err };
        let Some(code) = ended.code else {
            log(&shown, "ended by its time limit", took, &said);
            return Err(PctError::Late { call: shown, limit });
        };
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

    /// No shell is ever in between, so that nothing needs quoting.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(args)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .current_dir("/");
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

#[cfg(test)]
mod tests;
