//! Guests that own their root: `pct create` fills a new volume from an archive of the bundle's root,
//! or `pct clone` makes a linked clone of a template guest. It must not know what runs in them.
//!
//! The archive lies in a directory below `keep_dir/making`, with a lock that `pct` holds too: whoever
//! removes a half-made guest waits until nobody makes it any more.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::clone::{self, Origin, Shared};
use super::cluster::Cluster;
use super::conf::Conf;
use super::guest::Guest;
use super::kept::Kept;
use super::pct::Tool;
use super::settings::{Mode, Settings};
use super::translate::{Marker, Plan};
use super::vmid::{self, VmidError, Wish};
use crate::state::{ContainerDir, Record};
use crate::template::create::Sum;
use crate::{staging, template};

/// The archive is read once, from a page cache: more than this costs more time than it saves.
const LEVEL: i32 = 1;

/// How often a lock is tried that somebody holds.
const PAUSE: Duration = Duration::from_millis(50);

/// What is needed while a guest is made; gone with the value.
#[derive(Debug)]
pub struct Work {
    dir: PathBuf,
    /// Locked.
    pub lock: File,
}

impl Work {
    /// Makes the directory `dir`, which mustn't be there.
    pub fn begin(dir: &Path) -> anyhow::Result<Work> {
        let failed = || format!("make `{}`", dir.display());
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        let above = dir.parent().unwrap_or(dir);
        builder.recursive(true).create(above).with_context(failed)?;
        builder.recursive(false).create(dir).with_context(failed)?;
        let lock = open_lock(&lock_of(dir)).with_context(failed)?;
        lock.lock().with_context(failed)?;
        Ok(Work {
            dir: dir.to_owned(),
            lock,
        })
    }

    /// An archive of `rootfs` in it, in the form of Proxmox's templates.
    pub fn archive(&self, rootfs: &Path) -> anyhow::Result<String> {
        let path = self.dir.join("root.tar.zst");
        let mut options = OpenOptions::new();
        let out = options.write(true).create_new(true).mode(0o600).open(&path);
        let out = out.with_context(|| format!("write `{}`", path.display()))?;
        let (_, packed) =
            template::create::compress(rootfs, None, &out, LEVEL, Sum::None, &|_| false)
                .context("pack the root file system")?;
        if packed.sockets > 0 {
            tracing::warn!(
                "left out {} sockets of the root file system",
                packed.sockets
            );
        }
        let text = path.into_os_string().into_string();
        text.map_err(|path| anyhow::anyhow!("keep_dir: `{}` is not UTF-8", path.display()))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = staging::remove(&self.dir) {
            tracing::warn!("remove `{}`: {error}", self.dir.display());
        }
    }
}

fn lock_of(dir: &Path) -> PathBuf {
    dir.join("lock")
}

/// An empty file for flock(2).
pub fn open_lock(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options.custom_flags(nix::libc::O_NOFOLLOW).open(path)
}

/// What the volume of a new guest comes from.
enum Source {
    Archive(String),
    Template(Shared),
}

/// A guest that Proxmox has made.
pub struct Made {
    /// It.
    pub guest: Guest,
    /// Its volumes: options and their values, as Proxmox wrote them.
    pub volumes: Vec<(String, String)>,
    /// The directory that its root is a copy of.
    pub like: Option<PathBuf>,
}

/// Makes the guest with its volumes. The record says what goes on before it does.
///
/// # Errors
/// The root can't be packed, no number is free, or Proxmox's answer.
pub fn make(
    dir: &ContainerDir,
    record: &mut Record,
    settings: &Settings,
    plan: &Plan,
    marker: &Marker,
    recorded: &BTreeSet<u32>,
) -> anyhow::Result<Made> {
    let cluster = Cluster::open(settings)?;
    let name = crate::backend::lxc::place::new_name(&record.id)?;
    let path = settings.keep_dir.join("making").join(name);
    let claiming = Kept::Claiming {
        id: marker.id.clone(),
        root: marker.root.clone(),
        settings: Box::new(settings.clone()),
        work: Some(path.clone()),
    };
    claiming.keep_in(record);
    dir.save(record)?;
    let rootfs = record.rootfs.clone();
    let mut keep = |vmid| {
        let mut guest = Guest::new(settings, marker, vmid, cluster.node());
        guest.lent = plan.lent();
        let kept = Kept::Making {
            guest: Box::new(guest.clone()),
            work: path.clone(),
        };
        kept.keep_in(record);
        dir.save(record)?;
        Ok::<Guest, VmidError>(guest)
    };
    let work = Work::begin(&path)?;
    let mut avoid = recorded.clone();
    if let Wish::This(vmid) = plan.wish {
        avoid.insert(vmid);
    }
    let (source, like) = source(&Origin {
        settings,
        plan,
        rootfs: &rootfs,
        work: &work,
        avoid: &avoid,
    })?;
    let tool = Tool::find("pct", settings.tool_dir.as_deref())?;
    let limit = Duration::from_secs(settings.limit.into());
    let mut guest = None;
    vmid::allocate_with(&cluster, plan.wish, recorded, &mut |vmid| {
        guest = Some(keep(vmid)?);
        let words = words(plan, &source, vmid);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        tool.call_holding(&words, limit, &work.lock)
            .map(drop)
            .map_err(|error| lost(&cluster, vmid).unwrap_or(error.into()))
    })?;
    let guest = guest.context("no guest was made")?;
    let conf = guest.take_over(plan.options.get("tags").map_or("", String::as_str))?;
    let kept = Kept::Guest {
        guest: Box::new(guest.clone()),
    };
    kept.keep_in(record);
    dir.save(record)?;
    Ok(Made {
        volumes: volumes(&conf),
        guest,
        like,
    })
}

