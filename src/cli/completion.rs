//! Arguments of `completion`, and the scripts themselves.
//! A script is made from the definitions alone; it must not ask the host anything.

use clap::Args;
pub use clap_complete::Shell;

/// Arguments of `completion`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Completion {
    /// shell to complete for
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The completion script for `shell`.
#[must_use]
pub fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "pxrun", &mut script);
    script
}
