//! Which backend runs a container, and why: a pure function of what the container asks for, what
//! is configured and a snapshot of the host. It must not touch files, processes or the host.

mod facts;
mod matching;
mod needs;

use std::collections::BTreeMap;

use serde::Serialize;

pub use facts::{Facts, Join};
pub use needs::{NAMES as NEEDS, NEEDS_ANNOTATION, Need, Needed, needs};

use crate::config::Config;
use crate::config::rule::Rule;

/// The annotation by which a container asks for a backend.
pub const BACKEND_ANNOTATION: &str = "dev.pxrun.backend";

/// What the decision depends on beside the container and the configuration.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The backend of this kind of host.
    pub own: String,
    /// Each backend that may be chosen.
    pub backends: BTreeMap<String, Ability>,
    /// The container that this one belongs to, if it is one of ours.
    pub partner: Option<Partner>,
}

/// What a backend can't do here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ability {
    /// It can't run anything, because.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// It lacks these, because.
    pub lacks: BTreeMap<String, String>,
}

impl Ability {
    /// A backend that can't run anything.
    pub fn unusable(why: impl Into<String>) -> Ability {
        Ability {
            unusable: Some(why.into()),
            ..Ability::default()
        }
    }

    /// One more thing that it can't do.
    #[must_use]
    pub fn without(mut self, need: Need, why: impl Into<String>) -> Ability {
        self.lacks.insert(need.to_string(), why.into());
        self
    }
}

/// A container that shares something with the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partner {
    /// Its id.
    pub id: String,
    /// Its backend.
    pub backend: String,
    /// What they share, and the field that says so.
    pub shares: String,
}

/// A decision, made once at `create` and kept in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Name of the backend.
    pub backend: String,
    /// Why this one, for people.
    pub reason: String,
    /// What was asked before, and why it wasn't that.
    pub before: Vec<String>,
    /// Annotations that the container gets where it has none of the name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotate: BTreeMap<String, String>,
}

/// No backend may run the container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{what}")]
pub struct Refused {
    /// Which backend, and the field that it can't do.
    pub what: String,
    /// Why it would have been that one.
    pub reason: String,
    /// What was asked before.
    pub before: Vec<String>,
}

/// Chooses a backend.
///
/// # Errors
/// The chosen one can't do what the container asks for.
pub fn decide(facts: &Facts, config: &Config, host: &Host) -> Result<Route, Refused> {
    let mut route = choose(facts, config, host)?;
    // Whoever chose the backend: what the first rule for it says of such containers holds.
    let mut rules = config
        .rule
        .iter()
        .filter(|rule| rule.backend == route.backend);
    if let Some(rule) = rules.find(|rule| applies(rule, facts).is_ok()) {
        route.annotate = rule.annotate.clone();
        route
            .annotate
            .retain(|name, _| facts.annotation(name).is_none());
    }
    Ok(route)
}

fn choose(facts: &Facts, config: &Config, host: &Host) -> Result<Route, Refused> {
    let mut before = Vec::new();
    if let Some(partner) = &host.partner {
        let reason = format!("stays with container `{}`: {}", partner.id, partner.shares);
        return settle(&partner.backend, reason, before, facts, host);
    }
    if let Some(wanted) = facts.annotation(BACKEND_ANNOTATION) {
        if config.default.annotation.allows(wanted) {
            let reason = format!("annotation `{BACKEND_ANNOTATION}`");
            return settle(wanted, reason, before, facts, host);
        }
        before.push(format!(
            "annotation `{BACKEND_ANNOTATION}`: the configuration doesn't allow `{wanted}`"
        ));
    }
    for (i, rule) in config.rule.iter().enumerate() {
        let name = label(i, rule);
        let reason = match applies(rule, facts) {
            Ok(held) => format!("{name}: {held}"),
            Err(why) => {
                before.push(format!("{name}: {why}"));
                continue;
            }
        };
        match cannot(&rule.backend, facts, host) {
            Some(why) if rule.fallback => before.push(format!("{reason}; but {why}")),
            _ => return settle(&rule.backend, reason, before, facts, host),
        }
    }
    let (backend, reason) = match &config.default.backend {
        Some(name) => (name, "default of the configuration"),
        None => (&host.own, "default of this host"),
    };
    settle(backend, reason.to_owned(), before, facts, host)
}

fn settle(
    backend: &str,
    reason: String,
    before: Vec<String>,
    facts: &Facts,
    host: &Host,
) -> Result<Route, Refused> {
    match cannot(backend, facts, host) {
        Some(what) => Err(Refused {
            what,
            reason,
            before,
        }),
        None => Ok(Route {
            backend: backend.to_owned(),
            reason,
            before,
            annotate: BTreeMap::new(),
        }),
    }
}

/// Why a backend can't run the container.
fn cannot(backend: &str, facts: &Facts, host: &Host) -> Option<String> {
    let Some(ability) = host.backends.get(backend) else {
        return Some(format!("backend `{backend}` is unknown to this version"));
    };
    if let Some(why) = &ability.unusable {
        return Some(format!("backend `{backend}` can't be used: {why}"));
    }
    facts.needs.iter().find_map(|needed| {
        let why = ability.lacks.get(&needed.need.to_string())?;
        let (field, need) = (&needed.field, needed.need);
        Some(format!(
            "{field}: backend `{backend}` can't do {need}: {why}"
        ))
    })
}

fn applies(rule: &Rule, facts: &Facts) -> Result<String, String> {
    let held = matching::conditions(&rule.matching, facts)?;
    if let Some(unless) = &rule.unless
        && let Ok(held) = matching::conditions(unless, facts)
    {
        return Err(format!("unless: {}", held.join(", ")));
    }
    match held.is_empty() {
        true => Ok("matches everything".to_owned()),
        false => Ok(held.join(", ")),
    }
}

fn label(index: usize, rule: &Rule) -> String {
    match &rule.name {
        Some(name) => format!("rule {} `{name}`", index + 1),
        None => format!("rule {}", index + 1),
    }
}

/// The backends that the decision may come to, so that nobody else has to be asked.
pub fn candidates<'a>(facts: &'a Facts, config: &'a Config, host: &'a Host) -> Vec<&'a str> {
    let partner = host.partner.iter().map(|p| p.backend.as_str());
    let asked = facts.annotation(BACKEND_ANNOTATION).into_iter();
    let rules = config.rule.iter().map(|rule| rule.backend.as_str());
    let last = config.default.backend.as_deref().unwrap_or(&host.own);
    let mut all: Vec<&str> = partner.chain(asked).chain(rules).collect();
    all.push(last);
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
