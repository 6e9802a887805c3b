//! Patterns as they stand in the configuration: globs, or regular expressions anchored as written.
//! It must not know what they are matched against.

use std::fmt;
use std::ops::RangeInclusive;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// One pattern for a text.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// `"web-*"`: the whole text; `*` stands for anything, slashes too.
    Glob(GlobMatcher),
    /// `{ regex = "^web-[0-9]+$" }`: anywhere in the text unless anchored.
    Regex(Regex),
}

impl Pattern {
    /// A glob.
    ///
    /// # Errors
    /// It is none.
    pub fn glob(text: &str) -> Result<Pattern, String> {
        GlobBuilder::new(text)
            .literal_separator(false)
            .backslash_escape(true)
            .build()
            .map(|glob| Pattern::Glob(glob.compile_matcher()))
            .map_err(|error| format!("glob `{text}`: {}", error.kind()))
    }

    /// A regular expression.
    ///
    /// # Errors
    /// It is none, or its program would be too large.
    pub fn regex(text: &str) -> Result<Pattern, String> {
        // The last line of the regex crate's drawing tells what is wrong.
        let words = |error: regex::Error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            last.trim_start_matches("error: ").to_owned()
        };
        Regex::new(text)
            .map(Pattern::Regex)
            .map_err(|error| format!("regular expression `{text}`: {}", words(error)))
    }

    /// Whether the text is meant.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Glob(glob) => glob.is_match(text),
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Glob(glob) => write!(f, "`{}`", glob.glob().glob()),
            Pattern::Regex(regex) => write!(f, "regex `{regex}`"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Pattern::Glob(glob) => to.serialize_str(glob.glob().glob()),
            Pattern::Regex(regex) => to.collect_map([("regex", regex.as_str())]),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OnePattern)
    }
}

struct OnePattern;

impl<'de> Visitor<'de> for OnePattern {
    type Value = Pattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a glob, or a table with `regex`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Pattern, E> {
        Pattern::glob(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pattern, A::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Key {
            Regex,
        }
        struct Text(Pattern);
        impl<'de> Deserialize<'de> for Text {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Pattern::regex(&text).map(Text).map_err(D::Error::custom)
            }
        }
        match map.next_key()? {
            Some(Key::Regex) => {
                let Text(pattern) = map.next_value()?;
                match map.next_key::<Key>()? {
                    Some(Key::Regex) => Err(A::Error::duplicate_field("regex")),
                    None => Ok(pattern),
                }
            }
            None => Err(A::Error::missing_field("regex")),
        }
    }
}

/// One pattern or a list of them, of which one has to match.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct AnyOf<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de> + FromScalar> Deserialize<'de> for AnyOf<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrMany(std::marker::PhantomData))
    }
}

/// What may stand alone where a list is possible.
pub trait FromScalar: Sized {
    /// What is expected, for messages.
    const EXPECTED: &'static str;
    /// From a text.
    fn from_text(text: &str) -> Result<Self, String>;
    /// From a number.
    fn from_number(number: i64) -> Result<Self, String> {
        Err(format!("`{number}` is no {}", Self::EXPECTED))
    }
    /// From a table.
    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        let _ = map;
        Err(A::Error::custom(format!(
            "a table is no {}",
            Self::EXPECTED
        )))
    }
}

impl FromScalar for Pattern {
    const EXPECTED: &'static str = "pattern";

    fn from_text(text: &str) -> Result<Self, String> {
        Pattern::glob(text)
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        OnePattern.visit_map(map)
    }
}

struct OneOrMany<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de> + FromScalar> Visitor<'de> for OneOrMany<T> {
    type Value = AnyOf<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} or a list of them", T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AnyOf<T>, E> {
        T::from_text(text)
            .map(|one| AnyOf(vec![one]))
            .map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<AnyOf<T>, E> {
        T::from_number(number)
            .map(|one| AnyOf(vec![one]))
            .map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AnyOf<T>, A::Error> {
        T::from_map(map).map(|one| AnyOf(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AnyOf<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        match all.is_empty() {
            true => Err(A::Error::custom("an empty list matches nothing")),
            false => Ok(AnyOf(all)),
        }
    }
}

/// User ids: `1000`, or `"1000-1999"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids(pub RangeInclusive<u32>);

impl FromScalar for Ids {
    const EXPECTED: &'static str = "user id, such as 1000 or \"1000-1999\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.trim().parse::<u32>().ok();
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Ids(first..=last)),
            _ => Err(format!("`{text}` is no {}", Self::EXPECTED)),
        }
    }

    fn from_number(number: i64) -> Result<Self, String> {
        u32::try_from(number)
            .map(|id| Ids(id..=id))
            .map_err(|_| format!("`{number}` is no {}", Self::EXPECTED))
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Ids;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Ids::EXPECTED)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Ids, E> {
                Ids::from_text(text).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Ids, E> {
                Ids::from_number(number).map_err(E::custom)
            }
        }
        from.deserialize_any(One)
    }
}

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.start() == self.0.end() {
            true => to.serialize_u32(*self.0.start()),
            false => to.collect_str(&format_args!("{}-{}", self.0.start(), self.0.end())),
        }
    }
}
