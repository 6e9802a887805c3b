//! The configuration file: which backend runs what, and what each backend is told. It only reads
//! and checks the file; it must not look at containers, bundles or the host beyond that one path.

mod error;
pub mod pattern;
pub mod rule;
mod values;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use values::{Value, values};

use crate::backend;

/// Where the configuration is without `--config` and [`VARIABLE`].
pub const DEFAULT_PATH: &str = "/etc/pxrun/config.toml";

/// Names another file.
pub const VARIABLE: &str = "PXRUN_CONFIG";

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Which file is read, and who said so. Never one of the current directory, where a bundle's own
/// files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `--config`.
    Flag(PathBuf),
    /// [`VARIABLE`].
    Variable(PathBuf),
    /// [`DEFAULT_PATH`], which may be absent.
    Default,
}

impl Source {
    /// The flag goes before the variable; an empty variable counts as none.
    pub fn choose(flag: Option<PathBuf>, variable: Option<&OsStr>) -> Source {
        match (flag, variable) {
            (Some(path), _) => Source::Flag(path),
            (None, Some(path)) if !path.is_empty() => Source::Variable(path.into()),
            _ => Source::Default,
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        match self {
            Source::Flag(path) | Source::Variable(path) => path,
            Source::Default => Path::new(DEFAULT_PATH),
        }
    }

    /// What stands in the file; nothing when nobody named one and the default place is empty.
    ///
    /// # Errors
    /// It can't be read.
    pub fn text(&self) -> Result<Option<String>, ConfigError> {
        match (read(self.path()), self) {
            (Ok(text), _) => Ok(Some(text)),
            (Err(error), Source::Default) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            (Err(cause), _) => Err(ConfigError::Read {
                path: self.path().to_owned(),
                cause,
            }),
        }
    }
}

/// What is configured. Without a file everything is as [`Default`] has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[default]`.
    #[serde(default)]
    pub default: Fallback,
    /// `[[rule]]`, in their order.
    #[serde(default)]
    pub rule: Vec<rule::Rule>,
    /// `[backend.NAME]`.
    #[serde(default)]
    pub backend: backend::Settings,
}

/// What holds where no rule does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The backend of containers that nothing else decides; without it, the host's own.
    #[serde(default, deserialize_with = "rule::optional_backend_name")]
    pub backend: Option<String>,
    /// Whether containers may choose by [`crate::route::BACKEND_ANNOTATION`].
    #[serde(default)]
    pub annotation: rule::Choice,
}

impl Config {
    /// Reads the file of `source`.
    ///
    /// # Errors
    /// A file that was named and is absent; anything in it that isn't understood.
    pub fn load(source: &Source) -> Result<Config, ConfigError> {
        match source.text()? {
            Some(text) => Self::parse(source.path(), &text),
            None => Ok(Config::default()),
        }
    }

    /// All backends that stand anywhere in it.
    pub fn named_backends(&self) -> impl Iterator<Item = &str> {
        let rules = self.rule.iter().map(|rule| &rule.backend);
        let tables = self.backend.delegates.keys();
        let all = self.default.backend.iter().chain(rules).chain(tables);
        let all: std::collections::BTreeSet<&str> = all.map(String::as_str).collect();
        all.into_iter()
    }

    /// Reads `text`; `path` stands in the errors.
    ///
    /// # Errors
    /// Anything that isn't understood, with its line and column.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::at(path, text, &error))
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    // O_NONBLOCK: a FIFO must not keep the command waiting for a writer.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("no regular file"));
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_BYTES {
        true => Err(std::io::Error::other("more than 1048576 bytes")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests;
