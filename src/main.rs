//! Parse, seal, log, dispatch, report: nothing else happens here.

use std::path::Path;
use std::process::ExitCode;

use pxrun::cli::{Cli, Command, Early};
use pxrun::error::{EXIT, Failure};
use pxrun::logging::{self, Logger, Settings};
use pxrun::{command, config, sys};

fn main() -> ExitCode {
    let cli = match Cli::parse_from_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(early) => return stopped(early),
    };
    if enters_container(&cli.command)
        && let Err(error) = sys::seal::ensure_sealed()
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

/// Commands whose process enters a container: the binary has to be out of its reach first.
fn enters_container(command: &Command) -> bool {
    matches!(
        command,
        Command::Create(_) | Command::Run(_) | Command::Exec(_)
    )
}

fn stopped(early: Early) -> ExitCode {
    match early {
        Early::Print(text) => {
            println!("{}", text.trim_end());
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
