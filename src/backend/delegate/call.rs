//! One command for another runtime: what the caller asked for, and which of it the runtime knows.
//! Pure: what the runtime knows comes in as a value.

use std::ffi::OsString;

use super::DelegateError;
use super::abilities::Abilities;
use super::program::Runtime;

/// An option, as the caller gave it to pxrun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its long name without dashes.
    pub name: &'static str,
    /// Its value.
    pub value: Option<OsString>,
    /// What to do where the runtime doesn't know it.
    pub without: Without,
}

/// Whether an option may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// Every runtime has it.
    Never,
    /// The container is the same without it.
    Harmless,
    /// The caller would not get what it asked for.
    Refused,
}

/// A command with its options and operands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Call {
    /// `create`, `kill` …
    pub verb: &'static str,
    /// Options before the command.
    pub globals: Vec<Given>,
    /// Options of the command.
    pub options: Vec<Given>,
    /// Container id, signal, a process's arguments.
    pub operands: Vec<OsString>,
}

impl Call {
    /// A command without options.
    pub fn new(verb: &'static str, operands: impl IntoIterator<Item = OsString>) -> Call {
        Call {
            verb,
            operands: operands.into_iter().collect(),
            ..Call::default()
        }
    }

    /// With a flag, if it was given.
    #[must_use]
    pub fn flag(self, name: &'static str, given: bool, without: Without) -> Call {
        self.maybe(name, given.then_some(None), without)
    }

    /// With an option, if it was given.
    #[must_use]
    pub fn option<T: Into<OsString>>(
        self,
        name: &'static str,
        value: Option<T>,
        without: Without,
    ) -> Call {
        self.maybe(name, value.map(|value| Some(value.into())), without)
    }

    /// With an option for each value.
    #[must_use]
    pub fn each<T: Into<OsString>>(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = T>,
        without: Without,
    ) -> Call {
        values
            .into_iter()
            .fold(self, |call, value| call.option(name, Some(value), without))
    }

    fn maybe(
        mut self,
        name: &'static str,
        value: Option<Option<OsString>>,
        without: Without,
    ) -> Call {
        self.options.extend(value.map(|value| Given {
            name,
            value,
            without,
        }));
        self
    }

    /// Whether anything in it is not known by every runtime.
    pub fn needs_asking(&self) -> bool {
        let mut all = self.globals.iter().chain(&self.options);
        all.any(|given| given.without != Without::Never)
    }

    /// The runtime's arguments.
    ///
    /// # Errors
    /// The runtime doesn't know the command, or an option that can't be left out.
    pub fn argv(
        &self,
        runtime: &Runtime,
        abilities: Option<&Abilities>,
    ) -> Result<Vec<OsString>, DelegateError> {
        let refused = |what: String| DelegateError::Refused {
            name: runtime.name.clone(),
            what,
        };
        let knows = |verb, name: &str| abilities.is_none_or(|all| all.knows(verb, name));
        if let Some(all) = abilities
            && !is_common(self.verb)
            && !all.has(self.verb)
        {
            return Err(refused(format!("the command `{}`", self.verb)));
        }
        let mut argv: Vec<OsString> = runtime.args.iter().map(Into::into).collect();
        argv.extend(["--root".into(), runtime.root.clone().into_os_string()]);
        for (verb, list) in [("", &self.globals), (self.verb, &self.options)] {
            if !verb.is_empty() {
                argv.push(verb.into());
            }
            for given in list {
                match given.without {
                    Without::Never => push(&mut argv, given),
                    _ if knows(verb, given.name) => push(&mut argv, given),
                    Without::Harmless => {}
                    Without::Refused => return Err(refused(format!("--{}", given.name))),
                }
            }
        }
        argv.extend(self.operands.iter().cloned());
        Ok(argv)
    }
}

/// The commands of the OCI command line: every runtime has them.
fn is_common(verb: &str) -> bool {
    matches!(verb, "create" | "start" | "state" | "kill" | "delete")
}

/// `--name=value`: the one form that Go's flags, argp and clap read alike.
fn push(argv: &mut Vec<OsString>, given: &Given) {
    let mut text = OsString::from(format!("--{}", given.name));
    if let Some(value) = &given.value {
        text.push("=");
        text.push(value);
    }
    argv.push(text);
}
