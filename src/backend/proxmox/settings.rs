//! What the configuration file says of the node, as `[backend.proxmox]`, with the defaults of a
//! plain Proxmox installation. It must not look at the host.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::options;

/// Where a guest's root file system is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The bundle's own directory; nothing is copied.
    #[default]
    ZeroCopy,
    /// A volume of the guest, filled from the bundle.
    Volume,
    /// A linked clone of a template made once for each root file system.
    Clone,
}

/// Below which cgroup a guest runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tree {
    /// The caller's path for Kubernetes pods, Proxmox's for all else.
    #[default]
    Auto,
    /// `lxc/VMID`, where Proxmox looks for its numbers.
    Proxmox,
    /// `linux.cgroupsPath`.
    Caller,
}

/// The numbers that pxrun gives to guests, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
}

/// Smallest and largest number that Proxmox gives (`pve-vmid`).
const VMIDS: std::ops::RangeInclusive<u32> = 100..=999_999_999;

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Range, String> {
        let bad = || format!("`{text}` is no range of VMIDs such as `90000-99999`");
        let (first, last) = text.split_once('-').ok_or_else(bad)?;
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| bad());
        let (first, last) = (number(first)?, number(last)?);
        match first <= last && VMIDS.contains(&first) && VMIDS.contains(&last) {
            true => Ok(Range { first, last }),
            false => Err(bad()),
        }
    }
}

impl From<Range> for String {
    fn from(range: Range) -> String {
        format!("{}-{}", range.first, range.last)
    }
}

impl Range {
    /// Whether the number is one of them.
    pub fn contains(self, vmid: u32) -> bool {
        (self.first..=self.last).contains(&vmid)
    }
}

/// `[backend.proxmox]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The numbers for pxrun's guests.
    pub vmids: Range,
    /// How root file systems get to guests.
    pub mode: Mode,
    /// The storage for volumes and templates.
    pub storage: String,
    /// Size of a new volume in GiB; 0 makes a directory without a limit, where the storage can.
    pub size: u32,
    /// Tags of every guest, beside `pxrun`, by which guests are found again.
    pub tags: Vec<String>,
    /// `pct` options of every guest, such as `net0`; annotations go before them.
    #[serde(deserialize_with = "checked_options")]
    pub options: BTreeMap<String, String>,
    /// The cgroup of guests.
    pub cgroup: Tree,
    /// How long a locked guest is waited for, in seconds.
    pub patience: u32,
    /// How long one call of a tool may take, in seconds.
    pub limit: u32,
    /// This node's name; without it what the cluster file system says.
    pub node: Option<String>,
    /// The cluster file system.
    pub conf_dir: PathBuf,
    /// Where Proxmox keeps the locks on guests' configurations.
    pub lock_dir: PathBuf,
    /// Where guests' generated configurations are.
    pub lxc_dir: PathBuf,
    /// Where the tools are, if not where Proxmox installs them.
    pub tool_dir: Option<PathBuf>,
    /// Where the files are that guests include: they outlive a reboot.
    pub keep_dir: PathBuf,
    /// A process in whose mount namespace guests are started.
    pub host_pid: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            vmids: Range {
                first: 90_000,
                last: 99_999,
            },
            mode: Mode::ZeroCopy,
            storage: "local".to_owned(),
            size: 8,
            tags: Vec::new(),
            options: BTreeMap::new(),
            cgroup: Tree::Auto,
            patience: 10,
            limit: 120,
            node: None,
            conf_dir: "/etc/pve".into(),
            lock_dir: "/run/lock/lxc".into(),
            lxc_dir: "/var/lib/lxc".into(),
            tool_dir: None,
            keep_dir: "/var/lib/pxrun".into(),
            host_pid: 1,
        }
    }
}

/// A mistake in the file is told when the file is read, not when a container is made.
fn checked_options<'de, D>(from: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let found = BTreeMap::<String, String>::deserialize(from)?;
    for (name, value) in &found {
        options::check(name, value).map_err(serde::de::Error::custom)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_table_is_the_default() {
        assert_eq!(read("{}").unwrap(), Settings::default());
        let shown = serde_json::to_string(&Settings::default()).unwrap();
        assert_eq!(read(&shown).unwrap(), Settings::default());
    }

    #[test]
    fn mistakes_are_told() {
        for (json, word) in [
            (r#"{"vmid":"1-2"}"#, "unknown field"),
            (r#"{"vmids":"1-2"}"#, "no range of VMIDs"),
            (r#"{"vmids":"300-200"}"#, "no range of VMIDs"),
            (r#"{"vmids":"100"}"#, "no range of VMIDs"),
            (r#"{"mode":"copy"}"#, "unknown variant"),
            (r#"{"options":{"net0":"bridge"}}"#, "net0"),
            (r#"{"options":{"rootfs":"/x"}}"#, "rootfs"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn a_range_holds_both_its_ends() {
        let settings = read(r#"{"vmids":"100-101","mode":"zero-copy","cgroup":"caller"}"#);
        let range = settings.unwrap().vmids;
        assert_eq!(
            [99, 100, 101, 102].map(|vmid| range.contains(vmid)),
            [false, true, true, false]
        );
    }
}
