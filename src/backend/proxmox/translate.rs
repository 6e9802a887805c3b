//! From a container's configuration to its guest: options, description, tags, and the lines for
//! LXC that Proxmox has no option for. Pure: it runs nothing and looks at nothing but its input.

mod limits;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::conf::Conf;
use super::options::{self, ANNOTATION, OptionError};
use super::settings::{Mode, Settings};
use super::vmid::Wish;
use crate::backend::lxc::lines::line;

pub use limits::shown as shown_limits;
pub use words::{Marker, TAG};

/// What the host says, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Main memory in MiB: what a guest without a limit shows.
    pub memory: u64,
    /// Swap in MiB.
    pub swap: u64,
    /// All controllers are on the unified hierarchy.
    pub cgroup_v2: bool,
    /// Its architecture, in Proxmox's words.
    pub arch: &'static str,
}

/// What a guest is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The container's id.
    pub id: &'a str,
    /// pxrun's root, where the record is.
    pub root: &'a Path,
    /// The bundle.
    pub bundle: &'a Path,
    /// The configuration.
    pub spec: &'a Spec,
    /// The node's settings.
    pub settings: &'a Settings,
    /// The host.
    pub host: Host,
}

/// Why there is no guest for a configuration.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// An annotation's value.
    #[error("annotations[{key}]: {why}")]
    Annotation {
        /// The annotation.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// Two say different things.
    #[error("annotations[{key}]: `{json}` says it already")]
    Twice {
        /// The annotation.
        key: String,
        /// The field of config.json.
        json: &'static str,
    },
    /// It needs something that the configuration doesn't have.
    #[error("annotations[{key}]: it needs {needs}")]
    Needs {
        /// The annotation.
        key: String,
        /// What is missing.
        needs: &'static str,
    },
    /// The root's path can't stand in a guest's configuration.
    #[error("root.path: `{}` has a character that Proxmox's configuration cannot hold", .0.display())]
    Root(PathBuf),
}

/// A guest to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How its root file system gets there.
    pub mode: Mode,
    /// Storage for volumes.
    pub storage: String,
    /// Size of a volume in GiB.
    pub size: u32,
    /// The template to clone, if it is pinned.
    pub template: Option<u32>,
    /// The number.
    pub wish: Wish,
    /// A resource pool.
    pub pool: Option<String>,
    /// All options but `rootfs`.
    pub options: BTreeMap<String, String>,
    /// What people read, with the lines by which pxrun knows the guest again.
    pub description: String,
    /// LXC's keys that have to stand in the guest's own file.
    own_lines: Vec<(String, String)>,
    /// Those that lift what Proxmox generates; they come first in the included file.
    pub lifted: Vec<(String, String)>,
}

impl Plan {
    /// Makes the plan.
    ///
    /// # Errors
    /// An annotation that doesn't fit.
    pub fn new(input: &Input<'_>) -> Result<Plan, TranslateError> {
        let wishes = Wishes::new(input)?;
        let mut options = fixed(input);
        limits::options(input, &mut options);
        let asked = asked(input)?;
        let description = words::description(input, asked.get("description").map(String::as_str));
        let tags = words::tags(input, asked.get("tags").map(String::as_str));
        options.extend(asked);
        options.insert("tags".to_owned(), tags);
        options.remove("description");
        Ok(Plan {
            mode: wishes.mode,
            storage: wishes.storage,
            size: wishes.size,
            template: wishes.template,
            wish: wishes.wish,
            pool: wishes.pool,
            options,
            description,
            own_lines: limits::own_lines(input),
            lifted: limits::lifted(),
        })
    }

    /// The guest's file in zero-copy mode, with its root at `rootfs` as the host sees it. `lines`
    /// are LXC's own settings for the container; those that Proxmox looks for in the guest's file
    /// go there, and `include` names the file of the others ([`Plan::included`]).
    ///
    /// # Errors
    /// The root's path can't stand in the file.
    pub fn conf(
        &self,
        lines: &[(String, String)],
        rootfs: &Path,
        include: &Path,
    ) -> Result<Conf, TranslateError> {
        let mut conf = self.base();
        conf.set("rootfs", value_of(rootfs)?);
        self.mark(&mut conf, lines, include);
        Ok(conf)
    }

    /// What holds the number until everything is known: locked as by `pct create`, so that nobody
    /// starts it.
    pub fn placeholder(&self) -> Conf {
        let mut conf = self.base();
        conf.set("lock", "create");
        conf.set_description(&self.description);
        conf
    }

    fn base(&self) -> Conf {
        let mut conf = Conf::default();
        for (key, value) in &self.options {
            conf.set(key, value);
        }
        conf
    }

    /// Whether Proxmox makes a network for the guest.
    pub fn has_network(&self) -> bool {
        self.options.keys().any(|name| is_net(name))
    }

    /// Adds to a guest that Proxmox made what it has no option for.
    pub fn mark(&self, conf: &mut Conf, lines: &[(String, String)], include: &Path) {
        conf.set_description(&self.description);
        let hoisted = lines.iter().filter(|(key, _)| is_own(key));
        for (key, value) in self.own_lines.iter().chain(hoisted) {
            conf.add_lxc(key, value);
        }
        conf.add_lxc("lxc.include", &include.display().to_string());
    }

    /// The text of the included file.
    pub fn included(&self, lines: &[(String, String)]) -> String {
        let rest = lines.iter().filter(|(key, _)| !is_own(key));
        let all = self.lifted.iter().chain(rest);
        all.map(|(key, value)| line(key, value) + "\n").collect()
    }
}

