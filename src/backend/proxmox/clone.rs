//! Template guests: one for each image and kind of volume, made once on a node and cloned from then
//! on, where the storage makes linked clones. It must not know containers.
//!
//! Who makes, clones or removes one holds a lock below `keep_dir/templates`, and `pct` with it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::cluster::{Cluster, ClusterError};
use super::conf::Conf;
use super::guest::Guest;
use super::pct::Tool;
use super::settings::Settings;
use super::translate::{Marker, Plan};
use super::vmid::{self, VmidError, Wish};
use super::volume::{Work, fixed, lost, open_lock};
use crate::archive::compression::hex;
use crate::state::StateError;
use crate::template::{self, prune::Rules};

/// The tag of every template guest.
pub const TAG: &str = "pxrun-template";

/// Before the line of the description that names the key.
const MARKER: &str = "pxrun template ";

/// Before the line that says what it was made from.
const IMAGE: &str = "image: ";

/// Kinds of storage whose container volumes Proxmox clones without a copy (its plugins' feature
/// `clone` of a base).
const CLONING: [&str; 4] = ["btrfs", "lvmthin", "rbd", "zfspool"];

/// A template that stays while it is cloned.
#[derive(Debug)]
pub struct Shared {
    /// Its number.
    pub vmid: u32,
    _lock: Option<File>,
}

impl Shared {
    /// A template that the user names: it is his to keep.
    pub fn pinned(vmid: u32) -> Shared {
        Shared { vmid, _lock: None }
    }
}

/// A template guest of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its number.
    pub vmid: u32,
    /// What it is the template of.
    pub key: String,
    /// The image, or the digest of its files.
    pub image: String,
    /// Its root's volume.
    pub volume: String,
    /// Whether it is whole.
    pub whole: bool,
    /// When its configuration was written.
    pub written: Option<SystemTime>,
    /// Guests of the cluster that are clones of it.
    pub clones: Vec<u32>,
}

/// What a template is made from.
pub struct Origin<'a> {
    /// The node's settings.
    pub settings: &'a Settings,
    /// The container's guest.
    pub plan: &'a Plan,
    /// The bundle's root.
    pub rootfs: &'a Path,
    /// A place for its archive.
    pub work: &'a Work,
    /// Numbers that it must not take.
    pub avoid: &'a BTreeSet<u32>,
}

/// Finds or makes the template of a container's image.
///
/// # Errors
/// The storage makes no linked clones, the root can't be read, or Proxmox's answer.
pub fn template(origin: &Origin<'_>) -> anyhow::Result<Shared> {
    let Origin { settings, plan, .. } = *origin;
    check_storage(settings, &plan.storage)?;
    let image = match &plan.image {
        Some(image) => image.clone(),
        None => format!("sha256:{}", template::create::digest(origin.rootfs)?),
    };
    let key = key(plan, &image);
    let path = lock_path(settings, &key);
    let dir = path.parent().context("keep_dir is no directory")?;
    std::fs::create_dir_all(dir).with_context(|| format!("make `{}`", dir.display()))?;
    loop {
        let lock = open_lock(&path).with_context(|| format!("open `{}`", path.display()))?;
        lock.lock_shared()?;
        // Whoever removes a template removes its lock: this one may be nobody's any more.
        if !is_at(&lock, &path) {
            continue;
        }
        if let Some(vmid) = find(settings, &key)?.filter(|t| t.whole).map(|t| t.vmid) {
            return Ok(Shared {
                vmid,
                _lock: Some(lock),
            });
        }
        // flock(2) gives a shared lock up before it waits for the exclusive one: others may have
        // made it meanwhile.
        lock.lock()?;
        if !is_at(&lock, &path) {
            continue;
        }
        match find(settings, &key)? {
            Some(there) if there.whole => {}
            Some(half) => finish(settings, half.vmid, &lock)?,
            None => make(origin, &key, &image, &lock)?,
        }
    }
}

/// What two containers must have in common to share a template.
fn key(plan: &Plan, image: &str) -> String {
    let text = format!("{}\0{}\0{image}", plan.storage, plan.size);
    hex(Sha256::new().chain_update(text))
        .chars()
        .take(32)
        .collect()
}

fn lock_path(settings: &Settings, key: &str) -> PathBuf {
    settings.keep_dir.join("templates").join(key)
}

fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