/// Between pct's look at the number and its writing, another node can have made a guest: whatever
/// pct says then.
pub fn lost(cluster: &Cluster, vmid: u32) -> Option<VmidError> {
    let known = cluster.guests().ok()?.remove(&vmid)?;
    let others = known.node != cluster.node() || known.kind != "lxc";
    others.then_some(VmidError::Lost(vmid))
}

fn source(origin: &Origin<'_>) -> anyhow::Result<(Source, Option<PathBuf>)> {
    let like = Some(origin.rootfs.to_owned());
    Ok(match (origin.plan.mode, origin.plan.template) {
        (Mode::Clone, Some(vmid)) => (Source::Template(Shared::pinned(vmid)), None),
        (Mode::Clone, None) => {
            let shared = clone::template(origin)?;
            (Source::Template(shared), like)
        }
        _ => (Source::Archive(origin.work.archive(origin.rootfs)?), like),
    })
}

/// The call that makes the guest. What else its configuration says, pxrun writes afterwards: some
/// of it no call can say. Ids on disk are those of the bundle's root: no mapping is pct's here.
fn words(plan: &Plan, source: &Source, vmid: u32) -> Vec<String> {
    let vmid = vmid.to_string();
    let hostname = plan.options.get("hostname").map_or("", String::as_str);
    let mut words = match source {
        Source::Template(shared) => vec!["clone".to_owned(), shared.vmid.to_string(), vmid],
        Source::Archive(archive) => {
            let mut words = vec!["create".to_owned(), vmid, archive.clone()];
            words.extend(created(plan));
            words
        }
    };
    for (name, value) in [
        ("--hostname", hostname),
        ("--description", &plan.description),
    ] {
        words.extend([name.to_owned(), value.to_owned()]);
    }
    words
}

/// Options of `pct create` alone.
fn created(plan: &Plan) -> Vec<String> {
    let mut words = fixed(plan, plan.options.get("tags").map_or("", String::as_str));
    for (option, value) in plan.new_volumes() {
        words.extend([format!("--{option}"), value.to_owned()]);
    }
    words
}

/// Options of every guest that is made from an archive.
pub fn fixed(plan: &Plan, tags: &str) -> Vec<String> {
    let root = format!("{}:{}", plan.storage, plan.size);
    let arch = plan.options.get("arch").map_or("amd64", String::as_str);
    [
        ("--rootfs", root.as_str()),
        ("--ostype", "unmanaged"),
        ("--arch", arch),
        ("--unprivileged", "0"),
        ("--tags", tags),
    ]
    .iter()
    .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
    .collect()
}

/// The volumes in a guest's configuration.
fn volumes(conf: &Conf) -> Vec<(String, String)> {
    let names = std::iter::once("rootfs".to_owned()).chain((0..256).map(|n| format!("mp{n}")));
    names
        .filter_map(|name| Some((name.clone(), conf.get(&name)?.to_owned())))
        .collect()
}

/// Takes back a guest that was being made.
///
/// # Errors
/// `pct` still makes it, or it can't be removed.
pub fn abandon(guest: &Guest, work: &Path) -> anyhow::Result<()> {
    await_end(work, Duration::from_secs(guest.settings.limit.into()))
        .with_context(|| format!("guest {} is still being made", guest.vmid))?;
    remove_work(work)?;
    Ok(guest.remove_half_made()?)
}

/// Removes what was needed only while a guest was made.
///
/// # Errors
/// From the file system.
pub fn remove_work(work: &Path) -> anyhow::Result<()> {
    staging::remove(work).with_context(|| format!("remove `{}`", work.display()))
}

fn await_end(work: &Path, limit: Duration) -> std::io::Result<()> {
    let file = match File::open(lock_of(work)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let end = Instant::now() + limit;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
