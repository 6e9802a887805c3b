//! The table: each of our texts, and what every caller makes of it.
//! The tests beside it hold the callers' rules; a text changes only together with them.

use super::Kind;

/// One text and its readings. The columns are explained by [`RULES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The text, as the last link of an error chain; `foo` stands for any command.
    pub text: &'static str,
    /// podman's class for the failure.
    pub podman: Podman,
    /// `podman run`'s exit status.
    pub podman_exit: u8,
    /// What containerd's shim makes of it after `kill`.
    pub containerd_kill: ContainerdKill,
    /// Whether containerd's shim takes a failed `delete` with this text for a success.
    pub containerd_deleted: bool,
    /// Whether CRI-O takes the container for gone.
    pub crio_gone: bool,
    /// `docker run`'s exit status.
    pub docker_exit: u8,
}

/// podman's error classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Podman {
    /// `ErrOCIRuntimePermissionDenied`
    PermissionDenied,
    /// `ErrOCIRuntimeNotFound`
    NotFound,
    /// `ErrSetSecurityAttribute`
    SetSecurityAttribute,
    /// `ErrOCIRuntime`
    Other,
}

/// What containerd's shim tells its client after a failed `kill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerdKill {
    /// "process already finished", not found.
    Finished,
    /// "no such container", not found.
    NoContainer,
    /// "unknown error after kill": kubelet tries again for ever.
    Unknown,
}

/// Where a caller's rule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The column of [`Row`] that it fills.
    pub column: &'static str,
    /// File and function.
    pub source: &'static str,
    /// The rule.
    pub rule: &'static str,
}

/// The callers' rules, in the order in which each of them asks.
pub const RULES: [Rule; 6] = [
    Rule {
        column: "podman",
        source: "podman c6580b4a libpod/oci_util.go getOCIRuntimeError",
        rule: "regular expressions without regard to case: `permission denied`, `operation not \
               permitted`; `executable file not found in`, `no such file or directory`, `open \
               executable`; a back-quoted /proc/…/attr… that ends in /exec or /current",
    },
    Rule {
        column: "podman_exit",
        source: "podman c6580b4a libpod/define/exec_codes.go ExitCode",
        rule: "by class 126 or 127; else 127 for `not found`, `no such file`, `executable path is \
               empty`, else 126",
    },
    Rule {
        column: "containerd_kill",
        source: "containerd 301026e58 cmd/containerd-shim-runc-v2/process/utils.go checkKillError",
        rule: "`os: process already finished`, `container not running`, in lower case `no such \
               process`; then `does not exist`",
    },
    Rule {
        column: "containerd_deleted",
        source: "containerd 301026e58 cmd/containerd-shim-runc-v2/process/init.go delete",
        rule: "`does not exist`",
    },
    Rule {
        column: "crio_gone",
        source: "CRI-O f954a17e internal/oci/runtime_oci.go runtimeCmd",
        rule: "with regard to case: `no such process`, `container not running`, `invalid process`",
    },
    Rule {
        column: "docker_exit",
        source: "moby b985e231 daemon/errors.go setExitCodeFromError",
        rule: "in lower case: `permission denied` 126; `is a directory` 126; `not a directory` \
               127; `executable file not found`, `no such file or directory`, `system cannot find \
               the file specified`, `failed to run runc create/exec call` 127; else 128",
    },
];

/// The texts.
pub const CONTRACT: [Row; 10] = [
    Row {
        text: "container does not exist",
        containerd_kill: ContainerdKill::NoContainer,
        containerd_deleted: true,
        ..UNREAD
    },
    Row {
        text: "container not running",
        containerd_kill: ContainerdKill::Finished,
        crio_gone: true,
        ..UNREAD
    },
    Row {
        text: "no such process",
        containerd_kill: ContainerdKill::Finished,
        crio_gone: true,
        ..UNREAD
    },
    Row {
        text: "container with this id already exists",
        ..UNREAD
    },
    Row {
        text: r#"exec: "foo": executable file not found in $PATH"#,
        podman: Podman::NotFound,
        podman_exit: 127,
        docker_exit: 127,
        ..UNREAD
    },
    Row {
        text: r#"exec: "foo": no such file or directory"#,
        podman: Podman::NotFound,
        podman_exit: 127,
        docker_exit: 127,
        ..UNREAD
    },
    Row {
        text: r#"exec: "foo": not a directory"#,
        docker_exit: 127,
        ..UNREAD
    },
    Row {
        text: r#"exec: "foo": permission denied"#,
        podman: Podman::PermissionDenied,
        docker_exit: 126,
        ..UNREAD
    },
    Row {
        text: r#"exec: "foo": is a directory"#,
        docker_exit: 126,
        ..UNREAD
    },
    Row {
        text: "write security label to `/proc/thread-self/attr/exec`",
        podman: Podman::SetSecurityAttribute,
        ..UNREAD
    },
];

/// What every caller makes of a text that none of its rules knows.
pub const UNREAD: Row = Row {
    text: "",
    podman: Podman::Other,
    podman_exit: 126,
    containerd_kill: ContainerdKill::Unknown,
    containerd_deleted: false,
    crio_gone: false,
    docker_exit: 128,
};

/// Words that callers read as more than they say: (words, what is written instead, the text of
/// [`CONTRACT`] that may hold them). A missing file of ours would be "command not found" to podman
/// and a deleted container to containerd. `permission denied` isn't here, as it means no more than
/// itself, nor is `no such process`: whoever hears it from the kernel while killing is right.
const GUARDS: [(&str, &str, &str); 9] = [
    (
        "no such file or directory",
        "path is absent",
        ": no such file or directory",
    ),
    (
        "no such file",
        "path is absent",
        ": no such file or directory",
    ),
    (
        "executable file not found",
        "executable is absent",
        ": executable file not found in $PATH",
    ),
    (
        "not found",
        "is absent",
        ": executable file not found in $PATH",
    ),
    ("does not exist", "is absent", "container does not exist"),
    ("open executable", "open the executable", ""),
    ("not a directory", "no directory", ": not a directory"),
    ("is a directory", "names a directory", ": is a directory"),
    ("invalid process", "wrong process", ""),
];

/// The text without words that a caller would misread, as far as `kind` doesn't stand for them.
pub(super) fn guarded(text: String, kind: Option<&Kind>) -> String {
    let own = kind.map_or("", Kind::words);
    GUARDS
        .iter()
        .filter(|(_, _, owner)| owner.is_empty() || *owner != own)
        .fold(text, |text, (words, instead, _)| {
            replaced(text, words, instead)
        })
}

/// Replaces without regard to ASCII case; `words` is lower case.
fn replaced(text: String, words: &str, instead: &str) -> String {
    // Same length as `text`, so that positions agree.
    let lower = text.to_ascii_lowercase();
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in lower.match_indices(words) {
        out.push_str(&text[done..at]);
        out.push_str(instead);
        done = at + words.len();
    }
    out.push_str(&text[done..]);
    out
}
