//! What callers may type: argument types, one file a command. Must not touch files, state or
//! backends.

mod checkpoint;
mod completion;
mod create;
mod events;
mod exec;
mod globals;
mod id;
mod kill;
mod list;
mod restore;
mod signal;
mod size;
mod update;

pub use checkpoint::Checkpoint;
pub use completion::Completion;
pub use create::{Create, Run};
pub use events::Events;
pub use exec::Exec;
pub use globals::{Globals, LogFormat, default_root};
pub use id::check as check_id;
pub use kill::Kill;
pub use list::{List, ListFormat};
pub use liboci_cli::{Delete, Features, Pause, Ps, Resume, Spec, Start, State};
pub use restore::Restore;
pub use signal::parse as parse_signal;
pub use update::Update;

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

/// The version text that callers parse: the first line is `<name> version <x.y.z>` (moby,
/// `info_unix.go`; go-runc, `runc.go`).
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("PXRUN_COMMIT"),
    "\nspec: 1.3.0"
);

/// run each OCI container where it belongs
#[derive(Debug, Parser)]
#[command(
    name = "pxrun",
    bin_name = "pxrun",
    disable_version_flag = true,
    args_override_self = true,
    subcommand_required = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One variant a command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// create a container from a bundle; `start` then runs its process
    Create(Create),
    /// run the process of a created container
    Start(Start),
    /// print the state of a container as json
    State(State),
    /// send a signal to a container's init, TERM by default
    Kill(Kill),
    /// delete a container and everything that belongs to it
    Delete(Delete),
    /// create and start a container, and wait for its end
    Run(Run),
    /// run another process in a running container
    Exec(Exec),
    /// list the processes of a container
    Ps(Ps),
    /// list the containers under the root
    List(List),
    /// freeze all processes of a container
    Pause(Pause),
    /// let the processes of a paused container run again
    Resume(Resume),
    /// change the limits of a container
    Update(Update),
    /// print statistics and out-of-memory events of a container as json
    Events(Events),
    /// checkpoint a running container
    Checkpoint(Checkpoint),
    /// restore a container from a checkpoint
    Restore(Restore),
    /// write a config.json to start from
    Spec(Spec),
    /// print what this runtime can do as json
    Features(Features),
    /// print a completion script for a shell
    Completion(Completion),
}

/// What parsing came to when there is no command to run.
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for: this text belongs on standard output.
    Print(String),
    /// One line on what is wrong.
    Usage(String),
}

impl Cli {
    /// Reads a whole argument list, the program's name first.
    ///
    /// # Errors
    /// [`Stop`]: help or version was asked for, or the list makes no sense.
    pub fn parse_argv(argv: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
        let argv = normalised(argv.into_iter().collect());
        if asks_version(&argv) {
            return Err(Stop::Print(format!("pxrun version {VERSION}")));
        }
        let cli = Cli::try_parse_from(argv).map_err(|error| {
            use clap::error::ErrorKind::{
                DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand,
            };
            match error.kind() {
                DisplayHelp => Stop::Print(error.to_string().trim_end().to_owned()),
                DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand => {
                    Stop::Usage("no command given, see `pxrun --help`".to_owned())
                }
                _ => Stop::Usage(usage_line(&error)),
            }
        })?;
        match cli.command.container_id().map_or(Ok(()), check_id) {
            Ok(()) => Ok(cli),
            Err(text) => Err(Stop::Usage(text)),
        }
    }

    /// The definition itself, for completions, man pages and docs/cli.md.
    pub fn definition() -> clap::Command {
        <Cli as CommandFactory>::command()
    }
}

impl Command {
    fn container_id(&self) -> Option<&str> {
        Some(match self {
            Command::Create(c) => &c.common.container_id,
            Command::Run(c) => &c.common.container_id,
            Command::Start(c) => &c.container_id,
            Command::State(c) => &c.container_id,
            Command::Kill(c) => &c.container_id,
            Command::Delete(c) => &c.container_id,
            Command::Exec(c) => &c.container_id,
            Command::Ps(c) => &c.container_id,
            Command::Pause(c) => &c.container_id,
            Command::Resume(c) => &c.container_id,
            Command::Update(c) => &c.container_id,
            Command::Events(c) => &c.container_id,
            Command::Checkpoint(c) => &c.container_id,
            Command::Restore(c) => &c.container_id,
            Command::List(_) | Command::Spec(_) | Command::Features(_) | Command::Completion(_) => {
                return None;
            }
        })
    }

    /// Commands whose process enters a container: the binary has to be out of its reach first.
    pub fn enters_container(&self) -> bool {
        matches!(
            self,
            Command::Create(_) | Command::Run(_) | Command::Exec(_) | Command::Restore(_)
        )
    }
}

/// go-runc sends `-no-subreaper` with one dash (`runc.go`, `RestoreOpts.args`), which Go's flag
/// packages take and clap reads as a bunch of short flags.
fn normalised(mut argv: Vec<OsString>) -> Vec<OsString> {
    if let Some(command) = argv.iter().position(|arg| arg == "restore") {
        for arg in &mut argv[command..] {
            if arg == "-no-subreaper" {
                *arg = "--no-subreaper".into();
            }
        }
    }
    argv
}

/// `--version` and `-v` count before the command only.
fn asks_version(argv: &[OsString]) -> bool {
    argv.iter()
        .skip(1)
        .take_while(|arg| arg.to_string_lossy().starts_with('-'))
        .any(|arg| arg == "--version" || arg == "-v")
}

/// clap's first paragraph without its label, on one line.
fn usage_line(error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    // podman probes for restore's flags and looks for these words (`crutils.go`).
    if let (ErrorKind::InvalidValue, Some(ContextValue::String(arg))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
        && matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(v)) if v.is_empty())
    {
        return format!("flag needs an argument: {arg}");
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}
