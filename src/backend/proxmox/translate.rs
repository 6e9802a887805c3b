//! From a container's configuration to its guest: options, description, tags, and the lines for
//! LXC that Proxmox has no option for. Pure: it runs nothing and looks at nothing but its input.

pub mod amend;
mod asked;
mod limits;
mod mounts;
mod said;
mod wishes;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use self::wishes::Wishes;
use super::conf::Conf;
use super::options::props::{self, Volume};
use super::settings::{Mode, Settings};
use super::vmid::Wish;
use crate::backend::lxc::lines::line;

pub use limits::shown as shown_limits;
pub use said::is_device;
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
    /// A volume as the source of a mount.
    #[error("mounts[{number}]: {why}")]
    Mount {
        /// Which.
        number: usize,
        /// What is wrong.
        why: String,
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
    /// What tells the image of a clone from others, if not its files.
    pub image: Option<String>,
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
    /// Mounts of the bundle's that are mount points of the guest's now.
    pub lifted_mounts: Vec<usize>,
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
        let asked = asked::options(input)?;
        let description = words::description(input, asked.get("description").map(String::as_str));
        let tags = words::tags(input, asked.get("tags").map(String::as_str));
        options.extend(asked);
        options.insert("tags".to_owned(), tags);
        options.remove("description");
        let lifted_mounts = mounts::volumes(input, &mut options)?;
        mounts::check_hidden(input, &options, &lifted_mounts)?;
        asked::check_new_volumes(&wishes, &options)?;
        asked::check_nodes(input, &options)?;
        Ok(Plan {
            mode: wishes.mode,
            storage: wishes.storage,
            size: wishes.size,
            template: wishes.template,
            image: wishes.image,
            wish: wishes.wish,
            pool: wishes.pool,
            options,
            description,
            own_lines: limits::own_lines(input),
            lifted: limits::lifted(),
            lifted_mounts,
        })
    }

    /// `/etc/resolv.conf` where the options ask for one.
    pub fn resolv_conf(&self) -> Option<String> {
        let search = self.options.get("searchdomain");
        let servers = self.options.get("nameserver");
        if search.is_none() && servers.is_none() {
            return None;
        }
        let mut text = String::new();
        if let Some(search) = search {
            let domains: Vec<&str> = search
                .split([' ', ',', ';'])
                .filter(|d| !d.is_empty())
                .collect();
            text += &format!("search {}\n", domains.join(" "));
        }
        for server in servers.iter().flat_map(|list| list.split([' ', ','])) {
            if !server.is_empty() {
                text += &format!("nameserver {server}\n");
            }
        }
        Some(text)
    }

    /// Where the guest's mount points are, in the order of mounting.
    pub fn mount_points(&self) -> Vec<PathBuf> {
        let points = mounts::points(&self.options).into_iter();
        points
            .filter_map(|(_, value)| props::get(value, "mp", "volume"))
            .map(PathBuf::from)
            .collect()
    }

    /// Mount points whose volumes have to be made.
    pub fn new_volumes(&self) -> Vec<(&str, &str)> {
        let points = mounts::points(&self.options).into_iter();
        points
            .filter(|(_, value)| props::volume(value) == Volume::New)
            .collect()
    }

    /// Volumes that the guest uses and doesn't own.
    pub fn lent(&self) -> Vec<String> {
        let points = mounts::points(&self.options).into_iter();
        points
            .filter_map(|(_, value)| match props::volume(value) {
                Volume::There(volume) => Some(volume.to_owned()),
                _ => None,
            })
            .collect()
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
        let new = self.new_volumes();
        for (key, value) in &self.options {
            if !new.iter().any(|(name, _)| name == key) {
                conf.set(key, value);
            }
        }
        conf
    }

    /// Whether Proxmox makes a network for the guest.
    pub fn has_network(&self) -> bool {
        self.options.keys().any(|name| asked::is_net(name))
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
