//! `route`: which backend would run a bundle, and why; and the same question for `create`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Context, print_json, print_text};
use crate::backend;
use crate::bundle::Bundle;
use crate::cli::{self, list::Format};
use crate::partner;
use crate::route::{self, Facts, Host, Need, Refused, Route};

/// Decides for a new container.
///
/// # Errors
/// The configuration can't be used, or no backend may run it.
pub fn decide(context: &Context, id: &str, bundle: &Path, spec: &Value) -> anyhow::Result<Route> {
    let facts = facts(id, bundle, spec)?;
    let host = host(context, &facts)?;
    let route = route::decide(&facts, context.config()?, &host)?;
    tracing::debug!("backend `{}`: {}", route.backend, route.reason);
    Ok(route)
}

fn facts(id: &str, bundle: &Path, spec: &Value) -> anyhow::Result<Facts> {
    let uid = nix::unistd::getuid().as_raw();
    Facts::new(id, bundle, spec, uid).map_err(anyhow::Error::msg)
}

/// Gives the document the annotations of the rule that chose its backend.
pub fn annotate(spec: &mut Value, annotations: &BTreeMap<String, String>) {
    let Some(spec) = spec.as_object_mut().filter(|_| !annotations.is_empty()) else {
        return;
    };
    let own = spec.entry("annotations").or_insert(Value::Null);
    if own.is_null() {
        *own = json!({});
    }
    // What isn't an object is refused by its rule.
    if let Some(own) = own.as_object_mut() {
        let new = annotations.iter();
        own.extend(new.map(|(name, value)| (name.clone(), json!(value))));
    }
}

/// The snapshot that the decision is made from: only what it may come to is looked at.
fn host(context: &Context, facts: &Facts) -> anyhow::Result<Host> {
    let config = context.config()?;
    let mut host = Host {
        own: backend::of_this_host(&config.backend).to_owned(),
        partner: partner::find(&context.root, facts),
        ..Host::default()
    };
    let ability = |name: &str| backend::ability(name, &config.backend, &context.root);
    let names = route::candidates(facts, config, &host).into_iter();
    host.backends = names.map(|name| (name.to_owned(), ability(name))).collect();
    Ok(host)
}

pub fn run(context: &Context, args: cli::Route) -> anyhow::Result<()> {
    let bundle = Bundle::load(&args.bundle)?;
    let facts = facts(&args.id, &bundle.path, &bundle.raw)?;
    let host = host(context, &facts)?;
    let outcome = route::decide(&facts, context.config()?, &host);
    match args.format {
        Format::Json => print_json(&as_json(&facts, &host, &outcome))?,
        Format::Table => print_text(&as_text(context, &facts, &host, &outcome))?,
    }
    outcome.map(drop).map_err(anyhow::Error::from)
}

fn as_json(facts: &Facts, host: &Host, outcome: &Result<Route, Refused>) -> Value {
    let (backend, reason, before, refused) = match outcome {
        Ok(route) => (Some(&route.backend), &route.reason, &route.before, None),
        Err(no) => (None, &no.reason, &no.before, Some(&no.what)),
    };
    json!({
        "backend": backend,
        "reason": reason,
        "before": before,
        "refused": refused,
        "annotate": outcome.as_ref().map(|route| &route.annotate).ok(),
        "facts": facts,
        "backends": host.backends,
    })
}

fn as_text(
    context: &Context,
    facts: &Facts,
    host: &Host,
    outcome: &Result<Route, Refused>,
) -> String {
    let mut lines = Vec::new();
    let (reason, before) = match outcome {
        Ok(route) => {
            lines.push(format!("backend   {}", route.backend));
            (&route.reason, &route.before)
        }
        Err(no) => {
            lines.push("backend   none".to_owned());
            lines.push(format!("refused   {}", no.what));
            (&no.reason, &no.before)
        }
    };
    lines.push(format!("because   {reason}"));
    let annotate = outcome.as_ref().map(|route| &route.annotate);
    let annotations = annotate.into_iter().flatten();
    lines.extend(annotations.map(|(name, value)| format!("annotate  {name}={value}")));
    lines.extend(before.iter().map(|step| format!("before    {step}")));
    lines.push(format!("rules     {}", context.source.path().display()));
    let text = |name: &str, value: &Option<String>| value.as_ref().map(|v| format!("{name} `{v}`"));
    let some = [
        text("image", &facts.image),
        text("namespace", &facts.namespace),
        text("pod", &facts.pod),
        text("container", &facts.container),
        text("hostname", &facts.hostname),
        text("sandbox", &facts.sandbox),
    ];
    let path = |path: &PathBuf| path.display().to_string();
    lines.push(format!("fact      id `{}`", facts.id));
    lines.extend(
        some.into_iter()
            .flatten()
            .map(|fact| format!("fact      {fact}")),
    );
    lines.push(format!("fact      bundle `{}`", path(&facts.bundle)));
    lines.push(format!("fact      root `{}`", path(&facts.root)));
    lines.push(format!("fact      uid {}", facts.uid));
    lines.extend(
        facts
            .needs
            .iter()
            .map(|n| format!("needs     {} ({})", n.need, n.field)),
    );
    for (name, ability) in &host.backends {
        let why = ability
            .unusable
            .iter()
            .map(|why| format!("can't be used: {why}"));
        // A Linux document is never for another platform.
        let here = |need: &String| {
            let mut others = Need::OTHER_PLATFORMS.iter();
            !others.any(|other| other.to_string() == *need)
        };
        let lacks = ability.lacks.iter().filter(|(need, _)| here(need));
        let lacks = lacks.map(|(need, why)| format!("can't do {need}: {why}"));
        lines.extend(
            why.chain(lacks)
                .map(|text| format!("limits    {name} {text}")),
        );
    }
    lines.join("\n")
}
