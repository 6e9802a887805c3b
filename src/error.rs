//! The words that callers match, in one table, and the one line that an error becomes. Must not
//! know what failed or print anything.

/// Failures whose wording callers look for. The Display text of each is the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// Nothing of that name stands under the root.
    #[error("container does not exist")]
    NotExist,
    /// The container's process has ended, or not begun.
    #[error("container not running")]
    NotRunning,
    /// The name is taken.
    #[error("container with given ID already exists")]
    AlreadyExists,
    /// A command without a slash that no directory of PATH has.
    #[error("exec: {0:?}: executable file not found in $PATH")]
    ExecutableNotFound(String),
    /// A command with a slash that isn't there.
    #[error("exec: {0:?}: stat {0}: no such file or directory")]
    NoSuchExecutable(String),
    /// A script whose interpreter isn't there: all that execve(2) tells of it.
    #[error("exec: {0:?}: no such file or directory")]
    NoInterpreter(String),
    /// A command that may not be executed.
    #[error("exec: {0:?}: permission denied")]
    ExecutableDenied(String),
    /// A command that is a directory.
    #[error("exec: {0:?}: is a directory: permission denied")]
    ExecutableIsDirectory(String),
}

/// One row of the contract with callers.
pub struct Row {
    /// A text of ours.
    pub text: &'static str,
    /// Who looks for it, and where that stands.
    pub source: &'static str,
    /// What the caller makes of it.
    pub meaning: &'static str,
}

/// Every wording that a caller matches, with the place where it does.
pub const CONTRACT: &[Row] = &[
    Row {
        text: "container does not exist",
        source: "containerd cmd/containerd-shim-runc-v2/process/utils.go checkKillError, init.go delete",
        meaning: "gone: kill answers `no such container`, delete succeeds",
    },
    Row {
        text: "container not running",
        source: "containerd process/utils.go checkKillError; cri-o internal/oci/runtime_oci.go runtimeCmd",
        meaning: "ended: a stop succeeds",
    },
    Row {
        text: "exec: \"x\": executable file not found in $PATH",
        source: "podman libpod/oci_util.go getOCIRuntimeError; moby daemon/errors.go setExitCodeFromError",
        meaning: "exit code 127",
    },
    Row {
        text: "exec: \"/x\": stat /x: no such file or directory",
        source: "podman libpod/oci_util.go getOCIRuntimeError; moby daemon/errors.go setExitCodeFromError",
        meaning: "exit code 127",
    },
    Row {
        text: "exec: \"/x\": no such file or directory",
        source: "podman libpod/oci_util.go getOCIRuntimeError; moby daemon/errors.go setExitCodeFromError",
        meaning: "exit code 127",
    },
    Row {
        text: "exec: \"/x\": permission denied",
        source: "podman libpod/oci_util.go getOCIRuntimeError; moby daemon/errors.go setExitCodeFromError",
        meaning: "exit code 126",
    },
    Row {
        text: "exec: \"/x\": is a directory: permission denied",
        source: "podman libpod/oci_util.go getOCIRuntimeError; moby daemon/errors.go setExitCodeFromError",
        meaning: "exit code 126",
    },
];

/// Longest line, in bytes: conmon reads at most 8191 in one go (`conmon.c`).
const LONGEST: usize = 4096;

/// The whole chain of an error on one line, joined by `: `, without control characters.
pub fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(inner) = cause {
        let part = words(inner);
        // Transparent wrappers print their cause's text as their own.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = inner.source();
    }
    plain(&text)
}

