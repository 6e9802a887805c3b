//! The table from Proxmox's texts to [`Reason`]s. Each row was printed by a real node (the facts in
//! `tests/golden/pct-facts.txt`) or stands in Proxmox's sources; it must not guess at others.

use super::{Reason, Said};

/// What the parts of a text that `…` stands for become.
type Make = fn(&[&str]) -> Reason;

/// A text with `…` for its values, and what it says. The first row that fits any line decides, so
/// causes stand before what they lead to.
const ROWS: &[(&str, Make)] = &[
    ("…No space left on device…", |_| Reason::Full),
    ("…not enough free space…", |_| Reason::Full),
    ("cluster not ready - no quorum?…", |_| Reason::NoQuorum),
    ("…no quorum!…", |_| Reason::NoQuorum),
    ("ipcc_send_rec[…", |_| Reason::NoAccess),
    ("Unable to load access control list: …", |_| {
        Reason::NoAccess
    }),
    ("…cluster filesystem not online…", |_| Reason::NoAccess),
    ("Configuration file '…' does not exist", |_| Reason::Gone),
    ("CT … not running", |_| Reason::NotRunning),
    ("VM … not running", |_| Reason::NotRunning),
    ("container '…' not running!", |_| Reason::NotRunning),
    ("lxc-console: … is not running", |_| Reason::NotRunning),
    ("can only pull files from a running VM…", |_| {
        Reason::NotRunning
    }),
    ("can only push files to a running CT…", |_| {
        Reason::NotRunning
    }),
    ("CT … already running", |_| Reason::AlreadyRunning),
    ("unable to destroy CT … - container is running", |_| {
        Reason::Running
    }),
    ("cannot run fsck when container is running", |_| {
        Reason::Running
    }),
    ("CT … already exists on node '…'", taken),
    ("VM … already exists on node '…'", taken),
    ("CT is locked (…)", |v| Reason::Locked(v[0].to_owned())),
    ("can't lock file '…' - got timeout", |_| Reason::Busy),
    ("…got lock request timeout", |_| Reason::Busy),
    ("can't remove CT … - protection mode enabled", |_| {
        Reason::Protected
    }),
    ("can't update CT … - protection mode enabled", |_| {
        Reason::Protected
    }),
    ("…storage '…' does not exist", |v| {
        Reason::NoStorage(v[1].to_owned())
    }),
    ("…storage '…' does not allow content type '…", |v| {
        Reason::ContentType(v[1].to_owned())
    }),
    ("…storage '…' does not support content type '…", |v| {
        Reason::ContentType(v[1].to_owned())
    }),
    (
        "…storage '…' does not support container directories…",
        |v| Reason::ContentType(v[1].to_owned()),
    ),
    ("…volume '…' does not exist", |v| {
        Reason::NoVolume(v[1].to_owned())
    }),
    ("…directory '…' does not exist", |v| {
        Reason::NoDirectory(v[1].to_owned())
    }),
    ("pool '…' does not exist", |v| {
        Reason::NoPool(v[0].to_owned())
    }),
    ("script '…' does not exist", |_| Reason::HookScript),
    ("script '…' is not executable", |_| Reason::HookScript),
    ("'…' is not in the snippets directory", |_| {
        Reason::HookScript
    }),
    ("hookscript error for …", |_| Reason::HookScript),
    ("base volume '…' is still in use by linked clones", |_| {
        Reason::InUse
    }),
    ("no such cluster node '…'", |v| {
        Reason::NoNode(v[0].to_owned())
    }),
    ("snapshot '…' does not exist", |v| {
        Reason::NoSnapshot(v[0].to_owned())
    }),
    ("snapshot feature is not available", |_| Reason::Unsupported),
    ("unable to clone mountpoint '…", |_| Reason::Unsupported),
    ("Linked clone feature for '…' is not available", |_| {
        Reason::Unsupported
    }),
    ("Template feature is not available for '…'", |_| {
        Reason::Unsupported
    }),
    ("path '…' does not point to a block device", |_| {
        Reason::Unsupported
    }),
    ("you can't … if it's a template", |_| Reason::Template),
    ("Unknown option: …", |v| {
        Reason::Parameter(v[0].to_owned())
    }),
    ("unable to parse volume ID '…'", |v| {
        Reason::Parameter(v[0].to_owned())
    }),
    ("400 not enough arguments", |_| {
        Reason::Parameter("(missing)".to_owned())
    }),
    ("format error …: …", |v| {
        Reason::Parameter(v[0].to_owned())
    }),
    (
        "unable to create CT … - unable to create image: …",
        |_| Reason::VolumeFailed,
    ),
    ("unable to create CT … - command 'timedatectl …", |_| {
        Reason::NoSystemd
    }),
    ("unable to create CT … tar x…", |_| Reason::UnpackFailed),
    ("command 'systemctl start …", |_| Reason::NoSystemd),
    ("startup for container '…' failed", |_| {
        Reason::StartFailed
    }),
    ("unable to get PID for CT … (not running?)", |_| {
        Reason::EndedAtOnce
    }),
    ("command 'lxc-info -n … -p' failed: …", |_| {
        Reason::BadLxcConfig
    }),
    (
        "failed to create file: …: No such file or directory",
        |v| Reason::File(v[0].to_owned()),
    ),
    ("failed to open …: No such file or directory", |v| {
        Reason::File(v[0].to_owned())
    }),
    ("command '… …' failed: …", |v| {
        Reason::Command(v[0].to_owned())
    }),
];