/// Keys that Proxmox looks for in the guest's own file: without them it would generate its own
/// mapping, filter and profile, and pvestatd would move the guest to other processors.
const OWN_KEYS: [&str; 5] = [
    "lxc.idmap",
    "lxc.cgroup2.cpuset.cpus",
    "lxc.cgroup.cpuset.cpus",
    "lxc.seccomp.profile",
    "lxc.apparmor.profile",
];

fn is_own(key: &str) -> bool {
    OWN_KEYS.contains(&key)
}

/// Annotations that are about the guest and no option of it.
struct Wishes {
    mode: Mode,
    storage: String,
    size: u32,
    template: Option<u32>,
    wish: Wish,
    pool: Option<String>,
}

impl Wishes {
    /// Names that [`asked`] must not take for options.
    const NAMES: [&str; 6] = ["mode", "pool", "size", "storage", "template", "vmid"];

    fn new(input: &Input<'_>) -> Result<Wishes, TranslateError> {
        let settings = input.settings;
        let template = number(input, "template")?;
        let mode = match annotation(input, "mode") {
            Some("zero-copy") => Mode::ZeroCopy,
            Some("volume") => Mode::Volume,
            Some("clone") => Mode::Clone,
            Some(other) => {
                return Err(wrong(
                    "mode",
                    &format!("`{other}` is none of zero-copy, volume, clone"),
                ));
            }
            None if template.is_some() => Mode::Clone,
            None => settings.mode,
        };
        let storage = annotation(input, "storage").unwrap_or(&settings.storage);
        if !is_name(storage) {
            return Err(wrong(
                "storage",
                &format!("`{storage}` is no name of a storage"),
            ));
        }
        let pool = annotation(input, "pool").map(str::to_owned);
        if let Some(pool) = pool.as_deref().filter(|pool| !is_name(pool)) {
            return Err(wrong("pool", &format!("`{pool}` is no name of a pool")));
        }
        Ok(Wishes {
            mode,
            storage: storage.to_owned(),
            size: number(input, "size")?.unwrap_or(settings.size),
            template,
            wish: match number(input, "vmid")? {
                Some(vmid @ 100..=999_999_999) => Wish::This(vmid),
                Some(vmid) => return Err(wrong("vmid", &format!("`{vmid}` is no VMID"))),
                None => Wish::Any(settings.vmids),
            },
            pool,
        })
    }
}

fn annotation<'a>(input: &Input<'a>, name: &str) -> Option<&'a str> {
    let annotations = input.spec.annotations().as_ref()?;
    annotations
        .get(&format!("{ANNOTATION}{name}"))
        .map(String::as_str)
}

fn number(input: &Input<'_>, name: &str) -> Result<Option<u32>, TranslateError> {
    let Some(text) = annotation(input, name) else {
        return Ok(None);
    };
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain => Ok(Some(number)),
        _ => Err(wrong(name, &format!("`{text}` is no number"))),
    }
}

fn wrong(name: &str, why: &str) -> TranslateError {
    TranslateError::Annotation {
        key: format!("{ANNOTATION}{name}"),
        why: why.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(allowed)
}

/// What pxrun decides itself.
fn fixed(input: &Input<'_>) -> BTreeMap<String, String> {
    let spec = input.spec;
    let unprivileged = has_new(spec, LinuxNamespaceType::User);
    let mut options = vec![
        ("arch", words::arch(input)),
        ("console", "0".to_owned()),
        (
            "hostname",
            words::hostname(input.id, spec.hostname().as_deref()),
        ),
        ("onboot", "0".to_owned()),
        ("ostype", "unmanaged".to_owned()),
        ("tty", "0".to_owned()),
    ];
    if unprivileged {
        options.push(("unprivileged", "1".to_owned()));
    }
    options
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect()
}

fn has_new(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    let linux = spec.linux().as_ref();
    let list = linux.and_then(|linux| linux.namespaces().as_ref());
    list.into_iter()
        .flatten()
        .any(|n| n.typ() == kind && n.path().is_none())
}

/// Options from the settings, and from annotations, which go before them.
fn asked(input: &Input<'_>) -> Result<BTreeMap<String, String>, TranslateError> {
    let own_net = has_new(input.spec, LinuxNamespaceType::Network);
    let mut options = input.settings.options.clone();
    // A default for all guests is no wish of a container that has a network already.
    options.retain(|name, _| own_net || !is_net(name));
    let annotations = input.spec.annotations().iter().flatten();
    for (key, value) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else {
            continue;
        };
        if Wishes::NAMES.contains(&name) {
            continue;
        }
        options::check(name, value).map_err(|error| TranslateError::Annotation {
            key: key.clone(),
            why: match error {
                OptionError::Wrong { wrong, .. } => wrong.to_string(),
                other => other.to_string(),
            },
        })?;
        if let Some(json) = limits::said_by(input, name) {
            return Err(TranslateError::Twice {
                key: key.clone(),
                json,
            });
        }
        if is_net(name) && !own_net {
            let needs = "a network namespace of the container's own, without a path";
            return Err(TranslateError::Needs {
                key: key.clone(),
                needs,
            });
        }
        options.insert(name.to_owned(), value.clone());
    }
    Ok(options)
}

fn is_net(name: &str) -> bool {
    name.strip_prefix("net")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// A path as the value of `rootfs`: it stands before commas, on a line of its own.
fn value_of(path: &Path) -> Result<&str, TranslateError> {
    let fits = |path: &&str| {
        let bare = !path.contains([',', '=']) && !path.chars().any(char::is_control);
        path.starts_with('/') && bare && path.trim_end() == *path
    };
    let path_text = path.to_str().filter(fits);
    path_text.ok_or_else(|| TranslateError::Root(path.to_owned()))
}

#[cfg(test)]
mod tests;
