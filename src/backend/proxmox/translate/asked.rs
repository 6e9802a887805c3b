//! Options that the settings and annotations ask for, checked against each other and the bundle. It
//! must not look at the host.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxNamespaceType;

use super::wishes::{Wishes, wrong};
use super::{Input, TranslateError, has_new, mounts, said};
use crate::backend::proxmox::options::props::{self, Volume};
use crate::backend::proxmox::options::{self, ANNOTATION, OptionError};
use crate::backend::proxmox::settings::Mode;

/// Options from the settings, and from annotations, which go before them.
pub fn options(input: &Input<'_>) -> Result<BTreeMap<String, String>, TranslateError> {
    let own_net = has_new(input.spec, LinuxNamespaceType::Network);
    let mut options = input.settings.options.clone();
    // A default for all guests is no wish of a container that has a network already, or says
    // something else.
    options
        .retain(|name, value| (own_net || !is_net(name)) && said::by(input, name, value).is_none());
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
        if let Some(json) = said::by(input, name, value) {
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
    for (name, value) in &mut options {
        if is_net(name) {
            manage(name, value)?;
        }
    }
    Ok(options)
}

/// Images have no software that gives an interface its address: Proxmox does it where it is told
/// to, which a network with an address can't do without.
fn manage(name: &str, value: &mut String) -> Result<(), TranslateError> {
    let addressed = ["ip", "ip6"]
        .iter()
        .any(|key| props::get(value, key, "name").is_some_and(|ip| ip != "manual"));
    match (addressed, props::get(value, "host-managed", "name")) {
        (true, Some("0")) => {
            let why = "with `host-managed=0` nothing in the container sets the address";
            Err(wrong(name, why))
        }
        (true, None) => {
            *value += ",host-managed=1";
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A user namespace gets the host's own nodes: it can make none.
pub fn check_nodes(
    input: &Input<'_>,
    options: &BTreeMap<String, String>,
) -> Result<(), TranslateError> {
    if !has_new(input.spec, LinuxNamespaceType::User) {
        return Ok(());
    }
    for (name, value) in options.iter().filter(|(name, _)| said::is_device(name)) {
        let keys = ["mode", "uid", "gid"];
        if let Some(key) = keys
            .iter()
            .find(|key| props::get(value, key, "path").is_some())
        {
            let why = format!(
                "`{key}` has no effect with a user namespace, which gets the host's own node"
            );
            return Err(wrong(name, &why));
        }
    }
    Ok(())
}

/// Only `pct create` makes volumes.
pub fn check_new_volumes(
    wishes: &Wishes,
    options: &BTreeMap<String, String>,
) -> Result<(), TranslateError> {
    let points = mounts::points(options).into_iter();
    let mut new = points.filter(|(_, value)| props::volume(value) == Volume::New);
    match new.next() {
        Some((name, _)) if wishes.mode != Mode::Volume => {
            let why = "a new volume is made in the mode `volume` only: name one that is there";
            Err(wrong(name, why))
        }
        _ => Ok(()),
    }
}

/// `netN`.
pub fn is_net(name: &str) -> bool {
    name.strip_prefix("net")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
