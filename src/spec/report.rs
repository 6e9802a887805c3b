//! What validation found: problems, which refuse the document, and warnings, which do not.
//! It must not decide which is which.

use std::fmt::{self, Display};

use serde_json::Value;

use super::warned::Warned;

/// One broken rule, with the JSON path where it was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The place, as `linux.resources.memory.limit` or `mounts[2].source`.
    pub path: String,
    /// What stood there and what is expected.
    pub text: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Report {
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

impl Report {
    /// `found` stands at `path`, something else is expected.
    pub fn bad(&mut self, path: &str, found: &str, expected: &str) {
        self.rule(path, &format!("`{found}`, expected {expected}"));
    }

    /// Nothing stands at `path`, something is expected.
    pub fn missing(&mut self, path: &str, expected: &str) {
        self.rule(path, &format!("missing, expected {expected}"));
    }

    /// A rule that has its own words.
    pub fn rule(&mut self, path: &str, text: &str) {
        self.problems.push(Problem {
            path: path.to_owned(),
            text: text.to_owned(),
        });
    }

    /// `found` stands at `path` and has no effect, for the reason in the list of such cases.
    pub fn warn(&mut self, warned: &Warned, path: &str, found: &str) {
        self.warnings
            .push(format!("{path}: `{found}`: {}", warned.reason));
    }
}

/// Longest piece of a document that an error message repeats, in characters.
const LONGEST: usize = 80;

/// A value as one short printable line: a string bare, anything else as JSON.
pub fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        match (count, c) {
            (LONGEST, _) => return shown + "...",
            (_, c) if c.is_control() => shown.extend(c.escape_default()),
            (_, c) => shown.push(c),
        }
    }
    shown
}

/// [`show`] for text that is no JSON value any more.
pub fn show_text(text: impl AsRef<str>) -> String {
    show(&Value::from(text.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_one_short_line() {
        assert_eq!(show(&Value::from("a\nb\u{7f}é")), "a\\nb\\u{7f}é");
        assert_eq!(show(&serde_json::json!({"a": "\n"})), "{\"a\":\"\\n\"}");
        assert_eq!(show(&Value::from("x".repeat(80))), "x".repeat(80));
        assert_eq!(show(&Value::from("x".repeat(81))), "x".repeat(80) + "...");
    }
}
