//! Log lines in runc's two forms, and the one place where a failed command's error comes out.
//! Nothing here may hand a descriptor to a container: the file is close-on-exec and never dup'ed.
//!
//! What is written without `--log-level` and `--debug`:
//!
//! | | `--log FILE`, text | `--log FILE`, json | no `--log` |
//! |---|---|---|---|
//! | warnings of pxrun | file | - | stderr, unless it must stay clean |
//! | the error that ends the command | file and stderr | file and stderr | stderr |
//!
//! podman parses the whole json file as one object (libpod `readConmonPipeData`), so there even a
//! warning would hide the error. stderr stays clean where it is the container's own (`create`,
//! `run`, `exec`, `restore`) and where callers parse it together with stdout (CRI-O `features`,
//! go-runc `state` and `ps`). With a level asked for, all lines up to that level are written, those
//! of libraries too.

mod record;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;
use clap::builder::styling::AnsiColor;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

pub use record::timestamp;
use record::{level_name, record};

/// `--log-format`. The texts of the variants are help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// lines such as time="…" level=error msg="…"
    #[default]
    Text,
    /// one object a line, such as {"level":"error","msg":"…","time":"…"}
    Json,
}

/// `--log-level`, with crun's and runc's spellings. The texts of the variants are help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// what ends the command
    Error,
    /// what a user should know
    #[value(alias = "warning")]
    Warn,
    /// what was done
    Info,
    /// why it was done
    Debug,
    /// everything
    Trace,
}

/// How to log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    /// File to append to; stderr if none.
    pub log: Option<&'a Path>,
    /// Form of the file's lines. Lines on stderr are always text.
    pub format: Format,
    /// The level asked for.
    pub level: Option<Level>,
    /// Whether stderr must stay clean of log lines at the default level: it is the container's, or
    /// the caller parses it.
    pub quiet_stderr: bool,
}

/// Why logging can't start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file can't be opened for appending.
    #[error("open log file `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// [`init`] ran before.
    #[error("logging is set up already")]
    Twice,
}

/// Where the final error goes. Lines are written at once, so nothing is lost without a flush.
#[derive(Debug, Clone, Default)]
pub struct Logger {
    file: Option<Arc<File>>,
    format: Format,
}

/// Opens the log and sends tracing's events there for the rest of the process.
///
/// # Errors
/// [`LogError`]; report it through `Logger::default()`, which knows stderr alone.
pub fn init(settings: &Settings<'_>) -> Result<Logger, LogError> {
    let (logger, lines) = prepare(settings)?;
    tracing::subscriber::set_global_default(Registry::default().with(lines))
        .map_err(|_| LogError::Twice)?;
    Ok(logger)
}

impl Logger {
    /// Writes the error that ends the command, `line` being a plain line as of
    /// [`crate::error::Failure`]: to the log file as one record, and to stderr as it is. Callers
    /// that read stderr put their own prefix before it, so there is none here.
    pub fn report(&self, line: &str) {
        let now = timestamp(SystemTime::now());
        if let Some(file) = &self.file {
            append(file, &record(self.format, "error", line, &now, &[]));
            if same_file(file) {
                return;
            }
        }
        to_stderr(line, AnsiColor::Red);
    }
}

/// Writes a line to stderr, in colour where that is a terminal whose owner has nothing against it
/// (NO_COLOR, TERM=dumb). One write: conmon reads once.
fn to_stderr(line: &str, colour: AnsiColor) {
    let stderr = io::stderr();
    let text = match anstream::AutoStream::choice(&stderr) {
        anstream::ColorChoice::Never => format!("{line}\n"),
        _ => {
            let style = colour.on_default();
            format!("{style}{line}{style:#}\n")
        }
    };
    // A closed stderr leaves nobody to tell.
    let _ = stderr.lock().write_all(text.as_bytes());
}

