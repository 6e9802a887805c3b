//! `config.json` as an LXC configuration: what LXC has to make itself, which are namespaces,
//! mappings, cgroups and the network namespace's kind. Everything else is done by the mount hook's
//! and the first process's own code. Pure: must not look at the host.

use std::path::Path;

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};

use super::lines::{LineError, Lines, shell_word};

/// What the configuration says beside the bundle.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Where LXC finds the root; `None` where somebody else writes that line.
    pub root: Option<Root<'a>>,
    /// Program and arguments of the mount hook.
    pub hook: &'a [&'a str],
    /// The first process's program and arguments, in the container.
    pub init: &'a [&'a str],
    /// A file for each namespace to join.
    pub joined: &'a [(LinuxNamespaceType, String)],
    /// Where the processes are accounted; `None` where somebody else says it.
    pub cgroups: Option<Cgroups<'a>>,
    /// LXC's log.
    pub log: Option<&'a str>,
}

/// Paths below the top of each hierarchy.
#[derive(Debug, Clone, Copy)]
pub struct Cgroups<'a> {
    /// The container's.
    pub container: &'a str,
    /// LXC's monitor's.
    pub monitor: &'a str,
    /// Below the cgroup that LXC is started in instead.
    pub relative: bool,
}

/// The root, and where LXC mounts it.
#[derive(Debug, Clone, Copy)]
pub struct Root<'a> {
    /// What is mounted.
    pub path: &'a str,
    /// On what.
    pub mount: &'a str,
}

/// What LXC can't do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TranslateError {
    /// A part of the bundle.
    #[error("{at}: {why}")]
    Refused {
        /// JSON path.
        at: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// A value that no line can hold.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// The configuration.
///
/// # Errors
/// The bundle asks for what LXC can't do.
pub fn translate(spec: &Spec, facts: &Facts<'_>) -> Result<Lines, TranslateError> {
    check(spec)?;
    let mut lines = Lines::default();
    root(facts, &mut lines)?;
    nothing_of_its_own(&mut lines)?;
    namespaces(spec, facts, &mut lines)?;
    mappings(spec, &mut lines)?;
    time_offsets(spec, &mut lines)?;
    if let Some(cgroups) = facts.cgroups {
        lines.add(
            "lxc.cgroup.relative",
            if cgroups.relative { "1" } else { "0" },
        )?;
        lines.add("lxc.cgroup.dir.container", cgroups.container)?;
        lines.add("lxc.cgroup.dir.monitor", cgroups.monitor)?;
    }
    let hook: Vec<String> = facts.hook.iter().map(|word| shell_word(word)).collect();
    lines.add("lxc.hook.mount", &hook.join(" "))?;
    lines.add("lxc.init.cmd", &facts.init.join(" "))?;
    if let Some(log) = facts.log {
        lines.add("lxc.log.file", log)?;
        lines.add("lxc.log.level", "INFO")?;
    }
    Ok(lines)
}

fn check(spec: &Spec) -> Result<(), TranslateError> {
    let mounts = spec.mounts().iter().flatten();
    let mut options = mounts.flat_map(|mount| mount.options().iter().flatten());
    if options.any(|option| matches!(option.as_str(), "unbindable" | "runbindable")) {
        return Err(TranslateError::Refused {
            at: "mounts",
            why: "an unbindable mount can't be handed over in LXC",
        });
    }
    let mount = list(spec).find(|(kind, _)| *kind == LinuxNamespaceType::Mount);
    match mount {
        Some((_, false)) => Ok(()),
        Some((_, true)) => Err(TranslateError::Refused {
            at: "linux.namespaces",
            why: "LXC can't join a mount namespace",
        }),
        None => Err(TranslateError::Refused {
            at: "linux.namespaces",
            why: "LXC needs a new mount namespace",
        }),
    }
}

/// The namespaces of the bundle, and whether each is joined.
fn list(spec: &Spec) -> impl Iterator<Item = (LinuxNamespaceType, bool)> {
    let linux = spec.linux().as_ref();
    let list = linux.and_then(|linux| linux.namespaces().as_ref());
    list.into_iter().flatten().map(|namespace| {
        let path = namespace.path().as_deref();
        let joined = path.is_some_and(|path| path != Path::new(""));
        (namespace.typ(), joined)
    })
}

fn root(facts: &Facts<'_>, lines: &mut Lines) -> Result<(), LineError> {
    if let Some(root) = facts.root {
        lines.add("lxc.rootfs.path", &format!("dir:{}", root.path))?;
        lines.add("lxc.rootfs.mount", root.mount)?;
    }
    Ok(())
}

/// What LXC would do unasked: mounts, devices, terminals, capabilities, keyrings, labels.
fn nothing_of_its_own(lines: &mut Lines) -> Result<(), LineError> {
    let table = [
        ("lxc.mount.auto", ""),
        ("lxc.autodev", "0"),
        ("lxc.tty.max", "0"),
        ("lxc.pty.max", "0"),
        ("lxc.console.path", "none"),
        ("lxc.cap.drop", ""),
        ("lxc.keyring.session", "0"),
        ("lxc.apparmor.profile", "unconfined"),
        ("lxc.hook.version", "1"),
    ];
    table
        .iter()
        .try_for_each(|(key, value)| lines.add(key, value))
}

/// LXC's word for a kind of namespace.
pub fn word(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Time => "time",
    }
}

