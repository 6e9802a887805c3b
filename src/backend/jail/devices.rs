//! From `freebsd.devices` and the `rule=` options of devfs mounts to rules of devfs(8). Pure.

use serde_json::Value;

use super::JailError;
use super::read::Object;
use super::section::Device;

/// The rules of one devfs mount, in the order in which they are applied: everything hidden first,
/// so that a device is seen because something says so.
pub fn rules(devices: &[Device], options: &[String]) -> Vec<Vec<String>> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    if devices.is_empty() && !options.iter().any(|option| option.starts_with("rule=")) {
        return Vec::new();
    }
    let mut all: Vec<Vec<String>> = vec![words("hide")];
    // What every program expects: FreeBSD's own devfsrules_unhide_basic and _login.
    for path in [
        "null", "zero", "random", "urandom", "full", "fd", "fd/*", "stdin", "stdout", "stderr",
        "ptmx", "pts", "pts/*", "tty",
    ] {
        all.push(words(&format!("path {path} unhide")));
    }
    let rules = options
        .iter()
        .filter_map(|option| option.strip_prefix("rule="));
    all.extend(rules.map(words));
    for device in devices {
        let mode = device.mode.map(|mode| format!(" mode {mode:o}"));
        all.push(words(&format!(
            "path {} unhide{}",
            device.path,
            mode.unwrap_or_default()
        )));
    }
    all
}

/// The options of the mounts of devfs, by their index.
///
/// # Errors
/// `mounts` isn't as it should be.
pub fn devfs_options(config: &Value) -> Result<Vec<(usize, Vec<String>)>, JailError> {
    let mut all = Vec::new();
    for (i, mount) in Object::root(config)?.objects("mounts")?.iter().enumerate() {
        if mount.text("type")?.as_deref() == Some("devfs") {
            all.push((i, mount.texts("options")?));
        }
    }
    Ok(all)
}
