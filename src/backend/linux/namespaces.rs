//! Which namespaces a container gets new and which it joins, and how to enter them in an order
//! that the kernel allows. Reads `linux.namespaces` and nothing else of the spec.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::stand_in;
use crate::sys::clone::{namespace_kind, setns};

/// Why a namespace can't be entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The path can't be opened.
    #[error("linux.namespaces: open {kind} namespace `{}`", path.display())]
    Open {
        /// `network`, `pid` …
        kind: LinuxNamespaceType,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// setns(2) or unshare(2) failed.
    #[error("linux.namespaces: {what} {kind} namespace")]
    Enter {
        /// `join` or `make`.
        what: &'static str,
        /// `network`, `pid` …
        kind: LinuxNamespaceType,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// Offsets for a new time namespace were refused.
    #[error("linux.timeOffsets: write offsets")]
    TimeOffsets(#[source] std::io::Error),
}

/// One namespace to join, opened with the rights of the command.
#[derive(Debug)]
struct Join {
    kind: LinuxNamespaceType,
    file: File,
}

/// The namespaces of one container.
#[derive(Debug)]
pub struct Namespaces {
    new: Vec<LinuxNamespaceType>,
    joins: Vec<Join>,
    time_offsets: String,
}

impl Namespaces {
    /// Reads the spec and opens what is to be joined.
    pub fn open(spec: &Spec) -> Result<Namespaces, NamespaceError> {
        let mut namespaces = Namespaces {
            new: Vec::new(),
            joins: Vec::new(),
            time_offsets: time_offsets(spec),
        };
        let list = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
        for namespace in list.into_iter().flatten() {
            let kind = namespace.typ();
            match namespace
                .path()
                .as_deref()
                .filter(|p| !p.as_os_str().is_empty())
            {
                None => namespaces.new.push(kind),
                Some(path) => namespaces.joins.push(Join {
                    kind,
                    file: open(kind, &meant(kind, path))?,
                }),
            }
        }
        Ok(namespaces)
    }

    /// The kinds that are made.
    pub fn made(&self) -> &[LinuxNamespaceType] {
        &self.new
    }

    /// What is joined, by kind.
    pub fn joined(&self) -> impl Iterator<Item = (LinuxNamespaceType, BorrowedFd<'_>)> {
        self.joins.iter().map(|join| (join.kind, join.file.as_fd()))
    }

    /// Whether every path leads to a namespace of its kind: for somebody else who joins them
    /// without asking the kernel for that.
    ///
    /// # Errors
    /// The first that doesn't.
    pub fn check_kinds(&self) -> Result<(), NamespaceError> {
        let wrong = |join: &Join| match namespace_kind(join.file.as_fd()) {
            Ok(bits) if bits == flag(join.kind) => None,
            Ok(_) => Some(Errno::EINVAL),
            Err(errno) => Some(errno),
        };
        match self
            .joins
            .iter()
            .find_map(|join| Some((join, wrong(join)?)))
        {
            Some((join, errno)) => Err(entering("join", join.kind)(errno)),
            None => Ok(()),
        }
    }

    /// A new namespace of this kind is made.
    pub fn is_new(&self, kind: LinuxNamespaceType) -> bool {
        self.new.contains(&kind)
    }

    /// The caller makes a namespace of this kind itself, if one is to be made.
    pub fn take_new(&mut self, kind: LinuxNamespaceType) -> bool {
        let before = self.new.len();
        self.new.retain(|new| *new != kind);
        self.new.len() < before
    }

    /// The container is in another namespace of this kind than the runtime.
    pub fn is_separate(&self, kind: LinuxNamespaceType) -> bool {
        self.is_new(kind) || self.joins.iter().any(|j| j.kind == kind)
    }

    /// Bits for clone3(2). The cgroup namespace isn't among them: its root is the cgroup that its
    /// maker is in, so it is made once init sits in the right one. Nor is the time namespace:
    /// offsets can be written only before anyone has entered it (time_namespaces(7)).
    pub fn clone_flags(&self) -> u64 {
        self.new
            .iter()
            .filter(|kind| !is_late(**kind))
            .fold(0, |flags, kind| flags | flag(*kind) as u64)
    }

    /// Whether some must be joined by a process in between, before the clone: a pid namespace
    /// holds only children, a user namespace takes away the rights that the others may need, and
    /// the other way round a new user namespace leaves none to join them.
    pub fn need_helper(&self) -> bool {
        let new_user = self.is_new(LinuxNamespaceType::User);
        self.joins.iter().any(|join| {
            new_user
                || matches!(
                    join.kind,
                    LinuxNamespaceType::Pid | LinuxNamespaceType::User
                )
        })
    }

    /// Joins everything that has a path. What the command's own rights don't suffice for is tried
    /// again once the user namespace is joined: it may belong to that one.
    pub fn join_all(&self) -> Result<(), NamespaceError> {
        let (user, others): (Vec<&Join>, Vec<&Join>) = self
            .joins
            .iter()
            .partition(|join| join.kind == LinuxNamespaceType::User);
        let mut deferred = Vec::new();
        for join in others {
            match join.enter() {
                Err(NamespaceError::Enter {
                    source: Errno::EPERM,
                    ..
                }) if !user.is_empty() => deferred.push(join),
                other => other?,
            }
        }
        user.into_iter().chain(deferred).try_for_each(Join::enter)
    }

    /// Makes the namespaces that [`Namespaces::clone_flags`] left out, in init.
    pub fn make_late(&self) -> Result<(), NamespaceError> {
        if self.is_new(LinuxNamespaceType::Cgroup) {
            unshare(CloneFlags::CLONE_NEWCGROUP)
                .map_err(entering("make", LinuxNamespaceType::Cgroup))?;
        }
        if self.is_new(LinuxNamespaceType::Time) {
            self.make_time()?;
        }
        Ok(())
    }

    /// A new time namespace is first only for children; the offsets are written meanwhile, then
    /// init enters it itself.
    fn make_time(&self) -> Result<(), NamespaceError> {
        let failed = || entering("make", LinuxNamespaceType::Time);
        unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)).map_err(failed())?;
        if !self.time_offsets.is_empty() {
            std::fs::write("/proc/self/timens_offsets", &self.time_offsets)
                .map_err(NamespaceError::TimeOffsets)?;
        }
        let path = Path::new("/proc/self/ns/time_for_children");
        let file = open(LinuxNamespaceType::Time, path)?;
        setns(file.as_fd(), libc::CLONE_NEWTIME).map_err(failed())
    }
}

