//! Lines of an LXC configuration (lxc.container.conf(5)), none of which can become two or say
//! something else than was meant. Must not know what the lines are for.

use std::fmt;

/// A value that no line can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: `{}` has a line break or a NUL", .value.escape_debug())]
pub struct LineError {
    key: String,
    value: String,
}

/// A configuration in the making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<(String, String)>);

impl Lines {
    /// Adds a line.
    ///
    /// # Errors
    /// The value has a line break or a NUL.
    pub fn add(&mut self, key: &str, value: &str) -> Result<(), LineError> {
        if value.contains(['\n', '\r', '\0']) {
            return Err(LineError {
                key: key.to_owned(),
                value: value.to_owned(),
            });
        }
        self.0.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// The lines as key and value, for another form of file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter()
            .try_for_each(|(key, value)| writeln!(f, "{}", line(key, value)))
    }
}

/// One line of the file.
pub fn line(key: &str, value: &str) -> String {
    match needs_quotes(value) {
        true => format!("{key} = \"{value}\""),
        false => format!("{key} = {value}"),
    }
}

/// LXC strips blanks around a value, then one pair of equal quotes around it; it knows no escapes,
/// so one more pair keeps both.
fn needs_quotes(value: &str) -> bool {
    let edge = |c: char| c.is_ascii_whitespace() || c == '"' || c == '\'';
    value.starts_with(edge) || value.ends_with(edge)
}

/// A word for `/bin/sh -c`, by which LXC runs hooks.
pub fn shell_word(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_two_lines() {
        for bad in ["a\nlxc.cap.keep = sys_admin", "a\r", "\0"] {
            let error = Lines::default().add("lxc.uts.name", bad).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("lxc.uts.name: `"), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn quotes_are_for_what_lxc_would_strip() {
        let mut lines = Lines::default();
        for value in [
            "plain",
            "two words",
            " edge",
            "'quoted'",
            "'half",
            "in\"side",
            "",
        ] {
            lines.add("k", value).unwrap();
        }
        let expected = "k = plain\nk = two words\nk = \" edge\"\nk = \"'quoted'\"\n\
                        k = \"'half\"\nk = in\"side\nk = \n";
        assert_eq!(lines.to_string(), expected);
    }

    #[test]
    fn the_shell_gets_one_word() {
        assert_eq!(shell_word("/a b/$(c)"), "'/a b/$(c)'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
