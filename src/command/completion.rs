//! `completion`: a script for a shell, from the argument definitions.

use crate::cli::{self, Cli};

pub fn run(args: &cli::Completion) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::definition(), "pxrun", &mut script);
    super::print_text(String::from_utf8_lossy(&script).trim_end())
}
