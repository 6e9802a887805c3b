//! A command line that can't be parsed, as one short line instead of clap's page.
//! It must not print: `main` decides where the line goes.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::argv::Line;
use crate::logging;

/// Arguments that make no sense. Displays as one line; the exit status is 1, as runc's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    line: String,
    /// `--log`, as far as it could be read: containerd looks for errors only there.
    pub log: Option<PathBuf>,
    /// `--log-format`, likewise.
    pub log_format: logging::Format,
}

impl UsageError {
    pub(super) fn new(error: &clap::Error, line: &Line) -> Self {
        let (log, log_format) = log_options(line);
        let command = line.command.as_deref();
        let prefix = command.map_or_else(String::new, |name| format!("{name}: "));
        Self {
            line: prefix + &wording(error),
            log,
            log_format,
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for UsageError {}

/// The log options of a line whose other parts may be wrong. The last of each counts.
fn log_options(line: &Line) -> (Option<PathBuf>, logging::Format) {
    let (mut log, mut format) = (None, logging::Format::default());
    let own = line.argv.iter().take_while(|token| *token != "--");
    let mut tokens = own.map(|token| token.as_bytes());
    while let Some(token) = tokens.next() {
        let mut value = |name: &str| match token.strip_prefix(name.as_bytes())? {
            [] => tokens.next(),
            [b'=', value @ ..] => Some(value),
            _ => None,
        };
        if let Some(path) = value("--log") {
            log = Some(PathBuf::from(OsStr::from_bytes(path)));
        } else if let Some(name) = value("--log-format") {
            let name = String::from_utf8_lossy(name);
            format = logging::Format::from_str(&name, false).unwrap_or(format);
        }
    }
    (log, format)
}

fn wording(error: &clap::Error) -> String {
    let about = |kind| error.get(kind).map(plain).unwrap_or_default();
    let arg = about(ContextKind::InvalidArg);
    let value = about(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if arg.starts_with('-') => format!("unknown option `{arg}`"),
        ErrorKind::UnknownArgument => format!("unexpected argument `{arg}`"),
        ErrorKind::InvalidSubcommand => {
            format!(
                "unknown command `{}`",
                about(ContextKind::InvalidSubcommand)
            )
        }
        ErrorKind::MissingSubcommand => "missing command".to_owned(),
        ErrorKind::MissingRequiredArgument => format!("missing argument: {arg}"),
        // podman asks with this very wording whether restore knows an option (pkg/checkpoint/crutils).
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {arg}"),
        ErrorKind::InvalidValue => {
            let valid = about(ContextKind::ValidValue);
            format!("invalid value `{value}` for `{arg}`: expected one of {valid}")
        }
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| "can't be parsed".to_owned());
            format!("invalid value `{value}` for `{arg}`: {reason}")
        }
        _ => first_line(error),
    }
}

fn plain(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(values) => values.join(", "),
        other => other.to_string(),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
