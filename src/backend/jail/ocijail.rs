//! A bundle as ocijail understands it: it ignores the `freebsd` section and refuses version 1.3, so
//! that the section goes into its annotations and the version is lowered, in a copy. Pure.

use serde_json::{Value, json};

use super::JailError;
use super::section::Section;

/// Newest version that ocijail takes.
const VERSION: &str = "1.2.0";

/// The document for ocijail.
///
/// # Errors
/// The section asks for what ocijail has no annotation for.
pub fn translated(config: &Value) -> Result<Value, JailError> {
    let section = Section::read(config)?;
    let jail = &section.jail;
    let refuse = |field: &str| {
        let what = "ocijail can't do it: use the backend `jail`";
        Err(JailError::new(format!("freebsd.{field}"), what))
    };
    if !section.devices.is_empty() {
        return refuse("devices");
    }
    for (field, given) in [
        ("jail.interface", jail.interface.is_some()),
        ("jail.vnetInterfaces", !jail.vnet_interfaces.is_empty()),
        (
            "jail.enforceStatfs",
            !matches!(jail.enforce_statfs, None | Some(1)),
        ),
        ("jail.ip4", matches!(jail.ip4, Some("disable"))),
        ("jail.ip6", matches!(jail.ip6, Some("disable"))),
    ] {
        if given {
            return refuse(field);
        }
    }
    let mut copy = config.clone();
    let mut add = |name: String, value: String| copy["annotations"][name] = json!(value);
    if let Some(parent) = &jail.parent {
        add("org.freebsd.parentJail".to_owned(), parent.clone());
    }
    let own = |name: &str| format!("org.freebsd.jail.{name}");
    if let Some(vnet) = jail.vnet {
        add(own("vnet"), vnet.to_owned());
    }
    for (name, list) in [("ip4.addr", &jail.ip4_addr), ("ip6.addr", &jail.ip6_addr)] {
        if !list.is_empty() {
            add(own(name), list.join(","));
        }
    }
    for (name, word) in &jail.sysv {
        add(own(name), (*word).to_owned());
    }
    for (name, on) in &jail.allow {
        add(own(&format!("allow.{name}")), on.to_string());
    }
    if let Some(map) = copy.as_object_mut() {
        map.remove("freebsd");
        map.insert("ociVersion".to_owned(), json!(VERSION));
    }
    Ok(copy)
}