fn prepare(settings: &Settings<'_>) -> Result<(Logger, Lines), LogError> {
    let path = settings.log.filter(|path| !path.as_os_str().is_empty());
    let file = path.map(open).transpose()?.map(Arc::new);
    let logger = Logger {
        file,
        format: settings.format,
    };
    let lines = Lines {
        logger: logger.clone(),
        level: threshold(settings, path.is_some()),
        libraries: settings.level.is_some(),
    };
    Ok((logger, lines))
}

fn open(path: &Path) -> Result<File, LogError> {
    // The standard library adds O_CLOEXEC.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| LogError::Open {
            path: path.to_owned(),
            source,
        })
}

fn threshold(settings: &Settings<'_>, to_file: bool) -> LevelFilter {
    match settings.level {
        Some(level) => level.into(),
        None if to_file && settings.format == Format::Json => LevelFilter::OFF,
        None if !to_file && settings.quiet_stderr => LevelFilter::OFF,
        None => LevelFilter::WARN,
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Turns each event into one line.
struct Lines {
    logger: Logger,
    level: LevelFilter,
    /// Whether events of other crates count. Libraries log what pxrun then reports itself.
    libraries: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let own = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        *metadata.level() <= self.level && (own || self.libraries)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let now = timestamp(SystemTime::now());
        let level = level_name(*event.metadata().level());
        let (out, format) = match &self.logger.file {
            Some(file) => (Some(file), self.logger.format),
            None => (None, Format::Text),
        };
        let line = record(format, level, &parts.message, &now, &parts.fields);
        match out {
            Some(file) => append(file, &line),
            None => to_stderr(line.trim_end(), colour_of(*event.metadata().level())),
        }
    }
}

fn colour_of(level: tracing::Level) -> AnsiColor {
    match level {
        tracing::Level::ERROR => AnsiColor::Red,
        tracing::Level::WARN => AnsiColor::Yellow,
        _ => AnsiColor::BrightBlack,
    }
}

/// An event's message and its other fields.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }
}

