//! `[backend.NAME]` for another OCI runtime. It must not look for the program: a configuration can
//! be checked on another machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

/// How to call the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The program: an absolute path, or a name to be found in the fixed search path. Without it
    /// the backend's own name.
    #[serde(default, deserialize_with = "program")]
    pub path: Option<PathBuf>,
    /// Arguments before all others, such as `--systemd-cgroup`.
    #[serde(default, deserialize_with = "texts")]
    pub args: Vec<String>,
    /// Variables for its environment.
    #[serde(default, deserialize_with = "variables")]
    pub env: BTreeMap<String, String>,
    /// The directory below which it keeps its state; without it one below pxrun's own root.
    #[serde(default, deserialize_with = "absolute")]
    pub root: Option<PathBuf>,
}

fn program<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let text = text(from)?;
    match text.starts_with('/') || !(text.is_empty() || text.contains('/')) {
        true => Ok(Some(text.into())),
        false => Err(D::Error::custom(format!(
            "`{text}` is neither an absolute path nor a program's name"
        ))),
    }
}

fn absolute<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let text = text(from)?;
    match text.starts_with('/') {
        true => Ok(Some(text.into())),
        false => Err(D::Error::custom(format!("`{text}` is no absolute path"))),
    }
}

fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let list: Vec<String> = Vec::deserialize(from)?;
    match list.iter().any(|text| text.contains('\0')) {
        true => Err(D::Error::custom("a NUL character can't be passed on")),
        false => Ok(list),
    }
}

fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map: BTreeMap<String, String> = BTreeMap::deserialize(from)?;
    let bad = |(name, value): &(&String, &String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    match map.iter().find(bad) {
        Some((name, _)) => Err(D::Error::custom(format!(
            "`{name}` is no variable's name, or its value holds a NUL character"
        ))),
        None => Ok(map),
    }
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.contains('\0') {
        true => Err(D::Error::custom("a NUL character can't be passed on")),
        false => Ok(text),
    }
}