/// `TYPE: NAME` begins a storage in Proxmox's configuration.
fn check_storage(settings: &Settings, name: &str) -> anyhow::Result<()> {
    let path = settings.conf_dir.join("storage.cfg");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
    let kinds = text.lines().filter_map(|line| line.split_once(':'));
    let kind = kinds
        .filter(|(kind, _)| kind.bytes().all(|b| b.is_ascii_lowercase()))
        .find(|(_, at)| at.trim() == name);
    match kind {
        Some((kind, _)) if CLONING.contains(&kind) => Ok(()),
        Some((kind, _)) => anyhow::bail!(
            "storage `{name}` ({kind}) makes no linked clones of containers: use the mode `volume`"
        ),
        None => anyhow::bail!("storage `{name}` is unknown to this node"),
    }
}

fn find(settings: &Settings, key: &str) -> anyhow::Result<Option<Template>> {
    let mut all = all(settings)?;
    // A whole one before what a killed process left.
    all.sort_by_key(|template| !template.whole);
    Ok(all.into_iter().find(|template| template.key == key))
}

/// All template guests of this node.
///
/// # Errors
/// The cluster file system can't be read.
pub fn all(settings: &Settings) -> anyhow::Result<Vec<Template>> {
    let cluster = Cluster::open(settings)?;
    let mut found = Vec::new();
    for (vmid, known) in cluster.guests()? {
        if known.node != cluster.node() || known.kind != "lxc" {
            continue;
        }
        let conf = cluster.read(vmid)?.map(|text| Conf::parse(&text));
        found.extend(conf.and_then(|conf| of_conf(vmid, &conf, &cluster)));
    }
    if found.is_empty() {
        return Ok(found);
    }
    let texts = texts(settings);
    for template in &mut found {
        template.clones = clones(template.vmid, &texts);
    }
    Ok(found)
}

fn of_conf(vmid: u32, conf: &Conf, cluster: &Cluster) -> Option<Template> {
    if !conf.tags().any(|tag| tag == TAG) {
        return None;
    }
    let description = conf.description();
    let said = |prefix| {
        description
            .lines()
            .find_map(|line| line.strip_prefix(prefix))
    };
    let volume = conf.get("rootfs")?.split(',').next()?;
    Some(Template {
        vmid,
        key: said(MARKER)?.to_owned(),
        image: said(IMAGE).unwrap_or_default().to_owned(),
        volume: volume.to_owned(),
        whole: conf.get("template") == Some("1"),
        written: std::fs::metadata(cluster.path(vmid))
            .and_then(|meta| meta.modified())
            .ok(),
        clones: Vec::new(),
    })
}

/// Every container guest of the cluster: number and configuration.
fn texts(settings: &Settings) -> Vec<(u32, String)> {
    let nodes = std::fs::read_dir(settings.conf_dir.join("nodes"));
    let dirs = nodes.into_iter().flatten().flatten();
    let files = dirs.flat_map(|node| {
        let files = std::fs::read_dir(node.path().join("lxc"));
        files.into_iter().flatten().flatten()
    });
    let number = |path: &Path| path.file_stem()?.to_str()?.parse().ok();
    files
        .filter_map(|file| {
            let path = file.path();
            Some((number(&path)?, std::fs::read_to_string(&path).ok()?))
        })
        .collect()
}

/// Guests with a volume whose name says that it is a clone of one of the template's:
/// `basevol-TEMPLATE-disk-0/subvol-GUEST-disk-0`, `base-…/vm-…`.
fn clones(template: u32, texts: &[(u32, String)]) -> Vec<u32> {
    let names = [
        format!(":basevol-{template}-disk-"),
        format!(":base-{template}-disk-"),
    ];
    let is = |text: &str| names.iter().any(|name| text.contains(name));
    let others = texts.iter().filter(|(vmid, _)| *vmid != template);
    others
        .filter(|(_, text)| is(text))
        .map(|(vmid, _)| *vmid)
        .collect()
}

fn make(origin: &Origin<'_>, key: &str, image: &str, lock: &File) -> anyhow::Result<()> {
    let settings = origin.settings;
    remove_broken_off(settings, lock)?;
    let archive = origin.work.archive(origin.rootfs)?;
    let tool = Tool::find("pct", settings.tool_dir.as_deref())?;
    let limit = Duration::from_secs(settings.limit.into());
    let cluster = Cluster::open(settings)?;
    let short: String = key.chars().take(12).collect();
    let wish = Wish::Any(settings.vmids);
    let made = vmid::allocate_with(&cluster, wish, origin.avoid, &mut |vmid| {
        note(lock, &vmid.to_string()).map_err(note_failed)?;
        let mut words = vec!["create".to_owned(), vmid.to_string(), archive.clone()];
        words.extend(fixed(origin.plan, TAG));
        words.extend([
            "--hostname".to_owned(),
            format!("template-{short}"),
            "--description".to_owned(),
            format!("{IMAGE}{image}\n{MARKER}{key}"),
        ]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        tool.call_holding(&words, limit, lock)
            .map(drop)
            .map_err(|error| lost(&cluster, vmid).unwrap_or(error.into()))
    });
    if made.is_err() {
        remove_broken_off(settings, lock)?;
    }
    finish(settings, made.context("make the template guest")?, lock)
}

/// The lock's file says which number is being made, for whoever comes after a crash.
fn note(mut lock: &File, text: &str) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.write_all(text.as_bytes())
}