impl Join {
    fn enter(&self) -> Result<(), NamespaceError> {
        setns(self.file.as_fd(), flag(self.kind)).map_err(entering("join", self.kind))
    }
}

fn entering(what: &'static str, kind: LinuxNamespaceType) -> impl FnOnce(Errno) -> NamespaceError {
    move |source| NamespaceError::Enter { what, kind, source }
}

fn open(kind: LinuxNamespaceType, path: &Path) -> Result<File, NamespaceError> {
    File::open(path).map_err(|source| NamespaceError::Open {
        kind,
        path: path.to_owned(),
        source,
    })
}

/// A keeper's pid and user namespace are the host's; its container's are meant.
fn meant(kind: LinuxNamespaceType, path: &Path) -> PathBuf {
    let pid = match kind {
        LinuxNamespaceType::Pid | LinuxNamespaceType::User => stand_in::meant(path),
        _ => None,
    };
    match (pid, path.file_name()) {
        (Some(pid), Some(name)) => Path::new(&format!("/proc/{pid}/ns")).join(name),
        _ => path.to_owned(),
    }
}

fn is_late(kind: LinuxNamespaceType) -> bool {
    matches!(kind, LinuxNamespaceType::Cgroup | LinuxNamespaceType::Time)
}

fn flag(kind: LinuxNamespaceType) -> i32 {
    match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        LinuxNamespaceType::Time => libc::CLONE_NEWTIME,
    }
}

/// The lines of `/proc/PID/timens_offsets`.
fn time_offsets(spec: &Spec) -> String {
    let offsets = spec
        .linux()
        .as_ref()
        .and_then(|l| l.time_offsets().as_ref());
    offsets
        .into_iter()
        .flatten()
        .map(|(clock, offset)| {
            let (secs, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            format!("{clock} {secs} {nanos}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(namespaces: &str) -> Spec {
        serde_json::from_str(&format!(
            r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{namespaces}],
                "timeOffsets":{{"boottime":{{"secs":3,"nanosecs":4}}}}}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn late_namespaces_are_not_cloned() {
        let ns = Namespaces::open(&spec(
            r#"{"type":"pid"},{"type":"cgroup"},{"type":"time"},{"type":"mount"}"#,
        ))
        .unwrap();
        assert_eq!(
            ns.clone_flags(),
            (libc::CLONE_NEWPID | libc::CLONE_NEWNS) as u64
        );
        assert_eq!(ns.time_offsets, "boottime 3 4\n");
        assert!(!ns.need_helper());
    }

    #[test]
    fn a_helper_is_needed_for_pid_and_user_paths_and_for_paths_beside_a_new_user_namespace() {
        let table = [
            (r#"{"type":"network","path":"/proc/self/ns/net"}"#, false),
            (r#"{"type":"pid","path":"/proc/self/ns/pid"}"#, true),
            (r#"{"type":"user","path":"/proc/self/ns/user"}"#, true),
            (
                r#"{"type":"user"},{"type":"network","path":"/proc/self/ns/net"}"#,
                true,
            ),
            (r#"{"type":"user"},{"type":"network"}"#, false),
        ];
        for (namespaces, expected) in table {
            let ns = Namespaces::open(&spec(namespaces)).unwrap();
            assert_eq!(ns.need_helper(), expected, "{namespaces}");
        }
    }

    #[test]
    fn a_path_to_another_kind_is_told() {
        let check = |json: &str| Namespaces::open(&spec(json)).unwrap().check_kinds();
        check(r#"{"type":"network","path":"/proc/self/ns/net"},{"type":"pid"}"#).unwrap();
        for json in [
            r#"{"type":"cgroup","path":"/proc/self/ns/ipc"}"#,
            r#"{"type":"network","path":"/dev/null"}"#,
        ] {
            let error = check(json).unwrap_err().to_string();
            assert!(error.starts_with("linux.namespaces: join "), "{error}");
        }
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let error = Namespaces::open(&spec(r#"{"type":"ipc","path":"/nowhere/ipc"}"#)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.namespaces: open ipc namespace `/nowhere/ipc`"
        );
    }
}
