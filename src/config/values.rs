//! Every value that stands in a configuration file, with its place, for people who ask where it
//! comes from. It must not judge values: they have been checked when this is asked.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// `rule[0].match.image`.
    pub key: String,
    /// As TOML has it.
    pub text: String,
    /// Its line, from 1.
    pub line: usize,
}

/// All values of `text` in their order.
///
/// # Errors
/// It is no TOML.
pub fn values(path: &Path, text: &str) -> Result<Vec<Value>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::at(path, text, &error))?;
    let mut all = Vec::new();
    collect("", table.get_ref(), text, &mut all);
    all.sort_by_key(|value| value.line);
    Ok(all)
}

fn collect(prefix: &str, table: &DeTable<'_>, text: &str, all: &mut Vec<Value>) {
    for (key, value) in table {
        let key = key_text(key.get_ref());
        let key = match prefix.is_empty() {
            true => key,
            false => format!("{prefix}.{key}"),
        };
        match value.get_ref() {
            DeValue::Table(inner) => collect(&key, inner, text, all),
            DeValue::Array(list) if list.iter().any(|v| v.get_ref().is_table()) => {
                for (i, item) in list.iter().enumerate() {
                    let key = format!("{key}[{i}]");
                    match item.get_ref() {
                        DeValue::Table(inner) => collect(&key, inner, text, all),
                        _ => all.push(one(key, item, text)),
                    }
                }
            }
            _ => all.push(one(key, value, text)),
        }
    }
}

fn one(key: String, value: &Spanned<DeValue<'_>>, text: &str) -> Value {
    let span = value.span();
    let before = text.get(..span.start).unwrap_or_default();
    Value {
        key,
        // The file's own spelling, on one line.
        text: text
            .get(span)
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        line: before.matches('\n').count() + 1,
    }
}

fn key_text(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match key.chars().all(bare) && !key.is_empty() {
        true => key.to_owned(),
        false => format!("{key:?}"),
    }
}
