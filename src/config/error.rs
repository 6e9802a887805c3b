//! What is wrong with a configuration, and where: file, line and column. It must not read files.

use std::path::{Path, PathBuf};

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("read configuration `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// Something in it isn't understood.
    #[error("configuration `{}` line {line} column {column}: {what}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong there.
        what: String,
    },
}

impl ConfigError {
    /// The parser's error with its place in `text`.
    pub(super) fn at(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        Self::here(path, text, offset, error.message())
    }

    /// `what` is wrong at byte `offset` of `text`.
    pub(super) fn here(path: &Path, text: &str, offset: usize, what: &str) -> ConfigError {
        let (line, column) = place(text, offset);
        ConfigError::At {
            path: path.to_owned(),
            line,
            column,
            what: what.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

/// Line and column of a byte offset, both from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let offset = (0..=offset.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}
