//! What another runtime lacks, from what it says of itself. It must not choose.

use serde_json::Value;

use super::abilities::Abilities;
use super::program::{Runtime, locate};
use super::{DelegateError, Settings};
use crate::route::{Ability, Need};
use crate::state::Root;

/// What the runtime of that name can't do here.
pub fn ability(name: &str, settings: &Settings, root: &Root) -> Ability {
    let asked: Result<Abilities, DelegateError> =
        Runtime::find(name, settings, root).and_then(|runtime| Abilities::of(&runtime, root));
    match asked {
        Ok(asked) if asked.version_line().starts_with("crun") && is_hybrid() => Ability::unusable(
            "it refuses cgroup version 2 beside version 1: unmount `/sys/fs/cgroup/unified`, or boot with `systemd.unified_cgroup_hierarchy=1`",
        ),
        Ok(asked) => lacks(&asked, |program| locate(program.as_ref()).is_some()),
        Err(error) => Ability::unusable(error.to_string()),
    }
}

/// Whether crun calls the host's cgroups hybrid: controllers on version 2 beside version 1. Without
/// controllers there it works ("cgroups in hybrid mode not supported, drop all controllers from
/// cgroupv2").
fn is_hybrid() -> bool {
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
    controllers.is_ok_and(|names| !names.trim().is_empty())
}

/// Members of `features` that say `false`, and what that means.
const SWITCHES: &[(Need, &str)] = &[
    (Need::IdmappedMounts, "/linux/mountExtensions/idmap/enabled"),
    (Need::Seccomp, "/linux/seccomp/enabled"),
    (Need::Apparmor, "/linux/apparmor/enabled"),
    (Need::Selinux, "/linux/selinux/enabled"),
    (Need::IntelRdt, "/linux/intelRdt/enabled"),
    (Need::NetDevices, "/linux/netDevices/enabled"),
    (Need::MemoryPolicy, "/linux/memoryPolicy/enabled"),
];

/// Fields that a runtime too old for them would leave out in silence: without a word in `features`
/// they aren't there. crun's `features` came later than its idmapped mounts.
const SILENT: &[(Need, &str)] = &[
    (Need::IdmappedMounts, "runc"),
    (Need::NetDevices, ""),
    (Need::MemoryPolicy, ""),
];

pub(super) fn lacks(asked: &Abilities, installed: impl Fn(&str) -> bool) -> Ability {
    let version = asked.version_line();
    let mut ability = Ability::default();
    for (need, switch) in SWITCHES {
        let told = asked.features.pointer(switch).and_then(Value::as_bool);
        let silent = || {
            let mut rows = SILENT.iter();
            rows.any(|(silent, prefix)| silent == need && version.starts_with(prefix))
        };
        if told == Some(false) {
            ability = ability.without(*need, format!("`{version}` says so in its features"));
        } else if told.is_none() && silent() {
            ability = ability.without(*need, format!("`{version}` is too old for it"));
        }
    }
    if !asked.has("checkpoint") || !asked.has("restore") {
        ability = ability.without(
            Need::Checkpoint,
            format!("`{version}` was built without it"),
        );
    } else if !installed("criu") && !asked.version.contains("+CRIU") {
        ability = ability.without(Need::Checkpoint, "criu is not installed");
    }
    if !asked.version.contains("+WASM") && !is_sandboxing(version) {
        ability = ability.without(Need::Wasm, format!("`{version}` has no handler for it"));
    }
    platforms(ability, version)
}

/// Documents for other platforms than Linux.
fn platforms(mut ability: Ability, version: &str) -> Ability {
    let rows = [
        (Need::Vm, version.starts_with("kata")),
        (Need::Freebsd, version.starts_with("ocijail")),
        (Need::Windows, false),
        (Need::Solaris, false),
        (Need::Zos, false),
    ];
    for (need, can) in rows {
        if !can {
            ability = ability.without(need, format!("`{version}` is for another platform"));
        }
    }
    ability
}

/// youki and runsc decide about such images themselves.
fn is_sandboxing(version: &str) -> bool {
    ["youki", "runsc", "kata"]
        .iter()
        .any(|name| version.starts_with(name))
}
