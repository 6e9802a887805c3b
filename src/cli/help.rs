//! What the derived definitions still lack: one voice in the help, and the rules that shared
//! argument types don't know. No parsing happens here.

use clap::{Arg, ArgAction, Command, value_parser};

use super::{examples, id};

/// First line of the help.
pub const ABOUT: &str = "OCI runtime that runs each container where it belongs";

/// Texts for the options that come from liboci-cli.
const TEXTS: [(&str, &str, &str); 9] = [
    (
        "bundle",
        "DIR",
        "directory with config.json and the root file system",
    ),
    (
        "console_socket",
        "SOCKET",
        "socket that receives the master end of the terminal",
    ),
    ("pid_file", "FILE", "file to write the process id to"),
    (
        "no_pivot",
        "",
        "use MS_MOVE and chroot instead of pivot_root",
    ),
    ("no_new_keyring", "", "don't create a session keyring"),
    (
        "preserve_fds",
        "N",
        "pass N descriptors after stdio and $LISTEN_FDS",
    ),
    (
        "force",
        "",
        "kill the container first; no error when it is gone already",
    ),
    ("rootless", "", "write one that works without privileges"),
    ("container_id", "CONTAINER_ID", "container id"),
];

/// Commands whose texts come from liboci-cli.
const SHARED: [&str; 8] = [
    "create", "run", "start", "state", "delete", "pause", "resume", "spec",
];

/// Completes the definition of the whole command line.
pub fn refine(command: Command) -> Command {
    let version = Arg::new("version")
        .short('v')
        .long("version")
        .action(ArgAction::Version)
        .help("print the version");
    with_help(command.mut_args(|arg| arg.help_heading("Global options")))
        .disable_version_flag(true)
        .arg(version)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .mut_subcommands(|sub| groups(with_example(with_help(rules(texts(sub))))))
}

/// Commands of commands: their texts are their own.
fn groups(command: Command) -> Command {
    match command.has_subcommands() {
        true => command
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
            .mut_subcommands(with_help),
        false => command,
    }
}

fn with_help(command: Command) -> Command {
    let help = Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help("print help");
    command.disable_help_flag(true).arg(help)
}

fn with_example(command: Command) -> Command {
    match examples::of(command.get_name()) {
        Some(lines) => command.after_help(examples::block(lines)),
        None => command,
    }
}

fn texts(command: Command) -> Command {
    if !SHARED.contains(&command.get_name()) {
        return command;
    }
    command.mut_args(|arg| {
        let row = TEXTS.iter().find(|(id, ..)| arg.get_id() == id);
        match row {
            Some((_, "", help)) => arg.help(*help),
            Some((_, value, help)) => arg.value_name(*value).help(*help),
            None => arg,
        }
    })
}

fn rules(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_id().as_str() {
        "container_id" => arg.value_parser(id::check),
        "preserve_fds" => arg.value_parser(value_parser!(i32).range(0..)),
        _ => arg,
    })
}
