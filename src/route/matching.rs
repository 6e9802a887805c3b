//! Whether a rule's conditions hold for a container, and the words for why or why not.
//! Pure: it sees facts and patterns, nothing else.

use super::facts::Facts;
use crate::config::pattern::{AnyOf, Pattern};
use crate::config::rule::Conditions;

/// A condition's name, its patterns, and the container's value.
type Text<'a> = (&'a str, &'a Option<AnyOf<Pattern>>, Option<&'a str>);

/// `Ok` with what matched, `Err` with the first condition that doesn't hold.
pub fn conditions(wanted: &Conditions, facts: &Facts) -> Result<Vec<String>, String> {
    let mut held = Vec::new();
    let bundle = facts.bundle.to_string_lossy();
    let root = facts.root.to_string_lossy();
    let texts: [Text<'_>; 8] = [
        ("id", &wanted.id, Some(&facts.id)),
        ("image", &wanted.image, facts.image.as_deref()),
        ("namespace", &wanted.namespace, facts.namespace.as_deref()),
        ("pod", &wanted.pod, facts.pod.as_deref()),
        ("container", &wanted.container, facts.container.as_deref()),
        ("bundle", &wanted.bundle, Some(&bundle)),
        ("root", &wanted.root, Some(&root)),
        ("hostname", &wanted.hostname, facts.hostname.as_deref()),
    ];
    for (name, patterns, value) in texts {
        if let Some(patterns) = patterns {
            held.push(text(name, patterns, value)?);
        }
    }
    for (name, patterns) in &wanted.annotations {
        held.push(annotation(name, patterns, facts)?);
    }
    if let Some(ids) = &wanted.uid {
        match ids.0.iter().any(|ids| ids.0.contains(&facts.uid)) {
            true => held.push(format!("uid is {}", facts.uid)),
            false => return Err(format!("uid is {}", facts.uid)),
        }
    }
    if let Some(wanted) = &wanted.needs {
        let found = facts.needs.iter().find(|n| wanted.0.contains(&n.need));
        match found {
            Some(n) => held.push(format!("{} needs {}", n.field, n.need)),
            None => return Err("nothing of `needs` is needed".to_owned()),
        }
    }
    Ok(held)
}

fn text(name: &str, patterns: &AnyOf<Pattern>, value: Option<&str>) -> Result<String, String> {
    let value = value.ok_or_else(|| format!("{name} is not known"))?;
    let found = patterns.0.iter().find(|pattern| pattern.matches(value));
    match found {
        Some(pattern) => Ok(format!("{name} `{value}` matches {pattern}")),
        None => Err(format!("{name} is `{value}`")),
    }
}

fn annotation(name: &str, patterns: &AnyOf<Pattern>, facts: &Facts) -> Result<String, String> {
    let names = Pattern::glob(name)?;
    let named = facts
        .annotations
        .iter()
        .filter(|(key, _)| names.matches(key));
    let mut last = format!("no annotation `{name}`");
    for (key, value) in named {
        match text(&format!("annotation `{key}`"), patterns, Some(value)) {
            Ok(held) => return Ok(held),
            Err(other) => last = other,
        }
    }
    Err(last)
}
