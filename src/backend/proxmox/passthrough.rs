//! `pct` on a container by its OCI id: which of its commands may be used, and why the others may
//! not. It must not run anything.

use super::options;

/// A command that isn't passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No command was given.
    #[error("no pct command is given, such as `config`")]
    Nothing,
    /// pct has no such command, or pxrun doesn't know it.
    #[error("pct command `{0}` is unknown to pxrun")]
    Unknown(String),
    /// It would break what the container's caller relies on.
    #[error("pct command `{0}`: {1}")]
    Contract(String, &'static str),
    /// An option that is pxrun's own.
    #[error("pct set: {0}")]
    Option(#[from] options::OptionError),
}

/// What becomes of a command.
enum Verdict {
    /// Passed on with the guest's number after its name.
    Guest,
    /// Passed on as it is.
    Node,
    /// Not passed on.
    No(&'static str),
}

use Verdict::{Guest, No, Node};

const TABLE: [(&str, Verdict); 36] = [
    ("clone", No("the copy would pass for the same container")),
    ("config", Guest),
    ("console", Guest),
    ("cpusets", Node),
    ("create", No("`pxrun create` makes containers")),
    ("delsnapshot", Guest),
    (
        "destroy",
        No("`pxrun delete` removes the container with its record"),
    ),
    ("df", Guest),
    ("enter", Guest),
    ("exec", Guest),
    ("fsck", Guest),
    ("fstrim", Guest),
    ("help", Node),
    ("list", Node),
    ("listsnapshot", Guest),
    (
        "migrate",
        No("the container's bundle and its caller are on this node"),
    ),
    ("mount", Guest),
    ("move-volume", Guest),
    ("pending", Guest),
    ("pull", Guest),
    ("push", Guest),
    (
        "reboot",
        No("a container that ends is not started again; its caller does that"),
    ),
    (
        "remote-migrate",
        No("the container's bundle and its caller are on this node"),
    ),
    ("rescan", Node),
    ("resize", Guest),
    ("restore", No("`pxrun create` makes containers")),
    ("resume", No("`pxrun resume` does it")),
    ("rollback", Guest),
    ("set", Guest),
    ("shutdown", Guest),
    ("snapshot", Guest),
    (
        "start",
        No("`pxrun start` runs the container's own process"),
    ),
    ("status", Guest),
    ("stop", Guest),
    ("suspend", No("`pxrun pause` does it")),
    ("template", No("the container could not run any more")),
];

/// Also known, and passed on.
const REST: [&str; 2] = ["unlock", "unmount"];

/// The command line for pct: the words with the guest's number where pct wants it.
///
/// # Errors
/// The command would break the container's contract with its caller.
pub fn command_line(words: &[String], vmid: u32) -> Result<Vec<String>, Refused> {
    let (command, rest) = words.split_first().ok_or(Refused::Nothing)?;
    let mut line = vec![command.clone()];
    match verdict(command)? {
        Guest => line.push(vmid.to_string()),
        Node => {}
        No(reason) => return Err(Refused::Contract(command.clone(), reason)),
    }
    if command == "set" {
        check_set(rest)?;
    }
    line.extend(rest.iter().cloned());
    Ok(line)
}

fn verdict(command: &str) -> Result<&'static Verdict, Refused> {
    if REST.contains(&command) {
        return Ok(&Guest);
    }
    let row = TABLE.iter().find(|(name, _)| *name == command);
    row.map(|(_, verdict)| verdict)
        .ok_or_else(|| Refused::Unknown(command.to_owned()))
}

/// Options that pxrun sets itself must keep the values that they have.
fn check_set(words: &[String]) -> Result<(), Refused> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix('-') else {
            continue;
        };
        let option = option.trim_start_matches('-');
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, value),
            None => (option, words.next().map_or("1", String::as_str)),
        };
        match name {
            "delete" | "revert" => {
                let names = value.split([',', ';', ' ']);
                names.filter(|name| !name.is_empty()).try_for_each(free)?;
            }
            "digest" => {}
            _ => options::check(name, value)?,
        }
    }
    Ok(())
}

fn free(name: &str) -> Result<(), options::OptionError> {
    match options::owner(name) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> Result<String, String> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        command_line(&words, 90_001)
            .map(|line| line.join(" "))
            .map_err(|refused| refused.to_string())
    }

    #[test]
    fn the_number_stands_where_pct_wants_it() {
        for (words, expected) in [
            ("config", "config 90001"),
            ("config --current 1", "config 90001 --current 1"),
            ("exec -- ls -l", "exec 90001 -- ls -l"),
            ("push /a /b --perms 0600", "push 90001 /a /b --perms 0600"),
            ("snapshot before", "snapshot 90001 before"),
            ("set --cores 2 --tags=a", "set 90001 --cores 2 --tags=a"),
            ("set --delete net0", "set 90001 --delete net0"),
            ("unlock", "unlock 90001"),
            ("cpusets", "cpusets"),
        ] {
            assert_eq!(line(words).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn the_containers_contract_is_kept() {
        for (words, word) in [
            ("", "no pct command"),
            ("frob", "unknown"),
            ("destroy", "pxrun delete"),
            ("start", "pxrun start"),
            ("clone 9", "the same container"),
            ("migrate pve2", "bundle"),
            ("set --rootfs /x", "set by pxrun"),
            ("set --entrypoint=/bin/sh", "set by pxrun"),
            ("set -unprivileged 0", "set by pxrun"),
            ("set --delete rootfs", "set by pxrun"),
            ("set --net0 foo", "no `key=value`"),
            ("set --frob 1", "no option"),
        ] {
            let refused = line(words).unwrap_err();
            assert!(refused.contains(word), "{words}: {refused}");
        }
    }

    #[test]
    fn every_command_of_pct_has_a_verdict() {
        let facts = "clone create destroy list migrate move-volume pending resize restore template config set \
             delsnapshot listsnapshot rollback snapshot reboot resume shutdown start stop suspend console \
             cpusets df enter exec fsck fstrim mount pull push remote-migrate rescan status unlock unmount help";
        for command in facts.split_whitespace() {
            assert!(verdict(command).is_ok(), "{command}");
        }
    }
}
