//! The log in the two forms that callers read. Must not know what is logged; the final error of a
//! command comes through [`report`] and nowhere else.
//!
//! Callers read the whole `--log` file: podman as one JSON object, containerd as a stream of them
//! (its last error is what a user sees). So a JSON log holds nothing but warnings' absence and that
//! one error, unless a level was asked for.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};

/// What the caller asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `--log`; without it warnings go to standard error.
    pub file: Option<PathBuf>,
    /// `--log-format json`.
    pub json: bool,
    /// The most detailed level that is written.
    pub level: Level,
    /// `--log-level` or `--debug` was given: only then a JSON log holds more than the error.
    pub explicit: bool,
}

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open log file `{}`", path.display())]
pub struct LogError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// An open log.
pub struct Log {
    file: Option<File>,
    json: bool,
}

/// Opens the log and makes it the place where the program's events go.
///
/// # Errors
/// The file can't be opened for appending.
pub fn init(settings: &Settings) -> Result<Log, LogError> {
    let file = match &settings.file {
        Some(path) => Some(open(path)?),
        None => None,
    };
    let quiet = settings.json && settings.file.is_some() && !settings.explicit;
    let level = if quiet { LevelFilter::OFF } else { settings.level.into() };
    let copy = file.as_ref().and_then(|f| f.try_clone().ok());
    let layer = Lines {
        log: Mutex::new(Log {
            file: copy,
            json: settings.json,
        }),
    };
    // libcontainer logs as errors what it also returns as errors: each would be told twice.
    let filter = Targets::new()
        .with_target("pxrun", level)
        .with_default(if settings.level >= Level::DEBUG { level } else { LevelFilter::OFF });
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(Log {
        file,
        json: settings.json,
    })
}

/// Append mode, for the owner alone, closed by execve: no container gets it.
fn open(path: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| LogError {
            path: path.to_owned(),
            source,
        })
}

impl Log {
    /// The command failed: one entry in the log, one plain line on standard error.
    pub fn report(&mut self, line: &str) {
        if self.file.is_some() {
            self.write(&Level::ERROR, line);
        }
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn write(&mut self, level: &Level, message: &str) {
        let line = entry(self.json, level, message, &now());
        // One write a line: others append to the same file.
        let _ = match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

fn entry(json: bool, level: &Level, message: &str, time: &str) -> String {
    let level = match *level {
        Level::WARN => "warning".to_owned(),
        other => other.to_string().to_lowercase(),
    };
    if json {
        let object = json!({"level": level, "msg": message, "time": time});
        format!("{object}\n")
    } else {
        format!("time={time:?} level={level} msg={message:?}\n")
    }
}

/// RFC 3339, UTC, seconds.
pub fn now() -> String {
    rfc3339(unix_time().0)
}

/// RFC 3339, UTC, nanoseconds: the form of `created` in a state.
pub fn now_nanos() -> String {
    let (seconds, nanos) = unix_time();
    let mut text = rfc3339(seconds);
    text.truncate(text.len() - 1);
    let _ = write!(text, ".{nanos:09}Z");
    text
}

fn unix_time() -> (u64, u32) {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or((0, 0), |d| (d.as_secs(), d.subsec_nanos()))
}

/// Days to a civil date by the proleptic Gregorian calendar, years from 1970.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let mut left = days;
    while left >= year_length(year) {
        left -= year_length(year);
        year += 1;
    }
    let february = year_length(year) - 337;
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z",
        left + 1,
        second % 60
    )
}

fn year_length(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if leap { 366 } else { 365 }
}

struct Lines {
    log: Mutex<Log>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        if let Ok(mut log) = self.log.lock() {
            log.write(event.metadata().level(), &message.text());
        }
    }
}

/// The event's message, then its fields as `name=value`.
#[derive(Default)]
struct Message {
    message: String,
    fields: String,
}

impl Message {
    fn text(&self) -> String {
        let joined = format!("{}{}", self.message, self.fields);
        joined.replace('\n', " ").trim().to_owned()
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_532_400, "2026-11-24T15:00:00Z"),
        ];
        for (seconds, text) in table {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn entries_have_the_forms_that_callers_parse() {
        let time = "2026-11-24T15:00:00Z";
        let json = entry(true, &Level::ERROR, "a \"b\"", time);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value, json!({"level": "error", "msg": "a \"b\"", "time": time}));
        assert!(json.ends_with("}\n") && json.matches('\n').count() == 1);
        assert_eq!(
            entry(false, &Level::WARN, "a \"b\"", time),
            "time=\"2026-11-24T15:00:00Z\" level=warning msg=\"a \\\"b\\\"\"\n"
        );
    }

    #[test]
    fn the_log_is_for_its_owner_and_grows() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for line in ["one", "two"] {
            let mut log = Log {
                file: Some(open(&path).unwrap()),
                json: true,
            };
            log.write(&Level::ERROR, line);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
