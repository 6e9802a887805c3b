//! Parse, seal, log, dispatch, report: nothing else happens here.

use std::process::ExitCode;

use pxrun::cli::{Cli, LogFormat, Stop, default_root};
use pxrun::{command, error, logging, sys};

fn main() -> ExitCode {
    let cli = match Cli::parse_argv(std::env::args_os()) {
        Ok(cli) => cli,
        Err(stop) => return stopped(stop),
    };
    if cli.command.enters_container()
        && let Err(error) = sys::seal::ensure_sealed()
    {
        return failed(&error);
    }
    let globals = &cli.globals;
    let settings = logging::Settings {
        file: globals.log.clone(),
        json: globals.log_format == LogFormat::Json,
        level: globals.level(),
        explicit: globals.debug || globals.log_level.is_some(),
    };
    let mut log = match logging::init(&settings) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    let root = globals.root.clone().unwrap_or_else(|| {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(Into::into);
        default_root(nix::unistd::geteuid().as_raw(), runtime_dir)
    });
    match command::run(cli, root) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            log.report(&error::one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn stopped(stop: Stop) -> ExitCode {
    match stop {
        Stop::Print(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Stop::Usage(text) => {
            eprintln!("pxrun: {text}");
            ExitCode::FAILURE
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("{}", error::one_line(error));
    ExitCode::FAILURE
}
