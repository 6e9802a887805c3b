//! `template`: make, list, prune.

use super::Context;
use crate::cli::template::TemplateCommand;

pub fn run(_: &Context, command: TemplateCommand) -> anyhow::Result<()> {
    match command {
        TemplateCommand::Create(_) => anyhow::bail!("`template create` is not in this version yet"),
        TemplateCommand::List(_) => anyhow::bail!("`template list` is not in this version yet"),
        TemplateCommand::Prune(_) => anyhow::bail!("`template prune` is not in this version yet"),
    }
}
