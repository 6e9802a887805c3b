//! Writes what the argument definitions say into files: `docs/cli.md`, man pages and completions.
//! Nothing here describes an option by itself.
//!
//! `cargo run --example docs -- OUTDIR` writes all of them below OUTDIR;
//! `cargo run --example docs -- --check` compares `docs/cli.md` with the definitions.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, Command, ValueEnum};
use pxrun::cli;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");

const PREFACE: &str = "# Command line

Made from the argument definitions in `src/cli/` by `cargo run --example docs`; don't edit.

Options may be repeated, the last one counts unless the text says that an option can be repeated.
Global options stand before the command; all but `--rootless` are understood after it too. Long
options may have one dash, as in Go.

A command that fails writes one plain line to stderr, the same to the file of `--log`, and exits
with 1. `run` and `exec` that wait exit with the status of their process, 128 + n when signal n
ended it.
";

fn main() -> ExitCode {
    let argument = std::env::args_os().nth(1);
    let done = match argument.as_deref() {
        Some(flag) if flag == "--check" => check(),
        Some(dir) => write_all(Path::new(dir)).map(|()| true),
        None => Err("usage: docs OUTDIR | docs --check".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "docs/cli.md differs from the definitions: run `cargo run --example docs -- .`"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("docs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<bool, Box<dyn Error>> {
    Ok(fs::read_to_string(COMMITTED)? == markdown())
}

fn write_all(dir: &Path) -> Result<(), Box<dyn Error>> {
    let docs = dir.join("docs");
    fs::create_dir_all(&docs)?;
    fs::write(docs.join("cli.md"), markdown())?;
    man_pages(&dir.join("man"))?;
    completions(&dir.join("completions"))?;
    Ok(())
}

fn built() -> Command {
    let mut command = cli::command();
    command.build();
    command
}

fn markdown() -> String {
    let root = built();
    let mut out = PREFACE.to_owned();
    out.push_str("\n## Global options\n\n");
    out.push_str(&table(root.get_arguments()));
    for command in root.get_subcommands() {
        out.push_str(&section(command.get_name(), command));
        for inner in command.get_subcommands() {
            let name = format!("{} {}", command.get_name(), inner.get_name());
            out.push_str(&section(&name, inner));
        }
    }
    out
}

fn section(name: &str, command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    let about = sentence(&about.unwrap_or_default());
    let more = command.get_long_about().map(ToString::to_string);
    let more = more.and_then(|text| text.split_once("\n\n").map(|(_, more)| more.to_owned()));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let mut out = format!("\n## {name}\n\n{about}\n");
    if let Some(more) = more {
        let _ = write!(out, "\n{more}\n");
    }
    let _ = write!(out, "\n```\n{usage}\n```\n");
    let own = || {
        let all = command.get_arguments();
        all.filter(|arg| !arg.is_global_set() && arg.get_id() != "help")
    };
    let options = own().filter(|arg| !arg.is_positional());
    let own = options.chain(own().filter(|arg| arg.is_positional()));
    let rows = table(own);
    if !rows.is_empty() {
        let _ = write!(out, "\n{rows}");
    }
    if let Some(example) = command.get_after_help() {
        let lines: Vec<_> = example
            .to_string()
            .lines()
            .map(|l| l.trim().to_owned())
            .collect();
        let _ = write!(
            out,
            "\n{}\n\n```\n{}\n```\n",
            lines[0],
            lines[1..].join("\n")
        );
    }
    out
}

/// "create a container" as a sentence of its own.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

fn table<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let rows: Vec<String> = args.filter(|arg| !arg.is_hide_set()).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("| argument | meaning |\n|---|---|\n{}", rows.concat())
}

fn row(arg: &Arg) -> String {
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let notes = if arg.get_action().takes_values() {
        notes(arg)
    } else {
        Vec::new()
    };
    if !notes.is_empty() {
        let _ = write!(meaning, " ({})", notes.join("; "));
    }
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| `{}` | {} |\n", cell(&spelling(arg)), cell(&meaning))
}

/// The values that an argument may have, and the one it has when it isn't given.
fn notes(arg: &Arg) -> Vec<String> {
    let possible = arg.get_possible_values();
    let possible = possible.iter().filter(|value| !value.is_hide_set());
    let possible: Vec<_> = possible.map(|v| format!("`{}`", v.get_name())).collect();
    let default = arg.get_default_values().iter();
    let default: Vec<_> = default
        .map(|v| format!("`{}`", v.to_string_lossy()))
        .collect();
    let mut notes = Vec::new();
    if !possible.is_empty() {
        notes.push(format!("one of {}", possible.join(", ")));
    }
    if !default.is_empty() {
        notes.push(format!("default: {}", default.join(" ")));
    }
    notes
}

fn spelling(arg: &Arg) -> String {
    let Some(long) = arg.get_long() else {
        return arg.to_string();
    };
    let short = arg
        .get_short()
        .map_or_else(String::new, |c| format!("-{c}, "));
    let value = arg.get_value_names().unwrap_or_default();
    if !arg.get_action().takes_values() || value.is_empty() {
        return format!("{short}--{long}");
    }
    match arg.is_require_equals_set() {
        true => format!("{short}--{long}[={}]", value[0]),
        false => format!("{short}--{long} {}", value[0]),
    }
}

fn man_pages(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let root = built();
    let hide = |arg: Arg| match arg.is_global_set() {
        true => arg.hide(true),
        false => arg,
    };
    for command in root.get_subcommands() {
        man_page(command.clone().mut_args(hide), dir)?;
        for inner in command.get_subcommands() {
            man_page(inner.clone().mut_args(hide), dir)?;
        }
    }
    man_page(root, dir)
}

fn man_page(command: Command, dir: &Path) -> io::Result<()> {
    // Section 8, as runc's and crun's: commands for the system's administrator.
    let page = clap_mangen::Man::new(command).section("8");
    let page = page.source(concat!("pxrun ", env!("CARGO_PKG_VERSION")));
    page.generate_to(dir).map(|_| ())
}

fn completions(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for shell in clap_complete::Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut cli::command(), "pxrun", dir)?;
    }
    Ok(())
}
