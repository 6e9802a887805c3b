//! `create` on a Proxmox node: the guest is planned, gets its number, and is then built by the LXC
//! engine while Proxmox starts it. Must not know LXC's keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use oci_spec::runtime::{LinuxResources, Spec};

use super::guest::Guest;
use super::kept::Kept;
use super::launch::Node;
use super::settings::{Mode, Settings, Tree};
use super::translate::{Input, Marker, Plan, shown_limits};
use super::{NAME, host};
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
    if plan.mode != Mode::ZeroCopy {
        anyhow::bail!("annotations[dev.pxrun.proxmox.mode]: this version knows `zero-copy` only");
    }
    let marker = Marker {
        id: record.id.clone(),
        root,
    };
    let guest = define(dir, record, &settings, &plan, marker)?;
    record.cgroup = cgroup(record, spec.spec(), &settings, guest.vmid)?;
    dir.save(record)?;
    tracing::debug!("container `{}` is guest {}", record.id, guest.vmid);

    let node = Node::new(plan, guest);
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
) -> anyhow::Result<Guest> {
    let claiming = Kept::Claiming {
        id: marker.id.clone(),
        root: marker.root.clone(),
        settings: Box::new(settings.clone()),
    };
    claiming.keep_in(record);
    dir.save(record)?;
    let recorded = recorded(&marker.root, &record.id);
    let guest = Guest::define(settings, &marker, plan.wish, &recorded, &plan.placeholder())?;
    let kept = Kept::Guest {
        guest: Box::new(guest.clone()),
    };
    kept.keep_in(record);
    dir.save(record)?;
    Ok(guest)
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
