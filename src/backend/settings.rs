//! What the configuration file tells each backend, typed. It must not read the file, nor know
//! which backend is chosen.
//!
//! A backend that has something to set brings its type, a member of [`Settings`] and its line in
//! the visitor below: the table `[backend.NAME]` is then checked like the rest of the file, and
//! [`super::CreateOptions::settings`] hands the values over. What later commands need of them goes
//! into the record, since they work from that alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::{delegate, embedded, lxc, proxmox};

/// All tables `[backend.NAME]`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Other OCI runtimes: every name that no backend of pxrun's own has.
    pub delegates: BTreeMap<String, delegate::Settings>,
    /// The Proxmox node.
    pub proxmox: proxmox::Settings,
}

/// A backend without settings.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Tables)
    }
}

/// A visitor instead of a derived map, so that each value's place in the file is known.
struct Tables;

impl<'de> Visitor<'de> for Tables {
    type Value = Settings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table for each backend")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut tables: A) -> Result<Settings, A::Error> {
        let mut settings = Settings::default();
        while let Some(Name(name)) = tables.next_key()? {
            match name.as_str() {
                embedded::NAME | lxc::NAME => {
                    tables.next_value::<Nothing>()?;
                }
                proxmox::NAME => settings.proxmox = tables.next_value()?,
                _ => {
                    let delegate = tables.next_value()?;
                    settings.delegates.insert(name, delegate);
                }
            }
        }
        Ok(settings)
    }
}

/// A backend's name: it becomes a file name.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        match is_name(&name) {
            true => Ok(Name(name)),
            false => Err(D::Error::custom(format!(
                "`{name}` is no name of a backend: use lower-case letters, digits, `-` and `_`"
            ))),
        }
    }
}

/// Whether a backend can have that name.
pub fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}
