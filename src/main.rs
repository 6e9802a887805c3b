//! Parse, log, dispatch, report: nothing else happens here.

use std::path::Path;
use std::process::ExitCode;

use pxrun::cli::{Cli, Early};
use pxrun::error::{EXIT, Failure};
use pxrun::logging::{self, Logger, Settings};
use pxrun::process::listen_fds;
use pxrun::{backend, command, config, sys};

fn main() -> ExitCode {
    if sys::seal::is_set_id() {
        // Nothing here is made for it: every path and variable is the caller's.
        eprintln!("pxrun must not be a set-user-ID or set-group-ID program");
        return ExitCode::from(EXIT);
    }
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = backend::lxc::program(&args) {
        return ExitCode::from(u8::try_from(code).unwrap_or(EXIT));
    }
    let cli = match Cli::parse_from_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(early) => return stopped(early),
    };
    if let Some(kept) = cli.command.enters_container()
        && let Err(error) = close_inherited(kept)
    {
        return failed(&Logger::default(), error.into());
    }
    let settings = Settings {
        log: cli.global.log.as_deref(),
        format: cli.global.log_format,
        level: cli.global.level(),
        quiet_stderr: cli.command.quiet_stderr(),
    };
    let logger = match logging::init(&settings) {
        Ok(logger) => logger,
        Err(error) => return failed(&Logger::default(), error.into()),
    };
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
    let euid = nix::unistd::geteuid().as_raw();
    let root = cli
        .global
        .root_dir(euid, runtime_dir.as_deref().map(Path::new));
    let config = config::Source::choose(
        cli.global.config.clone(),
        std::env::var_os(config::VARIABLE).as_deref(),
    );
    match command::run(cli, root, config) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(EXIT)),
        Err(error) => failed(&logger, error),
    }
}

/// Before a process of ours enters a container no descriptor is open but those that the caller means
/// for the container's process. The commands see to the binary itself (`sys::seal`).
fn close_inherited(preserve_fds: u32) -> Result<(), sys::seal::SealError> {
    let listen_fds = listen_fds(std::process::id(), |name| std::env::var(name).ok());
    sys::seal::close_inherited(preserve_fds.saturating_add(listen_fds))
}

fn stopped(early: Early) -> ExitCode {
    match early {
        Early::Print(text) => {
            anstream::println!("{}", text.ansi().to_string().trim_end());
            ExitCode::SUCCESS
        }
        Early::Usage(usage) => {
            let settings = Settings {
                log: usage.log.as_deref(),
                format: usage.log_format,
                ..Settings::default()
            };
            let logger = logging::init(&settings).unwrap_or_default();
            logger.report(&usage.to_string());
            ExitCode::from(EXIT)
        }
    }
}

fn failed(logger: &Logger, error: anyhow::Error) -> ExitCode {
    logger.report(Failure::from(error).line());
    ExitCode::from(EXIT)
}
