//! `config`: whether the configuration can be used, and what it comes to.

use super::{Context, print_text};
use crate::backend;
use crate::cli::{self, config::Action};
use crate::config::{Config, Source, VARIABLE};

pub fn run(context: &Context, args: cli::Config) -> anyhow::Result<()> {
    let config = context.config()?;
    match args.action {
        Action::Check => check(context, config),
        Action::Show => show(context, config),
    }
}

/// A file without mistakes may still name what this host lacks: told, but no failure, since one
/// file serves a whole fleet.
fn check(context: &Context, config: &Config) -> anyhow::Result<()> {
    let path = context.source.path().display();
    let mut lines = vec![match context.source.text()? {
        Some(_) => format!("{path}: good"),
        None => format!("{path}: absent, the defaults hold"),
    }];
    for name in config.named_backends() {
        let ability = backend::ability(name, &config.backend, &context.root);
        if let Some(why) = ability.unusable {
            lines.push(format!(
                "backend `{name}` can't be used on this host: {why}"
            ));
        }
    }
    print_text(&lines.join("\n"))
}

fn show(context: &Context, config: &Config) -> anyhow::Result<()> {
    let file = context.source.path().display().to_string();
    let mut rows: Vec<(String, String, String)> = Vec::new();
    let text = context.source.text()?.unwrap_or_default();
    for value in crate::config::values(context.source.path(), &text)? {
        rows.push((value.key, value.text, format!("{file}:{}", value.line)));
    }
    let mut absent = |key: &str, value: String, from: &str| {
        if !rows.iter().any(|(known, ..)| known == key) {
            rows.push((key.to_owned(), value, from.to_owned()));
        }
    };
    let own = backend::of_this_host(&config.backend);
    absent("default.backend", format!("{own:?}"), "this kind of host");
    absent("default.annotation", "true".to_owned(), "built in");
    for name in config
        .named_backends()
        .filter(|name| backend::is_delegate(name))
    {
        let delegate = config.backend.delegates.get(name);
        if delegate.is_none_or(|delegate| delegate.path.is_none()) {
            absent(
                &format!("backend.{name}.path"),
                format!("{name:?}"),
                "the backend's name",
            );
        }
    }
    let source = match &context.source {
        Source::Flag(_) => "--config".to_owned(),
        Source::Variable(_) => format!("${VARIABLE}"),
        Source::Default => "default place".to_owned(),
    };
    let state = if text.is_empty() {
        ", nothing in it"
    } else {
        ""
    };
    let mut lines = vec![format!("# {file} ({source}{state})")];
    let wide = rows
        .iter()
        .map(|(k, v, _)| k.len() + v.len() + 3)
        .max()
        .unwrap_or(0);
    lines.extend(
        rows.iter()
            .map(|(key, value, from)| format!("{:wide$}  # {from}", format!("{key} = {value}"))),
    );
    print_text(&lines.join("\n"))
}
