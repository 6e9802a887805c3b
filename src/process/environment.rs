//! The environment of the user's process, in the order that runc gives it.
//! It must not read pxrun's own environment: what goes in is what `config.json` says.

use super::ProcessError;

/// An ordered environment. As in runc, a later duplicate wins and stands where the first one stood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<String>);

impl Environment {
    /// Reads `process.env`.
    ///
    /// # Errors
    /// An entry without `=`, without a name or with a null byte.
    pub fn new(entries: &[String]) -> Result<Self, ProcessError> {
        let mut environment = Self::default();
        for entry in entries {
            let pair = entry.split_once('=').filter(|(name, _)| !name.is_empty());
            let (name, value) = pair.ok_or_else(|| ProcessError::Environment(entry.clone()))?;
            if entry.contains('\0') {
                let (what, text) = ("process.env", entry.clone());
                return Err(ProcessError::NullByte { what, text });
            }
            environment.set(name, value);
        }
        Ok(environment)
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let pairs = self.0.iter().filter_map(|entry| entry.split_once('='));
        pairs.into_iter().find(|p| p.0 == name).map(|p| p.1)
    }

    /// Sets `name`, in its old place if it has one.
    pub fn set(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let taken = |old: &String| old.split_once('=').is_some_and(|p| p.0 == name);
        match self.0.iter().position(taken) {
            Some(place) => self.0[place] = entry,
            None => self.0.push(entry),
        }
    }

    /// The entries, each `NAME=value`.
    #[must_use]
    pub fn entries(&self) -> &[String] {
        &self.0
    }
}

/// How many descriptors from 3 up the caller passed by sd_listen_fds(3), read from its environment.
///
/// `LISTEN_PID` must name `pid`, pxrun's own; otherwise the variables were meant for someone else.
pub fn listen_fds(pid: u32, get: impl Fn(&str) -> Option<String>) -> u32 {
    let number = |name| get(name).and_then(|text| text.parse::<u32>().ok());
    match number("LISTEN_PID") {
        Some(owner) if owner == pid => number("LISTEN_FDS").unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(entries: &[&str]) -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defect_12_environment_keeps_its_order() {
        for (given, kept) in [
            (&["Z=1", "A=2", "M=3"][..], &["Z=1", "A=2", "M=3"][..]),
            (&["A=1", "B=", "A=2", "A=a=b"], &["A=a=b", "B="]),
            (&[], &[]),
        ] {
            let environment = Environment::new(&strings(given)).unwrap();
            assert_eq!(environment.entries(), strings(kept));
        }
    }

    #[test]
    fn malformed_entries_are_refused_in_the_words_of_runc() {
        for (entry, text) in [
            ("A", "invalid environment variable: \"A\""),
            ("=x", "invalid environment variable: \"=x\""),
            ("A=\0", "process.env contains a null byte: \"A=\\0\""),
        ] {
            let error = Environment::new(&strings(&[entry])).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn listen_variables_count_only_when_meant_for_us() {
        for (pid, fds, expected) in [
            (Some("7"), Some("2"), 2),
            (Some("8"), Some("2"), 0),
            (None, Some("2"), 0),
            (Some("7"), None, 0),
            (Some("7"), Some("x"), 0),
        ] {
            let get = |name: &str| if name == "LISTEN_PID" { pid } else { fds }.map(String::from);
            assert_eq!(listen_fds(7, get), expected, "{pid:?} {fds:?}");
        }
    }
}
