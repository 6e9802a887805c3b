//! `bundle validate`: what the OCI, this host and each backend say of a bundle.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, print_text};
use crate::bundle::Bundle;
use crate::cli::bundle::BundleValidate;
use crate::cli::list::Format;
use crate::route::{self, Ability};
use crate::spec::Validated;
use crate::validate::{Finding, Level, findings};
use crate::{backend, host};

/// What one backend says.
#[derive(Debug, Serialize)]
struct Judgement {
    backend: String,
    /// It would run the bundle.
    runs: bool,
    /// It can't run anything here, because.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    /// Fields that it refuses.
    refuses: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    field: String,
    text: String,
}

pub fn run(context: &Context, args: &BundleValidate) -> anyhow::Result<i32> {
    let bundle = Bundle::load(&args.bundle)?;
    let found = findings(&bundle.path, &bundle.raw, &host::facts());
    let judgements = judge(context, &bundle.path, &bundle.raw, &args.backend)?;
    let sound = !found.iter().any(|finding| finding.level == Level::Error);
    // Of backends that were asked for all must run it, else one is enough.
    let mut all = judgements.iter().map(|judgement| judgement.runs);
    let runs = match args.backend.is_empty() {
        true => all.any(|runs| runs),
        false => all.all(|runs| runs),
    };
    let valid = sound && runs;
    match args.json || args.format == Format::Json {
        true => {
            let report = json!({ "valid": valid, "findings": found, "backends": judgements });
            print_text(&format!("{report:#}"))?;
        }
        false => print_text(&text(&found, &judgements, valid))?,
    }
    Ok(i32::from(!valid))
}

fn judge(
    context: &Context,
    dir: &Path,
    raw: &Value,
    asked: &[String],
) -> anyhow::Result<Vec<Judgement>> {
    let config = context.config()?;
    let names: BTreeSet<String> = match asked.is_empty() {
        false => asked.iter().cloned().collect(),
        true => {
            let known = backend::KNOWN.iter().map(ToString::to_string);
            known
                .chain(config.backend.delegates.keys().cloned())
                .collect()
        }
    };
    let needs = route::needs(raw).map_err(anyhow::Error::msg)?;
    // What has the wrong form is told already, and can't be translated.
    let valid = Validated::new(raw.clone(), &host::facts()).ok();
    let judge = |name: String| {
        let Ability { unusable, lacks } = backend::ability(&name, &config.backend, &context.root);
        let refused = needs.iter().filter_map(|needed| {
            let why = lacks.get(&needed.need.to_string())?;
            Some(Refused {
                field: needed.field.clone(),
                text: format!("`{}`: {why}", needed.need),
            })
        });
        let mut refuses: Vec<Refused> = refused.collect();
        if let Some(spec) = &valid {
            let own = backend::objections(&name, &config.backend, &context.root, spec, dir);
            let news = own.into_iter().filter(|(field, _)| {
                // The same field, or a part of it.
                let told = |r: &Refused| {
                    field.starts_with(&r.field) || r.field.starts_with(field.as_str())
                };
                !refuses.iter().any(told)
            });
            let news: Vec<Refused> = news.map(|(field, text)| Refused { field, text }).collect();
            refuses.extend(news);
        }
        Judgement {
            runs: unusable.is_none() && refuses.is_empty(),
            backend: name,
            unusable,
            refuses,
        }
    };
    Ok(names.into_iter().map(judge).collect())
}

fn text(found: &[Finding], judgements: &[Judgement], valid: bool) -> String {
    let mut lines: Vec<String> = Vec::new();
    for finding in found {
        let level = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let source = match finding.source {
            crate::validate::Source::Oci => "oci",
            crate::validate::Source::Host => "host",
        };
        lines.push(format!(
            "{level} ({source}) {}: {}",
            finding.field, finding.text
        ));
    }
    for judgement in judgements {
        let name = &judgement.backend;
        match &judgement.unusable {
            Some(why) => lines.push(format!("backend `{name}`: not here: {why}")),
            None if judgement.runs => lines.push(format!("backend `{name}`: runs it")),
            None => {}
        }
        for refused in &judgement.refuses {
            lines.push(format!(
                "backend `{name}`: {}: {}",
                refused.field, refused.text
            ));
        }
    }
    lines.push(if valid { "valid" } else { "not valid" }.to_owned());
    lines.join("\n")
}