/// One link of the chain. The kernel's errors are in lower case and without their numbers, as
/// callers know them from Go's runtimes.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let errno = match error.downcast_ref::<nix::errno::Errno>() {
        Some(errno) => Some(*errno as i32),
        None => error.downcast_ref::<std::io::Error>().and_then(|e| e.raw_os_error()),
    };
    match errno {
        None => error.to_string(),
        // Callers take the kernel's own words for this one as "the command is not there", wherever
        // they stand; only [`Kind`] may say them.
        Some(nix::libc::ENOENT) => "the file or directory is missing".to_owned(),
        Some(number) => {
            let text = std::io::Error::from_raw_os_error(number).to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            lower_first(text)
        }
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn plain(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
        if line.len() >= LONGEST {
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// containerd, `process/utils.go`, checkKillError; `process/init.go`, delete.
    fn containerd_kill(text: &str) -> &'static str {
        let lower = text.to_lowercase();
        if lower.contains("os: process already finished")
            || lower.contains("container not running")
            || lower.contains("no such process")
        {
            "finished"
        } else if lower.contains("does not exist") {
            "no such container"
        } else {
            "unknown"
        }
    }

    /// cri-o, `runtime_oci.go`: case-sensitive.
    fn crio_gone(text: &str) -> bool {
        ["no such process", "container not running", "invalid process"]
            .iter()
            .any(|words| text.contains(words))
    }

    /// podman, `oci_util.go` and `define/exec_codes.go`.
    fn podman_code(text: &str) -> i32 {
        let lower = text.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|w| lower.contains(w));
        if any(&["permission denied", "operation not permitted"]) {
            126
        } else if any(&["executable file not found in", "no such file or directory", "open executable"]) {
            127
        } else {
            126
        }
    }

    /// moby, `daemon/errors.go`, setExitCodeFromError.
    fn docker_code(text: &str) -> i32 {
        let lower = text.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|w| lower.contains(w));
        if any(&["permission denied", "is a directory"]) {
            126
        } else if any(&["not a directory", "executable file not found", "no such file or directory", "system cannot find the file specified"]) {
            127
        } else {
            128
        }
    }

    #[test]
    fn callers_understand_every_kind() {
        assert_eq!(containerd_kill(&Kind::NotExist.to_string()), "no such container");
        assert_eq!(containerd_kill(&Kind::NotRunning.to_string()), "finished");
        assert!(crio_gone(&Kind::NotRunning.to_string()));
        assert!(!crio_gone(&Kind::NotExist.to_string()));
        let codes = [
            (Kind::ExecutableNotFound("x".into()), 127),
            (Kind::NoSuchExecutable("/x".into()), 127),
            (Kind::NoInterpreter("/x".into()), 127),
            (Kind::ExecutableDenied("/x".into()), 126),
            (Kind::ExecutableIsDirectory("/x".into()), 126),
        ];
        for (kind, code) in codes {
            let text = format!("create container `c`: {kind}");
            assert_eq!(podman_code(&text), code, "{text}");
            assert_eq!(docker_code(&text), code, "{text}");
        }
    }

    #[test]
    fn the_table_holds_the_texts_that_are_printed() {
        let printed = [
            Kind::NotExist,
            Kind::NotRunning,
            Kind::ExecutableNotFound("x".into()),
            Kind::NoSuchExecutable("/x".into()),
            Kind::NoInterpreter("/x".into()),
            Kind::ExecutableDenied("/x".into()),
            Kind::ExecutableIsDirectory("/x".into()),
        ];
        let texts: Vec<String> = printed.iter().map(Kind::to_string).collect();
        let table: Vec<&str> = CONTRACT.iter().map(|row| row.text).collect();
        assert_eq!(texts, table);
        assert!(CONTRACT.iter().all(|r| !r.source.is_empty() && !r.meaning.is_empty()));
    }

    #[test]
    fn an_error_is_one_plain_line() {
        let io = std::io::Error::from_raw_os_error(2);
        let error = anyhow::Error::from(io).context("open `/x\ny\u{1b}`");
        assert_eq!(
            one_line(error.as_ref()),
            "open `/x y\\u{1b}`: the file or directory is missing"
        );
        assert_eq!(podman_code(&one_line(error.as_ref())), 126);
        let errno = anyhow::Error::from(nix::errno::Errno::EBUSY).context("x");
        assert_eq!(one_line(errno.as_ref()), "x: device or resource busy");
        let long = anyhow::anyhow!("x".repeat(10_000));
        assert!(one_line(long.as_ref()).len() <= LONGEST);
    }
}
