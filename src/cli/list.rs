//! `list`. Own type: callers send `-f`, which liboci-cli doesn't know.

use clap::{Args, ValueEnum};

/// `list`.
#[derive(Debug, Args)]
pub struct List {
    /// how to print
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
    /// print ids alone
    #[arg(short, long)]
    pub quiet: bool,
}

/// How `list` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// columns with a heading
    Table,
    /// one array
    Json,
}
