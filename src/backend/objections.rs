//! What a backend's own translation says of a bundle, before anything is made: the same code that
//! `create` goes through. It must not change anything, nor run a program.

use std::path::Path;

use libcgroups::common::{CgroupSetup, get_cgroup_setup};
use serde_json::Value;

use super::{Settings, delegate, embedded, jail, lxc, proxmox};
use crate::cgroup::Cgroup;
use crate::host;
use crate::process;
use crate::rootfs;
use crate::seccomp;
use crate::spec::Validated;
use crate::state::Root;

/// The id that a bundle is tried with: none of the rules depends on it.
const ID: &str = "bundle";

/// A field, and why the backend refuses it.
pub type Objection = (String, String);

/// What the backend of that name refuses of the bundle in `dir`; the first thing of each of its
/// parts.
pub fn objections(
    name: &str,
    settings: &Settings,
    root: &Root,
    spec: &Validated,
    dir: &Path,
) -> Vec<Objection> {
    let own = || on_this_kernel(spec, dir, root);
    let parts = match name {
        embedded::NAME => vec![own()],
        lxc::NAME => vec![in_lxc(spec), own()],
        proxmox::NAME => vec![as_guest(spec, dir, settings, root), in_lxc(spec), own()],
        "jail" => vec![errors(jail::life::Plan::new(
            ID,
            spec.raw(),
            dir,
            Path::new("/"),
        ))],
        other => return delegated(other, settings, root, spec.raw()),
    };
    let mut all: Vec<Objection> = parts.iter().flatten().map(split).collect();
    all.dedup();
    all
}

fn errors<T, E: Into<anyhow::Error>>(outcome: Result<T, E>) -> Vec<anyhow::Error> {
    outcome.err().map(Into::into).into_iter().collect()
}

/// Errors of translations begin with the place in the document.
fn split(error: &anyhow::Error) -> Objection {
    let text = format!("{error:#}");
    match text.split_once(": ") {
        Some((field, why)) if !field.contains([' ', '`']) => (field.to_owned(), why.to_owned()),
        _ => ("config.json".to_owned(), text),
    }
}

/// Mounts, process, filter and cgroup: what every backend of this kernel builds alike.
fn on_this_kernel(spec: &Validated, dir: &Path, root: &Root) -> Vec<anyhow::Error> {
    let oci = spec.spec();
    let linux = oci.linux().as_ref();
    let setup = get_cgroup_setup().unwrap_or(CgroupSetup::Unified);
    let facts = rootfs::Facts::new(oci, &setup, host::facts().selinux);
    let mut all = errors(rootfs::Plan::new(oci, dir, &facts));
    if let Some(own) = oci.process() {
        let raw = spec.raw().get("process").unwrap_or(&Value::Null);
        all.extend(errors(process::Setup::new(
            own,
            raw,
            linux,
            process::Options {
                init: true,
                id: ID.into(),
                ..process::Options::default()
            },
        )));
    }
    if let Some(filter) = linux.and_then(|linux| linux.seccomp().as_ref()) {
        all.extend(errors(seccomp::Program::compile(filter)));
    }
    all.extend(errors(cgroup(spec, root)));
    all
}

fn cgroup(spec: &Validated, root: &Root) -> Result<Cgroup, crate::cgroup::CgroupError> {
    let linux = spec.spec().linux().as_ref();
    let wanted = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let rootless = !nix::unistd::geteuid().is_root();
    Cgroup::plan(wanted, ID, root.path(), false, rootless)
}

fn in_lxc(spec: &Validated) -> Vec<anyhow::Error> {
    let facts = lxc::translate::Facts {
        root: None,
        hook: &[],
        init: &[],
        joined: &[],
        cgroups: None,
        log: None,
    };
    errors(lxc::translate::translate(spec.spec(), &facts))
}

fn as_guest(spec: &Validated, dir: &Path, settings: &Settings, root: &Root) -> Vec<anyhow::Error> {
    let host = match cgroup(spec, root) {
        Ok(cgroup) => proxmox::host::facts(&cgroup),
        Err(error) => return vec![error.into()],
    };
    errors(proxmox::translate::Plan::new(&proxmox::translate::Input {
        id: ID,
        root: root.path(),
        bundle: dir,
        spec: spec.spec(),
        settings: &settings.proxmox,
        host,
    }))
}

/// What another runtime is known to refuse: only its version, which it tells itself.
fn delegated(name: &str, settings: &Settings, root: &Root, raw: &Value) -> Vec<Objection> {
    let own = settings.delegates.get(name).cloned().unwrap_or_default();
    let asked = delegate::Runtime::find(name, &own, root)
        .and_then(|runtime| Ok((delegate::Abilities::of(&runtime, root)?, runtime)));
    let Ok((asked, runtime)) = asked else {
        // Told as the reason why it can't be used at all.
        return Vec::new();
    };
    if runtime.is_ocijail() {
        let translated = jail::ocijail::translated(raw);
        return translated
            .err()
            .map(|error| (error.field, error.what))
            .into_iter()
            .collect();
    }
    delegate::document::too_new(raw, &asked)
        .map(|(field, why)| (field.to_owned(), why))
        .into_iter()
        .collect()
}
