//! The words that callers look for in our errors, and the one plain line that an error becomes.
//! Printing is `logging`'s, and exit codes other than [`EXIT`] are the container's.
//!
//! Callers know runc by its texts: containerd decides from a text whether a container is gone,
//! podman and Docker tell "command not found" (127) from other failures (126, 128). [`CONTRACT`]
//! holds each of these texts with every caller's reading of it.

pub mod contract;
mod line;

pub use contract::CONTRACT;

/// Exit status of a failed command, whatever failed (runc's `fatal`).
pub const EXIT: u8 = 1;

/// Failures that some caller tells from others by their text. Put one at the root of an error
/// chain; [`Failure`] finds it there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// There is no such container.
    #[error("container does not exist")]
    NotExist,
    /// The container's init has ended, or never ran.
    #[error("container not running")]
    NotRunning,
    /// The process to signal has gone (ESRCH).
    #[error("no such process")]
    NoSuchProcess,
    /// The id is taken.
    #[error("container with this id already exists")]
    AlreadyExists,
    /// No directory of PATH holds the command.
    #[error("exec: {0:?}: executable file not found in $PATH")]
    ExecutableNotFound(String),
    /// The command's path leads nowhere, or its interpreter's does (ENOENT).
    #[error("exec: {0:?}: no such file or directory")]
    NoSuchFile(String),
    /// A part of the command's path is no directory (ENOTDIR).
    #[error("exec: {0:?}: not a directory")]
    NotDirectory(String),
    /// The command may not be executed (EACCES, EPERM).
    #[error("exec: {0:?}: permission denied")]
    PermissionDenied(String),
    /// The command is a directory.
    #[error("exec: {0:?}: is a directory")]
    IsDirectory(String),
    /// A security label can't be set through this file of /proc, such as
    /// `/proc/thread-self/attr/exec`.
    #[error("write security label to `{0}`")]
    SecurityAttribute(String),
}

/// What is left of an error for the outside: one plain line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    line: String,
}

impl Failure {
    /// The line: no newline, no control character, at most [`Failure::MAX`] bytes, and none of the
    /// words of [`CONTRACT`] unless the error is of that kind.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Longest line in bytes; conmon reads 8191 in one go, together with what else is on stderr.
    pub const MAX: usize = 4096;
}

impl From<&anyhow::Error> for Failure {
    fn from(error: &anyhow::Error) -> Self {
        let links: Vec<String> = error.chain().map(link_text).collect();
        let text = line::joined(&links);
        let kind = error
            .chain()
            .find_map(|link| link.downcast_ref::<Kind>().cloned())
            .or_else(|| links.iter().rev().find_map(|link| Kind::recognise(link)))
            // A command's path and what is wrong with it may be links of their own.
            .or_else(|| Kind::recognise(&text));
        let text = contract::guarded(text, kind.as_ref());
        Self {
            line: line::shortened(&line::flattened(&text), Self::MAX),
        }
    }
}

/// A link of the chain in words. The kernel's errors are told in lower case and without their
/// numbers and names, as callers know them from Go's runtimes.
fn link_text(link: &(dyn std::error::Error + 'static)) -> String {
    let errno = match link.downcast_ref::<nix::errno::Errno>() {
        Some(errno) => Some(*errno as i32),
        None => link
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error),
    };
    let Some(number) = errno else {
        return link.to_string();
    };
    let text = std::io::Error::from_raw_os_error(number).to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// The one line that an error becomes, for sending it to another process.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    Failure::from(error).line
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::from(&error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

impl Kind {
    /// The kind that a text ends with, a command's name still escaped. Errors cross from the
    /// container's side of `start` as text, and a transparent thiserror variant hides the value.
    fn recognise(text: &str) -> Option<Self> {
        let plain = [
            Self::NotExist,
            Self::NotRunning,
            Self::NoSuchProcess,
            Self::AlreadyExists,
        ];
        if let Some(kind) = plain.into_iter().find(|k| text.ends_with(&k.to_string())) {
            return Some(kind);
        }
        let named: [fn(String) -> Self; 5] = [
            Self::ExecutableNotFound,
            Self::NoSuchFile,
            Self::NotDirectory,
            Self::PermissionDenied,
            Self::IsDirectory,
        ];
        let name = quoted_command(text)?;
        named
            .into_iter()
            .map(|kind| kind(name.clone()))
            .find(|kind| text.ends_with(kind.words()))
    }

    /// The words without the command's name.
    fn words(&self) -> &'static str {
        match self {
            Self::NotExist => "container does not exist",
            Self::NotRunning => "container not running",
            Self::NoSuchProcess => "no such process",
            Self::AlreadyExists => "container with this id already exists",
            Self::ExecutableNotFound(_) => ": executable file not found in $PATH",
            Self::NoSuchFile(_) => ": no such file or directory",
            Self::NotDirectory(_) => ": not a directory",
            Self::PermissionDenied(_) => ": permission denied",
            Self::IsDirectory(_) => ": is a directory",
            Self::SecurityAttribute(_) => "write security label to ",
        }
    }
}

/// The command in `exec: "sh": …`, still escaped.
fn quoted_command(text: &str) -> Option<String> {
    let start = text.find("exec: \"")? + "exec: \"".len();
    let end = start + text[start..].rfind("\": ")?;
    Some(text[start..end].to_owned())
}

#[cfg(test)]
mod tests;
