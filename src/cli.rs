//! What was typed, as data: the argument types of every command, one file a command in `cli/`.
//! Nothing here may touch files, container state or backends.

pub mod argv;
pub mod bundle;
pub mod checkpoint;
pub mod completion;
pub mod config;
pub mod create;
pub mod doctor;
pub mod events;
mod examples;
pub mod exec;
pub mod globals;
mod help;
pub mod id;
pub mod kill;
pub mod list;
pub mod pct;
pub mod ps;
pub mod quantity;
pub mod restore;
pub mod route;
pub mod run;
pub mod setup;
pub mod template;
pub mod update;
pub mod usage;
pub mod version;

pub use bundle::Bundle;
pub use checkpoint::Checkpoint;
pub use completion::Completion;
pub use config::Config;
pub use create::Create;
pub use doctor::Doctor;
pub use events::Events;
pub use exec::Exec;
pub use globals::Globals;
pub use kill::Kill;
/// Commands whose arguments are just those of the common OCI command line.
pub use liboci_cli::{Delete, Features, Pause, Resume, Spec, Start, State};
pub use list::List;
pub use pct::Pct;
pub use ps::Ps;
pub use restore::Restore;
pub use route::Route;
pub use run::Run;
pub use setup::Setup;
pub use template::Template;
pub use update::Update;
pub use usage::UsageError;

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// One whole command line.
#[derive(Debug, Parser)]
#[command(name = "pxrun", version, about = help::ABOUT)]
pub struct Cli {
    /// What stands before the command.
    #[command(flatten)]
    pub global: Globals,
    /// The command and its own arguments.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands. The text of each variant is its help.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// create a container
    ///
    /// The bundle's process waits, set up, until `start` lets it run.
    Create(Create),
    /// start a created container
    Start(Start),
    /// print the state of a container as json
    State(State),
    /// send a signal to a container
    Kill(Kill),
    /// delete a container and all that it holds
    Delete(Delete),
    /// create a container, start it and wait for its end
    ///
    /// The exit status is that of the container's process, or 128 plus the number of the signal
    /// that ended it.
    Run(Run),
    /// run another process in a running container
    ///
    /// All that follows the container id is the command, options included. Without --detach the
    /// exit status is that of the command, or 128 plus the number of the signal that ended it.
    Exec(Exec),
    /// list the processes of a container
    Ps(Ps),
    /// list the containers under the root directory
    List(List),
    /// suspend all processes of a container
    Pause(Pause),
    /// let a paused container go on
    Resume(Resume),
    /// change the resource limits of a container
    ///
    /// With --resources every other limit on the command line is ignored.
    Update(Update),
    /// print statistics and events of a container as json, one object a line
    Events(Events),
    /// save the state of a running container with criu
    Checkpoint(Checkpoint),
    /// restore a container from a checkpoint
    Restore(Restore),
    /// write a config.json to start from
    Spec(Spec),
    /// make and judge bundles
    Bundle(Bundle),
    /// make, list and prune templates of a Proxmox node
    Template(Template),
    /// print what this runtime can do as json
    Features(Features),
    /// tell a caller about this runtime
    ///
    /// Writes the caller's configuration, keeps the old file beside it, and leaves a file that it
    /// doesn't understand alone. A second time changes nothing.
    Setup(Setup),
    /// tell which backend would run a bundle, and why
    ///
    /// Nothing is run. The exit status is 1 when no backend may run it.
    Route(Route),
    /// tell what this host and its backends can do, and what is left lying about
    ///
    /// The exit status is 0 when everything that the configuration needs is there. Each leftover
    /// comes with the command that takes it away.
    Doctor(Doctor),
    /// check or print the configuration
    Config(Config),
    /// run Proxmox's pct on the guest of a container
    ///
    /// The guest's number is put in. Commands that would break what the container's caller relies
    /// on are refused, with the reason.
    Pct(Pct),
    /// print a shell's completion script
    Completion(Completion),
}

/// Why a command line leads to no command.
#[derive(Debug)]
pub enum Early {
    /// A text was asked for, such as help: it goes to stdout, and the exit status is 0. It is
    /// plain, and styled for a terminal through [`StyledStr::ansi`].
    Print(StyledStr),
    /// The arguments make no sense.
    Usage(UsageError),
}

impl Cli {
    /// Parses a whole command line, program name first.
    ///
    /// # Errors
    /// [`Early::Print`] for help and version, [`Early::Usage`] for what can't be parsed.
    pub fn parse_from_args(argv: impl IntoIterator<Item = OsString>) -> Result<Self, Early> {
        let definition = command();
        let line = argv::normalise(argv.into_iter().collect(), &definition);
        definition
            .try_get_matches_from(&line.argv)
            .and_then(|matches| Self::from_arg_matches(&matches))
            .map_err(|error| early(&error, &line))
    }
}

impl Command {
    /// `--preserve-fds` of a command whose process enters a container; `None` for the others.
    #[must_use]
    pub fn enters_container(&self) -> Option<u32> {
        let preserved = match self {
            Self::Create(args) => args.oci.preserve_fds,
            Self::Run(args) => args.create.oci.preserve_fds,
            Self::Exec(args) => args.preserve_fds,
            _ => return None,
        };
        Some(u32::try_from(preserved).unwrap_or(0))
    }

    /// Whether stderr must stay clean while the command succeeds: the container owns it (`create`,
    /// `run`, `exec`, `restore`), or a caller parses it together with stdout (CRI-O `features`;
    /// go-runc `state` and `ps`; the others that print for programs with them).
    #[must_use]
    pub fn quiet_stderr(&self) -> bool {
        !matches!(
            self,
            Self::Start(_)
                | Self::Kill(_)
                | Self::Delete(_)
                | Self::Pause(_)
                | Self::Resume(_)
                | Self::Update(_)
                | Self::Checkpoint(_)
                | Self::Spec(_)
                | Self::Bundle(_)
                | Self::Template(_)
        )
    }
}

/// The definition that parsing, help, man pages, completions and `docs/cli.md` come from.
#[must_use]
pub fn command() -> clap::Command {
    help::refine(Cli::command()).args_override_self(true)
}

fn early(error: &clap::Error, line: &argv::Line) -> Early {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Early::Print(error.render())
        }
        ErrorKind::DisplayVersion => Early::Print(version::text().into()),
        _ => Early::Usage(UsageError::new(error, line)),
    }
}