impl Parts {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

fn append(mut file: &File, line: &str) {
    // One write, so that lines of two processes don't mix (O_APPEND, write(2)). A full disk must
    // not turn a working command into a failed one.
    let _ = file.write_all(line.as_bytes());
}

/// Whether the log is stderr itself, as with `--log /dev/stderr`.
fn same_file(file: &File) -> bool {
    use nix::sys::stat::fstat;
    use std::os::fd::AsRawFd;

    let key = |fd| fstat(fd).map(|s| (s.st_dev, s.st_ino, s.st_rdev));
    match (key(file.as_raw_fd()), key(io::stderr().as_raw_fd())) {
        (Ok(log), Ok(stderr)) => log == stderr,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    /// Runs `work` with a log file and hands back what stands in it afterwards.
    fn logged(format: Format, level: Option<Level>, work: impl FnOnce(&Logger)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let settings = Settings {
            log: Some(&path),
            format,
            level,
            quiet_stderr: true,
        };
        let (logger, lines) = prepare(&settings).unwrap();
        tracing::subscriber::with_default(Registry::default().with(lines), || work(&logger));
        std::fs::read_to_string(path).unwrap()
    }

    fn chatter(logger: &Logger) {
        tracing::warn!(limit = 5, path = "/a \"b\"", "half\ndone");
        tracing::error!(target: "libcontainer::x", "library");
        tracing::debug!("detail");
        logger.report("start `a`: container not running");
    }

    #[test]
    fn json_at_the_default_level_is_one_object() {
        let text = logged(Format::Json, None, chatter);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "start `a`: container not running");
        let time = value["time"].as_str().unwrap();
        let pattern = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$").unwrap();
        assert!(pattern.is_match(time), "{time}");
        assert!(text.starts_with(r#"{"level":"error","msg":"#), "{text}");
        assert_eq!(value.as_object().unwrap().len(), 3);
    }

    #[test]
    fn json_with_a_level_is_one_object_a_line() {
        let text = logged(Format::Json, Some(Level::Debug), chatter);
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let levels: Vec<_> = lines.iter().map(|l| l["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["warning", "error", "debug", "error"]);
        assert_eq!(lines[0]["msg"], "half\ndone");
        assert_eq!(lines[0]["limit"], "5");
        assert_eq!(lines[1]["msg"], "library");
    }

    #[test]
    fn text_has_warnings_and_the_error() {
        let text = logged(Format::Text, None, chatter);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("time=\"2"));
        let tail = r#"Z" level=warning msg="half\ndone" limit="5" path="/a \"b\"""#;
        assert!(lines[0].ends_with(tail), "{text}");
        let tail = r#"Z" level=error msg="start `a`: container not running""#;
        assert!(lines[1].ends_with(tail), "{text}");
    }

    #[test]
    fn default_levels() {
        let path = Path::new("/x");
        let rows = [
            (Format::Text, Some(path), false, LevelFilter::WARN),
            (Format::Text, Some(path), true, LevelFilter::WARN),
            (Format::Json, Some(path), false, LevelFilter::OFF),
            (Format::Text, None, false, LevelFilter::WARN),
            (Format::Json, None, false, LevelFilter::WARN),
            (Format::Json, None, true, LevelFilter::OFF),
            (Format::Text, None, true, LevelFilter::OFF),
        ];
        for (format, log, quiet_stderr, want) in rows {
            let mut settings = Settings {
                log,
                format,
                level: None,
                quiet_stderr,
            };
            assert_eq!(threshold(&settings, log.is_some()), want, "{settings:?}");
            settings.level = Some(Level::Info);
            let asked = threshold(&settings, log.is_some());
            assert_eq!(asked, LevelFilter::INFO, "{settings:?}");
        }
    }

    #[test]
    fn the_file_is_private_appended_and_not_inherited() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for _ in 0..2 {
            let file = open(&path).unwrap();
            append(&file, "x\n");
            let flags = nix::fcntl::fcntl(file.as_raw_fd(), nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags, nix::libc::FD_CLOEXEC);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\nx\n");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = open(dir.path()).unwrap_err();
        assert!(error.to_string().starts_with("open log file `/"), "{error}");
    }

    #[test]
    fn an_empty_path_is_no_file() {
        let settings = Settings {
            log: Some(Path::new("")),
            ..Settings::default()
        };
        assert!(prepare(&settings).unwrap().0.file.is_none());
    }

    /// Not a test of its own: what [`stderr_of_a_process`] runs in a child, where the global
    /// subscriber and stderr are its own.
    #[test]
    fn child() {
        let Ok(log) = std::env::var("LOGGING_TEST_LOG") else {
            return;
        };
        let settings = Settings {
            log: Some(Path::new(&log)),
            quiet_stderr: std::env::var("LOGGING_TEST_QUIET").is_ok(),
            ..Settings::default()
        };
        let logger = init(&settings).unwrap();
        assert!(matches!(init(&settings), Err(LogError::Twice)));
        tracing::warn!("careful");
        tracing::info!("details");
        logger.report("container not running");
    }

    fn stderr_of_a_process(log: &str, quiet: bool) -> String {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "logging::tests::child"]);
        command.env("LOGGING_TEST_LOG", log);
        if quiet {
            command.env("LOGGING_TEST_QUIET", "1");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn stderr_gets_the_plain_line() {
        let loud = stderr_of_a_process("", false);
        let (warning, error) = loud.split_once('\n').unwrap();
        assert!(
            warning.ends_with(r#" level=warning msg="careful""#),
            "{loud}"
        );
        assert_eq!(error, "container not running\n");
        assert_eq!(stderr_of_a_process("", true), "container not running\n");

        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let with_log = stderr_of_a_process(log.to_str().unwrap(), false);
        assert_eq!(with_log, "container not running\n");
        assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_log_on_stderr_has_the_error_once() {
        let text = stderr_of_a_process("/dev/stderr", true);
        assert_eq!(text.matches("container not running").count(), 1, "{text}");
        assert!(text.contains("level=error"), "{text}");
    }
}
