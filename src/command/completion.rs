//! `completion`: a script for a shell, from the argument definitions.

use crate::cli;

pub fn run(args: &cli::Completion) -> anyhow::Result<()> {
    let script = cli::completion::script(args.shell);
    super::print_text(String::from_utf8_lossy(&script).trim_end())
}
