//! `create` on a Proxmox node: the guest is planned, gets its number, and is then built by the LXC
//! engine while Proxmox starts it. Must not know LXC's keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use oci_spec::runtime::{LinuxResources, Spec};

use super::cluster::Cluster;
use super::guest::Guest;
use super::kept::Kept;
use super::launch::Node;
use super::options::ANNOTATION;
use super::settings::{Mode, Settings, Tree};
use super::translate::amend::amend;
use super::translate::{Input, Marker, Plan, shown_limits};
use super::volume::{self, Made};
use super::{NAME, host, pool};
use crate::backend::lxc::{Engine, own::Own};
use crate::backend::{CreateOptions, Creation, linux};
use crate::cgroup::Cgroup;
use crate::spec::Validated;
use crate::state::{ContainerDir, Record, Root};

pub fn create(
    dir: &ContainerDir,
    record: &mut Record,
    spec: &Validated,
    options: CreateOptions,
) -> anyhow::Result<Box<dyn Creation>> {
    let settings = options.settings.proxmox.clone();
    let root = dir.path().parent().unwrap_or(Path::new("/")).to_owned();
    // Whatever the bundle or an annotation has wrong is said before a number is taken.
    let plan = plan(record, spec.spec(), &settings, &root)?;
    check_pool(&settings, &plan)?;
    let amended = amended(dir, spec, &plan)?;
    let spec = amended.as_ref().unwrap_or(spec);
    let marker = Marker {
        id: record.id.clone(),
        root,
    };
    let recorded = recorded(&marker.root, &record.id);
    let made = match plan.mode {
        Mode::ZeroCopy => define(dir, record, &settings, &plan, marker, &recorded)?,
        Mode::Volume | Mode::Clone => {
            volume::make(dir, record, &settings, &plan, &marker, &recorded)?
        }
    };
    let vmid = made.guest.vmid;
    record.cgroup = cgroup(record, spec.spec(), &settings, vmid)?;
    dir.save(record)?;
    if let Some(pool) = &plan.pool {
        let patience = Duration::from_secs(settings.patience.into());
        pool::add(&Cluster::open(&settings)?, pool, vmid, patience)?;
    }
    tracing::debug!("container `{}` is guest {vmid}", record.id);

    let node = Node::new(plan, made);
    let built = Engine { launcher: &node }.create(dir, record, spec, options);
    if built.is_err() {
        // `pct start` waits for a container that nobody builds any more.
        end(record);
    }
    let started = node.finish();
    let built = built?;
    started.context("start the guest")?;
    Ok(built)
}

fn check_pool(settings: &Settings, plan: &Plan) -> anyhow::Result<()> {
    let Some(pool) = &plan.pool else {
        return Ok(());
    };
    pool::check(&Cluster::open(settings)?, pool)
        .with_context(|| format!("annotations[{ANNOTATION}pool]"))
}

/// The configuration with the guest's options in it, where they change it.
fn amended(dir: &ContainerDir, spec: &Validated, plan: &Plan) -> anyhow::Result<Option<Validated>> {
    let mut looked = host::look(plan)?;
    if let Some(text) = plan.resolv_conf() {
        let path = dir.path().join("resolv.conf");
        crate::state::write_atomically(&path, text.as_bytes(), 0o644)
            .with_context(|| format!("write `{}`", path.display()))?;
        looked.resolv_conf = Some(path);
    }
    match amend(spec.raw(), plan, &looked) {
        Some(raw) => Ok(Some(Validated::new(raw, &crate::host::facts())?)),
        None => Ok(None),
    }
}

/// Ends what runs of a container that failed; the rollback removes it.
fn end(record: &Record) {
    let killed = record.cgroup.kill_all(nix::libc::SIGKILL);
    let ended = Own::of(record).live_init().map_or(Ok(()), linux::end);
    tracing::debug!("end the failed container: {killed:?}, {ended:?}");
}

fn plan(record: &Record, spec: &Spec, settings: &Settings, root: &Path) -> anyhow::Result<Plan> {
    Ok(Plan::new(&Input {
        id: &record.id,
        root,
        bundle: &record.bundle,
        spec,
        settings,
        host: host::facts(&record.cgroup),
    })?)
}

/// Takes a number and writes the guest under Proxmox's own lock entry, as `pct create` does, until
/// everything is known about it. The record says what goes on before it does.
fn define(
    dir: &ContainerDir,
    record: &mut Record,
    settings: &Settings,
    plan: &Plan,
    marker: Marker,
    recorded: &BTreeSet<u32>,
) -> anyhow::Result<Made> {
    let claiming = Kept::Claiming {
        id: marker.id.clone(),
        root: marker.root.clone(),
        settings: Box::new(settings.clone()),
        work: None,
    };
    claiming.keep_in(record);
    dir.save(record)?;
    let mut guest = Guest::define(settings, &marker, plan.wish, recorded, &plan.placeholder())?;
    guest.lent = plan.lent();
    let kept = Kept::Guest {
        guest: Box::new(guest.clone()),
    };
    kept.keep_in(record);
    dir.save(record)?;
    Ok(Made {
        guest,
        volumes: Vec::new(),
        like: None,
    })
}

/// Numbers that records of other containers have, even where their guest is gone.
fn recorded(root: &Path, id: &str) -> BTreeSet<u32> {
    let all = Root::new(root.to_owned()).all().unwrap_or_default();
    let others = all.iter().filter(|dir| dir.id() != id);
    let records = others.filter_map(|dir| dir.load().ok());
    records
        .filter(|record| record.backend == NAME)
        .filter_map(|record| Kept::of(&record)?.vmid())
        .collect()
}

/// Proxmox looks for a guest's numbers below `lxc/VMID`, the kubelet for those of a pod where it
/// said.
fn cgroup(record: &Record, spec: &Spec, settings: &Settings, vmid: u32) -> anyhow::Result<Cgroup> {
    let path = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.cgroups_path().as_deref());
    let pod = path.is_some_and(|path| path.to_string_lossy().contains("kubepods"));
    let callers = match settings.cgroup {
        Tree::Auto => pod,
        Tree::Caller => path.is_some(),
        Tree::Proxmox => false,
    };
    if callers || record.cgroup.path().is_none() {
        return Ok(record.cgroup.clone());
    }
    let path = PathBuf::from(format!("/lxc/{vmid}"));
    Ok(Cgroup::plan(
        Some(&path),
        &record.id,
        Path::new("/"),
        false,
        false,
    )?)
}

/// Writes new limits where Proxmox shows them.
pub fn show_limits(record: &Record, resources: &LinuxResources) -> anyhow::Result<()> {
    let Some(Kept::Guest { guest }) = Kept::of(record) else {
        return Ok(());
    };
    let changes = shown_limits(resources, host::facts(&record.cgroup));
    guest.edit(|conf| {
        for (option, value) in &changes {
            conf.set(option, value);
        }
    })?;
    Ok(())
}