fn namespaces(spec: &Spec, facts: &Facts<'_>, lines: &mut Lines) -> Result<(), LineError> {
    let new: Vec<_> = list(spec)
        .filter(|(_, joined)| !joined)
        .map(|(kind, _)| word(kind))
        .collect();
    lines.add("lxc.namespace.clone", &new.join(" "))?;
    for (kind, path) in facts.joined {
        lines.add(&format!("lxc.namespace.share.{}", word(*kind)), path)?;
    }
    // In a network namespace of its own LXC sets `lo` up and nothing else; `none` keeps its hands
    // off one that is the host's.
    match new.contains(&"net") {
        true => lines.add("lxc.net.0.type", "empty"),
        false if facts.joined.iter().any(|(kind, _)| word(*kind) == "net") => Ok(()),
        false => lines.add("lxc.net.0.type", "none"),
    }
}

fn mappings(spec: &Spec, lines: &mut Lines) -> Result<(), LineError> {
    if !list(spec).any(|(kind, joined)| kind == LinuxNamespaceType::User && !joined) {
        return Ok(());
    }
    let linux = spec.linux().as_ref();
    let sides = [
        ("u", linux.and_then(|linux| linux.uid_mappings().as_ref())),
        ("g", linux.and_then(|linux| linux.gid_mappings().as_ref())),
    ];
    for (side, mappings) in sides {
        for mapping in mappings.into_iter().flatten() {
            lines.add("lxc.idmap", &format!("{side} {}", numbers(mapping)))?;
        }
    }
    Ok(())
}

fn numbers(mapping: &LinuxIdMapping) -> String {
    format!(
        "{} {} {}",
        mapping.container_id(),
        mapping.host_id(),
        mapping.size()
    )
}

fn time_offsets(spec: &Spec, lines: &mut Lines) -> Result<(), TranslateError> {
    let linux = spec.linux().as_ref();
    let offsets = linux.and_then(|linux| linux.time_offsets().as_ref());
    let clocks = [("boottime", "boot"), ("monotonic", "monotonic")];
    for (clock, word) in clocks {
        let Some(offset) = offsets.and_then(|offsets| offsets.get(clock)) else {
            continue;
        };
        // A line sets the seconds or, in another unit, the nanoseconds, which the kernel wants
        // below a second; the other part stays.
        let key = format!("lxc.time.offset.{word}");
        lines.add(&key, &format!("{}s", offset.secs().unwrap_or(0)))?;
        lines.add(&key, &format!("{}ns", offset.nanosecs().unwrap_or(0)))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;
