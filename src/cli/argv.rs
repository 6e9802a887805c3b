//! Go's habits on the command line, rewritten into clap's before parsing: `-long-option` with one
//! dash, option values, and the place where a container's own command begins.
//! It only moves dashes; whether an argument makes sense is left to the parser.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, Command};

/// A rewritten command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// All arguments, program name first.
    pub argv: Vec<OsString>,
    /// The command that was named, if it exists.
    pub command: Option<String>,
}

/// Rewrites `argv` for a parser of `root`.
///
/// * `-no-subreaper` becomes `--no-subreaper`: Go's flag package doesn't tell them apart, and
///   go-runc sends the short form to `restore` (runc.go, `RestoreOpts.args`).
/// * `--rootless true` becomes `--rootless=true`, because the value may also be left out.
/// * Where a command takes a foreign command after the container id (`exec`, `ps`), everything
///   from the id on is protected from the parser, as runc does it.
#[must_use]
pub fn normalise(argv: Vec<OsString>, root: &Command) -> Line {
    let mut input = VecDeque::from(argv);
    let mut argv: Vec<OsString> = input.pop_front().into_iter().collect();
    let mut scope = Scope {
        root,
        command: None,
    };
    while let Some(token) = input.pop_front() {
        if token == "--" {
            argv.push(token);
            break;
        }
        if !is_positional(&token) {
            scope.option(token, &mut input, &mut argv);
            continue;
        }
        match scope.command {
            None => {
                scope.command = root.find_subcommand(&token);
                argv.push(token);
                if scope.command.is_none() {
                    break;
                }
            }
            Some(command) if takes_foreign_command(command) => {
                argv.extend(["--".into(), token]);
                break;
            }
            Some(_) => argv.push(token),
        }
    }
    argv.extend(input);
    Line {
        argv,
        command: scope.command.map(|command| command.get_name().to_owned()),
    }
}

fn is_positional(token: &OsStr) -> bool {
    token == "-" || !token.as_bytes().starts_with(b"-")
}

fn takes_foreign_command(command: &Command) -> bool {
    command.get_positionals().any(Arg::is_trailing_var_arg_set)
}

/// Which options are known at some place of the line.
struct Scope<'a> {
    root: &'a Command,
    /// The command that was named before that place.
    command: Option<&'a Command>,
}

impl<'a> Scope<'a> {
    /// The command's options and the global ones, without having clap build all commands.
    fn find(&self, mut wanted: impl FnMut(&Arg) -> bool) -> Option<&'a Arg> {
        let (root, command) = (self.root, self.command);
        let own = command.unwrap_or(root).get_arguments();
        let global = root.get_arguments().filter(|arg| arg.is_global_set());
        own.chain(global).find(|arg| wanted(arg))
    }

    /// Copies one option, and its value if that is an argument of its own.
    fn option(&self, token: OsString, input: &mut VecDeque<OsString>, out: &mut Vec<OsString>) {
        let (mut token, arg, has_value) = self.spelled(token);
        let takes_next = |arg: &Arg| match arg.is_require_equals_set() {
            true => input.front().is_some_and(|next| is_possible(arg, next)),
            false => arg.get_action().takes_values(),
        };
        let Some(arg) = arg.filter(|arg| !has_value && takes_next(arg)) else {
            out.push(token);
            return;
        };
        if arg.is_require_equals_set() {
            token.push("=");
            token.extend(input.pop_front());
            out.push(token);
        } else {
            out.push(token);
            out.extend(input.pop_front());
        }
    }

    /// The token with as many dashes as clap wants, the option it means, and whether it carries a
    /// value.
    fn spelled(&self, token: OsString) -> (OsString, Option<&'a Arg>, bool) {
        let bytes = token.as_bytes();
        let name = bytes.strip_prefix(b"--").unwrap_or(&bytes[1..]);
        let (name, has_value) = match name.iter().position(|b| *b == b'=') {
            Some(end) => (&name[..end], true),
            None => (name, false),
        };
        let long = self.find(|arg| arg.get_long().is_some_and(|long| long.as_bytes() == name));
        if bytes.starts_with(b"--") {
            (token, long, has_value)
        } else if long.is_some() {
            let doubled = [b"-", bytes].concat();
            (OsString::from_vec(doubled), long, has_value)
        } else {
            let (short, has_value) = self.cluster(&bytes[1..]);
            (token, short, has_value)
        }
    }

    /// The last option of a cluster such as `-dt` or `-eA=1`, and whether its value is in there
    /// too.
    fn cluster(&self, letters: &[u8]) -> (Option<&'a Arg>, bool) {
        let mut last = None;
        for (i, letter) in letters.iter().enumerate() {
            last = self.find(|arg| arg.get_short() == Some(char::from(*letter)));
            match last {
                Some(arg) if !arg.get_action().takes_values() => {}
                _ => return (last, i + 1 < letters.len()),
            }
        }
        (last, false)
    }
}

fn is_possible(arg: &Arg, value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    arg.get_possible_values()
        .iter()
        .any(|possible| possible.matches(&value, arg.is_ignore_case_set()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        let root = crate::cli::command();
        let argv = line.split(' ').map(OsString::from).collect();
        let argv = normalise(argv, &root).argv;
        let argv: Vec<_> = argv.iter().map(|a| a.to_string_lossy()).collect();
        argv.join(" ")
    }

    #[test]
    fn dashes() {
        let rows = [
            ("p restore -no-subreaper c", "p restore --no-subreaper c"),
            ("p -root /r -log=/l state c", "p --root /r --log=/l state c"),
            ("p exec -d c -no-subreaper", "p exec -d -- c -no-subreaper"),
            ("p exec -dt -p f c", "p exec -dt -p f -- c"),
            ("p exec -pf -e A=1 c x", "p exec -pf -e A=1 -- c x"),
            ("p exec -tp f c x", "p exec -tp f -- c x"),
            (
                "p exec --cwd -x c ls -la --",
                "p exec --cwd -x -- c ls -la --",
            ),
            ("p exec -- c -- ls", "p exec -- c -- ls"),
            ("p exec c -- ls", "p exec -- c -- ls"),
            ("p exec --env exec c", "p exec --env exec -- c"),
            ("p ps -f json c -ef", "p ps -f json -- c -ef"),
            ("p update --resources - c", "p update --resources - c"),
            ("p --rootless true create c", "p --rootless=true create c"),
            ("p --rootless create c", "p --rootless create c"),
            ("p --rootless=auto create c", "p --rootless=auto create c"),
            ("p spec --rootless", "p spec --rootless"),
            ("p --unknown create c", "p --unknown create c"),
            ("p kill create delete", "p kill create delete"),
            ("p", "p"),
            ("p exec", "p exec"),
            ("p exec -p", "p exec -p"),
            (
                "p exec -eA=1 --log /l c -e",
                "p exec -eA=1 --log /l -- c -e",
            ),
            ("p state -root /r c", "p state --root /r c"),
            ("p nope exec c -no-subreaper", "p nope exec c -no-subreaper"),
            ("p -- exec c -x", "p -- exec c -x"),
        ];
        for (given, want) in rows {
            assert_eq!(rewritten(given), want, "{given}");
        }
    }

    #[test]
    fn foreign_bytes_pass() {
        let root = crate::cli::command();
        let odd = OsString::from_vec(vec![b'-', 0xff, b'=']);
        let argv = vec!["p".into(), "state".into(), odd];
        assert_eq!(normalise(argv.clone(), &root).argv, argv);
        assert_eq!(normalise(Vec::new(), &root).argv, Vec::<OsString>::new());
    }
}
