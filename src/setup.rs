//! What callers have to know to run containers with pxrun, written into their configuration and
//! taken out again. It must not start or reload a caller, nor know containers.
//!
//! A caller's file is three pure functions in a file of its own: text in, text out. `file` reads,
//! keeps a copy of what was there, and replaces in one step.

pub mod containerd;
pub mod crio;
pub mod diff;
pub mod docker;
pub mod file;
pub mod kubernetes;
pub mod podman;
mod toml;

use std::path::{Path, PathBuf};

pub use file::{Outcome, Place};

/// The name by which callers know the runtime.
pub const NAME: &str = "pxrun";

/// What the configuration is to say.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The runtime, absolute.
    pub binary: &'a Path,
    /// Texts of the other files that the caller reads, the one that counts most last.
    pub others: &'a [String],
}

/// One caller's file and how its text changes.
pub struct Target {
    /// The file, absolute.
    pub file: &'static str,
    /// Files that the caller reads beside it, absolute; a directory stands for what is in it.
    pub beside: &'static [&'static str],
    /// Whether the text has our entry.
    pub present: fn(&str) -> bool,
    /// The text with our entry; the same text if it is there already.
    pub apply: fn(Option<&str>, &Wanted<'_>) -> Result<String, SetupError>,
    /// The text without our entry; `None` when nothing is left of it.
    pub remove: fn(&str) -> Result<Option<String>, SetupError>,
    /// What to do for the caller to notice, and a command to try.
    pub next: &'static [&'static str],
}

/// Why a file stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Something below the file's path can't be read, made or replaced.
    #[error("{what} `{path}`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The file is no text.
    #[error("`{0}` is no UTF-8 text")]
    NotText(PathBuf),
    /// A link or something else than a file: whoever made it keeps the real one.
    #[error("`{path}` is {kind}: change what it is made from instead")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What stands there.
        kind: &'static str,
    },
    /// The text doesn't parse.
    #[error("not understood, so left alone")]
    Toml(#[from] toml_edit::TomlError),
    /// The text doesn't parse.
    #[error("not understood, so left alone")]
    Json(#[from] serde_json::Error),
    /// The text parses and says something that the caller wouldn't take either.
    #[error("`{key}` is no {wanted}, so the file is left alone")]
    Shape {
        /// Where in the document.
        key: String,
        /// What should stand there.
        wanted: &'static str,
    },
    /// A drop-in of our name that somebody else wrote.
    #[error("there is a file of this name that `pxrun setup` didn't write: move it away first")]
    NotOurs,
    /// Only containerd's versions 2 and 3 have a known place for a handler.
    #[error(
        "configuration version {0} is not one of 2 and 3: `containerd config migrate` prints it in a newer one"
    )]
    Version(i64),
    /// Nobody would read the handler.
    #[error("`disabled_plugins` turns off `{0}`, which would use the handler: take it out first")]
    Disabled(String),
}