fn taken(values: &[&str]) -> Reason {
    Reason::Taken {
        vmid: values[0].to_owned(),
        node: values[1].to_owned(),
    }
}

/// What a failed call says.
pub fn reason(said: &Said, code: i32) -> Reason {
    let lines = || said.err.lines().chain(said.out.lines());
    if let Some(option) = refused_option(&said.err) {
        return Reason::Parameter(option.to_owned());
    }
    let found = ROWS.iter().find_map(|(text, make)| {
        lines()
            .find_map(|line| values(text, line))
            .map(|values| make(&values))
    });
    match (found, code) {
        (Some(reason), _) => reason,
        (None, 129..=192) => Reason::Killed(code - 128),
        (None, code) => Reason::Unknown(code),
    }
}

/// The option in the line after "400 Parameter verification failed.".
fn refused_option(err: &str) -> Option<&str> {
    let mut lines = err.lines();
    lines.find(|line| line.starts_with("400 Parameter verification failed"))?;
    lines.next()?.split_once(": ").map(|(option, _)| option)
}

/// What `…` stands for in `text` when it fits `line`, each taken as short as it can be.
fn values<'l>(text: &str, line: &'l str) -> Option<Vec<&'l str>> {
    let mut parts = text.split('…');
    let mut rest = line.strip_prefix(parts.next()?)?;
    let mut out = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let at = match (part.is_empty(), parts.peek().is_none()) {
            (true, true) => rest.len(),
            (_, true) => rest
                .len()
                .checked_sub(part.len())
                .filter(|at| rest.ends_with(part) && rest.is_char_boundary(*at))?,
            _ => rest.find(part)?,
        };
        out.push(&rest[..at]);
        rest = &rest[at + part.len()..];
    }
    rest.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: &str = include_str!("../../../../tests/golden/pct-facts.txt");

    /// The facts with a kind: (question, what was said, exit code, kind).
    fn facts() -> Vec<(String, Said, i32, String)> {
        let mut found = Vec::new();
        let (mut question, mut said, mut code) = (String::new(), Said::default(), 0);
        for line in FACTS.lines() {
            match line.split_at_checked(2) {
                Some(("$ " | "? " | "+ ", text)) => {
                    (question, said, code) = (text.to_owned(), Said::default(), 0);
                }
                Some(("1 ", text)) => said.out += &format!("{text}\n"),
                Some(("2 ", text)) => said.err += &format!("{text}\n"),
                Some(("= ", text)) => code = text.parse().unwrap(),
                Some(("> ", kind)) => {
                    found.push((question.clone(), said.clone(), code, kind.to_owned()));
                }
                _ => {}
            }
        }
        found
    }

    #[test]
    fn every_fact_is_understood() {
        let facts = facts();
        assert!(facts.len() > 70, "{}", facts.len());
        for (question, said, code, kind) in facts {
            let reason = reason(&said, code);
            assert_eq!(reason.name(), kind, "{question}: {said:?}");
        }
    }

    #[test]
    fn every_failed_answer_has_a_kind() {
        let mut open = None;
        for line in FACTS.lines() {
            match line.split_at_checked(2) {
                // A program's own exit code, and systemd's answer "inactive", are no failures.
                Some(("= ", "0" | "42" | "137" | "127" | "3")) => open = None,
                Some(("= ", _)) => open = Some(line),
                Some(("> ", _)) => open = None,
                _ if line.is_empty() => assert_eq!(open, None, "no kind after {line}"),
                _ => {}
            }
        }
    }

    #[test]
    fn no_reason_has_words_that_callers_misread() {
        for (question, said, code, _) in facts() {
            let words = reason(&said, code).to_string();
            for bad in ["does not exist", "not found", "no such", "not running"] {
                assert!(!words.to_lowercase().contains(bad), "{question}: {words}");
            }
        }
    }

    #[test]
    fn values_are_taken_out() {
        let said = Said {
            out: String::new(),
            err: "CT 201 already exists on node 'pve2'\n".into(),
        };
        let taken = Reason::Taken {
            vmid: "201".into(),
            node: "pve2".into(),
        };
        assert_eq!(reason(&said, 2), taken);
        assert_eq!(values("a…b…c", "aXbYc"), Some(vec!["X", "Y"]));
        assert_eq!(values("…x…", "x"), Some(vec!["", ""]));
        assert_eq!(values("a…", "b"), None);
        assert_eq!(values("a…é", "aé"), Some(vec![""]));
        assert_eq!(values("a…b", "aé"), None);
    }

    #[test]
    fn what_nobody_knows_becomes_our_words() {
        let said = Said {
            out: "frobnication does not exist".into(),
            err: "weird\n".into(),
        };
        assert_eq!(reason(&said, 255), Reason::Unknown(255));
        assert_eq!(reason(&Said::default(), 137), Reason::Killed(9));
    }
}
