//! `[[rule]]`: which containers go to which backend. Data only; `route` decides with it.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use super::pattern::{AnyOf, FromScalar, Ids, Pattern};
use crate::route::Need;

/// One rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All of these have to hold; none at all holds always.
    #[serde(default, rename = "match")]
    pub matching: Conditions,
    /// The rule doesn't count when all of these hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<Conditions>,
    /// Where the containers go.
    #[serde(deserialize_with = "backend_name")]
    pub backend: String,
    /// Try the following rules when that backend can't.
    #[serde(default)]
    pub fallback: bool,
    /// Annotations that its containers get where they have none of the name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotate: BTreeMap<String, String>,
}

/// What a container has to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// The container's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<AnyOf<Pattern>>,
    /// Names (globs) and values of annotations.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "annotations"
    )]
    pub annotations: BTreeMap<String, AnyOf<Pattern>>,
    /// The image's name, where an annotation carries it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<AnyOf<Pattern>>,
    /// The Kubernetes namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<AnyOf<Pattern>>,
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<AnyOf<Pattern>>,
    /// The container's name in its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<AnyOf<Pattern>>,
    /// The bundle's absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<AnyOf<Pattern>>,
    /// The root file system's absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<AnyOf<Pattern>>,
    /// `hostname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<AnyOf<Pattern>>,
    /// Uid of pxrun's caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<AnyOf<Ids>>,
    /// What the container needs, one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<AnyOf<Need>>,
}

impl FromScalar for Need {
    const EXPECTED: &'static str = "need";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl<'de> Deserialize<'de> for Need {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// `annotation`: whether a container may choose for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Choice {
    /// Any backend, or none.
    Any(bool),
    /// These.
    Of(Vec<String>),
}

impl Choice {
    /// Whether a container may ask for that backend.
    pub fn allows(&self, backend: &str) -> bool {
        match self {
            Choice::Any(all) => *all,
            Choice::Of(names) => names.iter().any(|name| name == backend),
        }
    }
}

impl Default for Choice {
    fn default() -> Self {
        Choice::Any(true)
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Choice;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or a list of backends")
            }
            fn visit_bool<E: Error>(self, all: bool) -> Result<Choice, E> {
                Ok(Choice::Any(all))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Choice, A::Error> {
                let mut names = Vec::new();
                while let Some(Known(name)) = list.next_element()? {
                    names.push(name);
                }
                Ok(Choice::Of(names))
            }
        }
        from.deserialize_any(Either)
    }
}

struct Known(String);

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        backend_name(from).map(Known)
    }
}

/// A backend's name.
pub fn backend_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    match crate::backend::is_name(&name) {
        true => Ok(name),
        false => Err(D::Error::custom(format!(
            "`{name}` is no name of a backend"
        ))),
    }
}

/// The same where it may be left out.
pub fn optional_backend_name<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    backend_name(from).map(Some)
}

/// The names are globs too.
fn annotations<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, AnyOf<Pattern>>, D::Error> {
    let map: BTreeMap<String, AnyOf<Pattern>> = BTreeMap::deserialize(from)?;
    for name in map.keys() {
        Pattern::glob(name).map_err(D::Error::custom)?;
    }
    Ok(map)
}
