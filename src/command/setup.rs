//! `setup`: a caller's configuration, shown, made or taken back.

use std::path::PathBuf;

use anyhow::Context as _;

use super::print_text;
use crate::cli::{self, setup::Caller};
use crate::setup::file::Change;
use crate::setup::{Outcome, Place, Target, containerd, crio, diff, docker, kubernetes, podman};

pub fn run(args: cli::Setup) -> anyhow::Result<()> {
    let target = match args.caller {
        Caller::Podman => podman::TARGET,
        Caller::Containerd => containerd::TARGET,
        Caller::Crio => crio::TARGET,
        Caller::Docker => docker::TARGET,
        Caller::Kubernetes if args.undo => anyhow::bail!(
            "nothing to undo: take the objects away with `pxrun setup kubernetes | kubectl delete -f -`"
        ),
        Caller::Kubernetes => return print_text(kubernetes::OBJECTS.trim_end()),
    };
    let binary = args.binary.map_or_else(own_path, Ok)?;
    let place = Place::new(args.prefix);
    let change = match args.undo {
        true => place.undo(&target, &binary),
        false => place.setup(&target, &binary),
    };
    let change = change.with_context(|| format!("set up `{}`", target.file))?;
    if args.dry_run {
        return print_text(preview(&change).trim_end());
    }
    let outcome = change.commit()?;
    print_text(report(&change, &outcome, &target).trim_end())
}

fn own_path() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("find this program's path; give it with --binary")
}

fn preview(change: &Change) -> String {
    let path = change.path.display().to_string();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if change.old == change.new {
        return format!("`{path}` stays as it is");
    }
    let note = match (&change.old, &change.new) {
        (None, _) => format!("new file `{path}`\n"),
        (_, None) => format!("`{path}` goes away\n"),
        _ => String::new(),
    };
    note + &diff::unified(&path, &text(&change.old), &text(&change.new))
}

fn report(change: &Change, outcome: &Outcome, target: &Target) -> String {
    let path = change.path.display();
    let mut lines = match outcome {
        Outcome::Nothing => return format!("`{path}` stays as it is"),
        Outcome::Removed => return format!("removed `{path}`"),
        Outcome::Restored => return format!("restored `{path}`"),
        Outcome::Written(None) => vec![format!("wrote `{path}`")],
        Outcome::Written(Some(copy)) => vec![
            format!("wrote `{path}`"),
            format!("the old one is `{}`", copy.display()),
        ],
    };
    lines.push("next:".into());
    lines.extend(target.next.iter().map(|next| format!("  {next}")));
    lines.join("\n")
}
