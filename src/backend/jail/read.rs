//! Fields of raw JSON with their paths in every refusal. It must not know what they mean.

use serde_json::{Map, Value};

use super::JailError;

/// An object and where it stands.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    map: Option<&'a Map<String, Value>>,
    path: String,
}

impl<'a> Object<'a> {
    /// The whole document.
    pub fn root(value: &'a Value) -> Result<Object<'a>, JailError> {
        object(value, String::new())
    }

    /// The path of a member.
    pub fn at(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.path),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map?.get(name).filter(|value| !value.is_null())
    }

    /// A member that is an object; an absent one has no members.
    pub fn object(&self, name: &str) -> Result<Object<'a>, JailError> {
        let path = self.at(name);
        match self.get(name) {
            Some(value) => object(value, path),
            None => Ok(Object { map: None, path }),
        }
    }

    /// A text without NUL.
    pub fn text(&self, name: &str) -> Result<Option<String>, JailError> {
        self.get(name)
            .map(|value| text(value, self.at(name)))
            .transpose()
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, JailError> {
        let wrong = || JailError::new(self.at(name), "expected true or false");
        self.get(name)
            .map(|value| value.as_bool().ok_or_else(wrong))
            .transpose()
    }

    /// A number from 0 to `max`.
    pub fn number(&self, name: &str, max: u64) -> Result<Option<u64>, JailError> {
        let wrong = || JailError::new(self.at(name), format!("expected a number from 0 to {max}"));
        let number = |value: &Value| value.as_u64().filter(|n| *n <= max).ok_or_else(wrong);
        self.get(name).map(number).transpose()
    }

    /// One of these words.
    pub fn word(
        &self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, JailError> {
        let Some(given) = self.text(name)? else {
            return Ok(None);
        };
        let found = words.iter().find(|word| **word == given);
        found.copied().map(Some).ok_or_else(|| {
            JailError::new(
                self.at(name),
                format!("`{given}`: expected one of {}", words.join(", ")),
            )
        })
    }

    /// Texts.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, JailError> {
        let list = self.list(name)?.into_iter();
        list.map(|(value, path)| text(value, path)).collect()
    }

    /// Objects.
    pub fn objects(&self, name: &str) -> Result<Vec<Object<'a>>, JailError> {
        let list = self.list(name)?.into_iter();
        list.map(|(value, path)| object(value, path)).collect()
    }

    /// Numbers from 0 to 4294967295.
    pub fn ids(&self, name: &str) -> Result<Vec<u32>, JailError> {
        let id = |(value, path): (&Value, String)| {
            let id = value.as_u64().and_then(|n| u32::try_from(n).ok());
            id.ok_or_else(|| JailError::new(path, "expected an id"))
        };
        self.list(name)?.into_iter().map(id).collect()
    }

    /// Refuses members with other names.
    pub fn only(&self, known: &[&str]) -> Result<(), JailError> {
        let mut names = self.map.into_iter().flat_map(Map::keys);
        match names.find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(JailError::new(self.at(name), "unknown field")),
            None => Ok(()),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<(&'a Value, String)>, JailError> {
        let path = self.at(name);
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let list = value.as_array();
        let list = list
            .ok_or_else(|| JailError::new(&path, "expected a list"))?
            .iter();
        Ok(list
            .enumerate()
            .map(|(i, value)| (value, format!("{path}[{i}]")))
            .collect())
    }
}

fn object(value: &Value, path: String) -> Result<Object<'_>, JailError> {
    match value.as_object() {
        Some(map) => Ok(Object {
            map: Some(map),
            path,
        }),
        None => Err(JailError::new(path, "expected an object")),
    }
}

fn text(value: &Value, path: String) -> Result<String, JailError> {
    match value.as_str() {
        Some(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(JailError::new(path, "expected a text without NUL")),
    }
}
