//! From `mounts` and `root.readonly` to calls of mount(8) on the host. Pure: where a destination
//! really leads is looked up by [`super::life`] before the call.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::JailError;
use super::read::Object;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `nullfs`, `devfs`, `tmpfs`, `fdescfs` …
    pub kind: &'static str,
    /// What is mounted.
    pub source: PathBuf,
    /// Where, relative to the root.
    pub destination: PathBuf,
    /// For `mount -o`.
    pub options: Vec<String>,
}

/// File systems by OCI's names and mount(8)'s.
const KINDS: [(&str, &str); 9] = [
    ("bind", "nullfs"),
    ("none", "nullfs"),
    ("nullfs", "nullfs"),
    ("devfs", "devfs"),
    ("tmpfs", "tmpfs"),
    ("fdescfs", "fdescfs"),
    ("procfs", "procfs"),
    ("linprocfs", "linprocfs"),
    ("linsysfs", "linsysfs"),
];

/// Options that need no value and mean the same to mount(8).
const FLAGS: [&str; 12] = [
    "ro",
    "rw",
    "noexec",
    "exec",
    "nosuid",
    "suid",
    "noatime",
    "atime",
    "nosymfollow",
    "sync",
    "async",
    "nocover",
];

/// All mounts of a document, in its order.
///
/// # Errors
/// A kind or an option that FreeBSD doesn't have.
pub fn mounts(config: &Value, bundle: &Path) -> Result<Vec<Mount>, JailError> {
    let all = Object::root(config)?.objects("mounts")?.into_iter();
    all.map(|given| mount(&given, bundle)).collect()
}

fn mount(given: &Object<'_>, bundle: &Path) -> Result<Mount, JailError> {
    let options = given.texts("options")?;
    let is_bind = options
        .iter()
        .any(|option| option == "bind" || option == "rbind");
    let name = given.text("type")?;
    let name = name
        .as_deref()
        .unwrap_or(if is_bind { "bind" } else { "nullfs" });
    let kind = KINDS.iter().find(|(oci, _)| *oci == name);
    let kind = kind.map(|(_, kind)| *kind).ok_or_else(|| {
        JailError::new(
            given.at("type"),
            format!("`{name}` is no file system of FreeBSD's"),
        )
    })?;
    let source = given.text("source")?.unwrap_or_else(|| kind.to_owned());
    let source = match kind {
        "nullfs" => bundle.join(source),
        _ => PathBuf::from(kind),
    };
    Ok(Mount {
        kind,
        source,
        destination: destination(given)?,
        options: translated(&options, kind, &given.at("options"))?,
    })
}

/// Without `..`, relative.
fn destination(given: &Object<'_>) -> Result<PathBuf, JailError> {
    let text = given.text("destination")?.unwrap_or_default();
    let refuse = |what: &str| JailError::new(given.at("destination"), format!("`{text}`: {what}"));
    if !text.starts_with('/') {
        return Err(refuse("expected an absolute path"));
    }
    let mut path = PathBuf::new();
    for part in Path::new(&text).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => return Err(refuse("holds `..`")),
            _ => {}
        }
    }
    Ok(path)
}

fn translated(given: &[String], kind: &str, field: &str) -> Result<Vec<String>, JailError> {
    let mut all = Vec::new();
    for (i, option) in given.iter().enumerate() {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match (kind, name) {
            (_, "bind" | "rbind" | "private" | "rprivate") => {}
            (_, name) if value.is_empty() && FLAGS.contains(&name) => all.push(option.clone()),
            ("tmpfs", "size" | "mode" | "uid" | "gid" | "inodes") if is_plain(value) => {
                all.push(option.clone());
            }
            // `rule=` is for devfs(8), see `devices`.
            ("devfs", "rule") => {}
            ("devfs", "ruleset") if is_plain(value) => all.push(option.clone()),
            ("fdescfs", "linrdlnk" | "rdlnk" | "nodup") if value.is_empty() => {
                all.push(option.clone())
            }
            _ => {
                let what = format!("`{option}` is no option of {kind}");
                return Err(JailError::new(format!("{field}[{i}]"), what));
            }
        }
    }
    Ok(all)
}

fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The root's own mount when it is read-only: the caller's directory stays as it is.
pub fn read_only_root(config: &Value) -> Result<bool, JailError> {
    let root = Object::root(config)?.object("root")?;
    Ok(root.flag("readonly")?.unwrap_or(false))
}
