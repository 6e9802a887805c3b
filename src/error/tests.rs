//! Each caller's own rule, written down again, against every text of the table and against
//! texts that mean nothing to a caller.

use std::io;

use anyhow::{Context, anyhow};
use regex::Regex;

use super::contract::{CONTRACT, ContainerdKill, Podman, RULES, Row, UNREAD};
use super::*;

fn podman(text: &str) -> Podman {
    let found = |pattern: &str| Regex::new(pattern).unwrap().find(text).map(|m| m.as_str());
    if found("(?i).*permission denied.*|.*operation not permitted.*").is_some() {
        return Podman::PermissionDenied;
    }
    let missing =
        "(?i).*executable file not found in.*|.*no such file or directory.*|.*open executable.*";
    if found(missing).is_some() {
        return Podman::NotFound;
    }
    match found("`/proc/[a-z0-9-].+/attr.*`") {
        Some(path) if path.ends_with("/exec`") => Podman::SetSecurityAttribute,
        _ => Podman::Other,
    }
}

fn podman_exit(text: &str) -> u8 {
    let lower = text.to_lowercase();
    let words = ["not found", "no such file", "executable path is empty"];
    match podman(text) {
        Podman::PermissionDenied => 126,
        Podman::NotFound => 127,
        _ if words.iter().any(|w| lower.contains(w)) => 127,
        _ => 126,
    }
}

fn containerd_kill(text: &str) -> ContainerdKill {
    let finished = text.contains("os: process already finished")
        || text.contains("container not running")
        || text.to_lowercase().contains("no such process");
    if finished {
        ContainerdKill::Finished
    } else if text.contains("does not exist") {
        ContainerdKill::NoContainer
    } else {
        ContainerdKill::Unknown
    }
}

fn crio_gone(text: &str) -> bool {
    [
        "no such process",
        "container not running",
        "invalid process",
    ]
    .iter()
    .any(|words| text.contains(words))
}

fn docker_exit(text: &str) -> u8 {
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let missing = [
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
        "failed to run runc create/exec call",
    ];
    if has(&["permission denied", "is a directory"]) {
        126
    } else if has(&["not a directory"]) || has(&missing) {
        127
    } else {
        128
    }
}

/// What all callers make of a text.
fn read(text: &'static str, line: &str) -> Row {
    Row {
        text,
        podman: podman(line),
        podman_exit: podman_exit(line),
        containerd_kill: containerd_kill(line),
        containerd_deleted: line.contains("does not exist"),
        crio_gone: crio_gone(line),
        docker_exit: docker_exit(line),
    }
}

fn kinds() -> Vec<Kind> {
    let foo = || "foo".to_owned();
    vec![
        Kind::NotExist,
        Kind::NotRunning,
        Kind::NoSuchProcess,
        Kind::AlreadyExists,
        Kind::ExecutableNotFound(foo()),
        Kind::NoSuchFile(foo()),
        Kind::NotDirectory(foo()),
        Kind::PermissionDenied(foo()),
        Kind::IsDirectory(foo()),
        Kind::SecurityAttribute("/proc/thread-self/attr/exec".to_owned()),
    ]
}

#[test]
fn every_row_is_read_as_it_says() {
    assert_eq!(kinds().len(), CONTRACT.len());
    for (row, kind) in CONTRACT.iter().zip(kinds()) {
        assert_eq!(kind.to_string(), row.text);
        assert!(row.text.contains(kind.words()), "{kind:?}");
        // Alone, below the context that commands add, and with more above and around.
        let chains = [
            anyhow!(kind.clone()),
            anyhow!(kind.clone()).context("start container `web1`"),
            anyhow!(kind.clone())
                .context("open `/x`: No such file or directory")
                .context("a\nb"),
        ];
        for chain in chains {
            let line = Failure::from(&chain).line().to_owned();
            assert!(line.ends_with(row.text), "{line}");
            if matches!(kind, Kind::NoSuchFile(_)) {
                assert!(line.contains("no such file or directory"));
            }
            assert_eq!(read(row.text, &line), *row, "{line}");
        }
    }
}

#[test]
fn a_kind_is_found_in_text_alone() {
    #[derive(Debug, thiserror::Error)]
    enum Wrapper {
        #[error(transparent)]
        Hidden(#[from] Kind),
    }
    for (row, kind) in CONTRACT.iter().zip(kinds()) {
        let hidden = anyhow!(Wrapper::from(kind)).context("start container `web1`");
        let text = anyhow!("set up process: {}", row.text).context("start container `web1`");
        for chain in [hidden, text] {
            let line = Failure::from(&chain).line().to_owned();
            assert!(line.ends_with(row.text), "{line}");
            assert_eq!(read(row.text, &line), *row, "{line}");
        }
    }
}

#[test]
fn other_texts_mean_nothing_to_callers() {
    let errno = |number| io::Error::from_raw_os_error(number);
    let chains = [
        anyhow!(errno(nix::libc::ENOENT)).context("open `/run/pxrun/a/state.json`"),
        anyhow!(nix::errno::Errno::ENOENT).context("mount `/data`"),
        anyhow!(errno(nix::libc::ENOTDIR)).context("mount `/data`"),
        anyhow!(errno(nix::libc::EISDIR)).context("open log file `/x`"),
        anyhow!(errno(nix::libc::EINVAL)).context("write `/sys/fs/cgroup/memory.max`"),
        anyhow!("bundle `/b` does not exist"),
        anyhow!("hook `/h` ended with 127: sh: foo: not found"),
        anyhow!("invalid process.json: process.cwd is relative"),
        anyhow!("open executable `/x`"),
        anyhow!("rootfs of container does not exist at all"),
        anyhow!("Executable File NOT FOUND"),
        anyhow!("checkpoint isn't supported by the embedded backend"),
        anyhow!("linux.namespaces[3].path: `/proc/1/ns/net` is no namespace"),
    ];
    for chain in chains {
        let line = Failure::from(&chain).line().to_owned();
        assert_eq!(read("", &line), UNREAD, "{line}");
        assert!(!line.is_empty());
    }
}

#[test]
fn the_reason_survives_the_guard() {
    let chain = anyhow!(io::Error::from_raw_os_error(nix::libc::ENOENT)).context("open `/x/y`");
    assert_eq!(Failure::from(chain).line(), "open `/x/y`: path is absent");
}

#[test]
fn a_failure_is_one_plain_line() {
    let long = "x\u{1b}\n".repeat(5000);
    let kind = Kind::ExecutableNotFound(long.clone());
    for chain in [anyhow!("{long}"), anyhow!(kind).context(long)] {
        let line = Failure::from(&chain).to_string();
        assert!(line.len() <= Failure::MAX);
        assert!(!line.chars().any(char::is_control));
    }
    let result: Result<(), _> = Err(Kind::ExecutableNotFound("y".repeat(9000)));
    let line = Failure::from(result.context("start `a`").unwrap_err()).to_string();
    assert!(line.starts_with("start `a`: exec: \"yyy"), "{line}");
    assert!(
        line.ends_with("\": executable file not found in $PATH"),
        "{line}"
    );
}

#[test]
fn rules_name_the_columns() {
    let columns: Vec<_> = RULES.iter().map(|rule| rule.column).collect();
    let row = format!("{UNREAD:?}");
    assert!(
        columns
            .iter()
            .all(|column| row.contains(&format!("{column}: ")))
    );
    assert_eq!(row.matches(": ").count(), columns.len() + 1);
}
