//! What the translation needs to know of this host, as a value. It must not decide anything.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::options::{ANNOTATION, props};
use super::translate::amend::{Looked, Node};
use super::translate::{Host, Plan, TranslateError, is_device};
use crate::cgroup::{Cgroup, Setup};

/// Where time zones are, and which one is the host's own.
const ZONES: &str = "/usr/share/zoneinfo";
const ZONE: &str = "/etc/localtime";

/// What `features: fuse=1` is about.
const FUSE: &str = "/dev/fuse";

/// Looks at what options of a guest name.
///
/// # Errors
/// It isn't there, or something else.
pub fn look(plan: &Plan) -> Result<Looked, TranslateError> {
    let mut looked = Looked::default();
    for (option, value) in &plan.options {
        let path = match option.as_str() {
            "timezone" => {
                looked.zone = Some(zone(value)?);
                continue;
            }
            "features" if props::is_on(value, "fuse") => FUSE,
            _ if is_device(option) => props::get(value, "path", "path").unwrap_or_default(),
            _ => continue,
        };
        looked.nodes.push(node(option, path)?);
    }
    Ok(looked)
}

fn wrong(option: &str, why: String) -> TranslateError {
    TranslateError::Annotation {
        key: format!("{ANNOTATION}{option}"),
        why,
    }
}

fn zone(name: &str) -> Result<PathBuf, TranslateError> {
    let path = match name {
        "host" => PathBuf::from(ZONE),
        name => Path::new(ZONES).join(name),
    };
    let found = std::fs::canonicalize(&path)
        .ok()
        .filter(|path| path.is_file());
    found.ok_or_else(|| wrong("timezone", format!("this host has no time zone `{name}`")))
}

fn node(option: &str, path: &str) -> Result<Node, TranslateError> {
    let not = |why: &str| wrong(option, format!("`{path}` {why}"));
    let meta = std::fs::metadata(path)
        .map_err(|error| not(&format!("is not to be had: {}", error.kind())))?;
    let kind = match meta.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return Err(not("is no device")),
    };
    let number = meta.rdev();
    Ok(Node {
        option: option.to_owned(),
        path: path.to_owned(),
        kind,
        numbers: (nix::sys::stat::major(number), nix::sys::stat::minor(number)),
    })
}

/// Looks at the host.
pub fn facts(cgroup: &Cgroup) -> Host {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Host {
        memory: mib(&text, "MemTotal:"),
        swap: mib(&text, "SwapTotal:"),
        cgroup_v2: cgroup.setup() == Setup::Unified,
        arch: arch(),
    }
}

fn mib(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// The architecture in Proxmox's words.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "arm64",
        "arm" => "armhf",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mebibytes() {
        let text = "MemTotal:       16384000 kB\nMemFree: 1 kB\nSwapTotal:             0 kB\n";
        assert_eq!(mib(text, "MemTotal:"), 16_000);
        assert_eq!(mib(text, "SwapTotal:"), 0);
        assert_eq!(mib("", "MemTotal:"), 0);
    }
}