fn note_failed(source: std::io::Error) -> VmidError {
    VmidError::State(StateError::Io {
        what: "write",
        path: "keep_dir/templates".into(),
        source,
    })
}

/// Removes the guest that a killed `pct create` has left without a name.
fn remove_broken_off(settings: &Settings, mut lock: &File) -> anyhow::Result<()> {
    let mut text = String::new();
    lock.seek(SeekFrom::Start(0))?;
    lock.read_to_string(&mut text)?;
    if let Ok(vmid) = text.trim().parse() {
        let marker = Marker {
            id: TAG.to_owned(),
            root: settings.keep_dir.clone(),
        };
        let cluster = Cluster::open(settings)?;
        Guest::new(settings, &marker, vmid, cluster.node()).remove_half_made()?;
    }
    Ok(note(lock, "")?)
}

/// The guest's volume becomes one that can be cloned, and never runs.
fn finish(settings: &Settings, vmid: u32, lock: &File) -> anyhow::Result<()> {
    let tool = Tool::find("pct", settings.tool_dir.as_deref())?;
    let limit = Duration::from_secs(settings.limit.into());
    tool.call_holding(&["template", &vmid.to_string()], limit, lock)
        .context("make the template guest")?;
    tracing::debug!("guest {vmid} is a template");
    Ok(())
}

/// All template guests; none where there is no node.
///
/// # Errors
/// The cluster file system is there and can't be read.
pub fn list(settings: &Settings) -> anyhow::Result<Vec<Template>> {
    match Cluster::open(settings) {
        Err(ClusterError::Absent(_)) => Ok(Vec::new()),
        _ => all(settings),
    }
}

impl Template {
    /// Why the rules want it gone. A clone keeps it, whatever they say.
    pub fn doomed(&self, rules: Rules, now: SystemTime) -> Option<&'static str> {
        let age = self.written.and_then(|at| now.duration_since(at).ok());
        let old = rules
            .older_than
            .is_some_and(|limit| age.is_some_and(|age| age > limit));
        match self {
            template if !template.clones.is_empty() => None,
            template if rules.dangling && !template.whole => Some("left by work that broke off"),
            _ if old => Some("old"),
            _ if rules.unused => Some("unused"),
            _ => None,
        }
    }
}

/// Removes a template guest unless a clone needs it or it is being cloned; whether it is gone.
///
/// # Errors
/// Proxmox's answer.
pub fn remove(settings: &Settings, template: &Template) -> anyhow::Result<bool> {
    let path = lock_path(settings, &template.key);
    let lock = open_lock(&path).with_context(|| format!("open `{}`", path.display()))?;
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    // Looked at again: the list was made without the lock.
    let found = all(settings)?;
    let Some(there) = found.iter().find(|other| other.vmid == template.vmid) else {
        return Ok(true);
    };
    if there.key != template.key || !there.clones.is_empty() {
        return Ok(false);
    }
    let tool = Tool::find("pct", settings.tool_dir.as_deref())?;
    let limit = Duration::from_secs(settings.limit.into());
    let number = template.vmid.to_string();
    tool.call_holding(&["destroy", &number, "--purge", "1"], limit, &lock)?;
    let _ = std::fs::remove_file(&path);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_told_by_their_volumes() {
        let texts = [
            (
                100,
                "rootfs: tank:basevol-90-disk-0/subvol-100-disk-0,size=1G\n",
            ),
            (101, "rootfs: tank:basevol-901-disk-0/subvol-101-disk-0\n"),
            (102, "rootfs: thin:base-90-disk-0/vm-102-disk-0\n"),
            (90, "rootfs: tank:basevol-90-disk-0\n"),
        ];
        let texts = texts.map(|(vmid, text)| (vmid, text.to_owned()));
        assert_eq!(clones(90, &texts), [100, 102]);
        assert!(clones(9, &texts).is_empty());
    }
}
