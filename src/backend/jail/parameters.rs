//! From a bundle to the parameters of jail(8). Pure.

use std::path::Path;

use serde_json::Value;

use super::JailError;
use super::read::Object;
use super::section::{Jail, Section};

/// The jail's name: the container's id below its parent's.
///
/// # Errors
/// jail(8) reads dots as levels, and a number as another jail's number.
pub fn name(id: &str, parent: Option<&str>) -> Result<String, JailError> {
    let number = id.bytes().all(|b| b.is_ascii_digit());
    if id.is_empty() || id.contains('.') || number || id.starts_with('-') {
        let what = format!("`{id}`: a jail's name holds no dots and is no number");
        return Err(JailError::new("id", what));
    }
    Ok(match parent {
        Some(parent) => format!("{parent}.{id}"),
        None => id.to_owned(),
    })
}

/// All parameters for `jail -c`, in a fixed order. `path` is where the root will be.
///
/// # Errors
/// The bundle asks for what a jail can't be.
pub fn parameters(
    id: &str,
    config: &Value,
    section: &Section,
    path: &Path,
) -> Result<Vec<String>, JailError> {
    let jail = &section.jail;
    let root = Object::root(config)?;
    let mut all = vec![
        format!("name={}", name(id, jail.parent.as_deref())?),
        format!("path={}", path.display()),
        "persist".to_owned(),
        format!("enforce_statfs={}", jail.enforce_statfs.unwrap_or(1)),
    ];
    let hostname = label(&root, "hostname")?;
    let domainname = label(&root, "domainname")?;
    let own = hostname.is_some() || domainname.is_some();
    all.push(format!(
        "host={}",
        jail.host.unwrap_or(if own { "new" } else { "inherit" })
    ));
    all.extend(hostname.map(|name| format!("host.hostname={name}")));
    all.extend(domainname.map(|name| format!("host.domainname={name}")));
    network(jail, &mut all);
    all.extend(
        jail.sysv
            .iter()
            .map(|(name, word)| format!("{name}={word}")),
    );
    all.extend(jail.allow.iter().map(|(name, on)| permission(name, *on)));
    Ok(all)
}

fn network(jail: &Jail, all: &mut Vec<String>) {
    if jail.vnet == Some("new") {
        all.push("vnet=new".to_owned());
        return;
    }
    all.extend(jail.vnet.map(|word| format!("vnet={word}")));
    let bare = jail.ip4_addr.is_empty() && jail.ip6_addr.is_empty();
    for (name, word, list) in [
        ("ip4", jail.ip4, &jail.ip4_addr),
        ("ip6", jail.ip6, &jail.ip6_addr),
    ] {
        // Whoever gives an address of one family doesn't hand out the host's of the other.
        let default = match (list.is_empty(), bare) {
            (false, _) => "new",
            (true, true) => "inherit",
            (true, false) => "disable",
        };
        all.push(format!("{name}={}", word.unwrap_or(default)));
        if !list.is_empty() {
            let addresses: Vec<&str> = list
                .iter()
                .map(|a| a.split('/').next().unwrap_or(a))
                .collect();
            all.push(format!("{name}.addr={}", addresses.join(",")));
        }
    }
}

/// jail(8): `allow.mount.nodevfs` takes back `allow.mount.devfs`.
fn permission(name: &str, on: bool) -> String {
    match (on, name.rsplit_once('.')) {
        (true, _) => format!("allow.{name}"),
        (false, Some((front, last))) => format!("allow.{front}.no{last}"),
        (false, None) => format!("allow.no{name}"),
    }
}

fn label(root: &Object<'_>, name: &str) -> Result<Option<String>, JailError> {
    let text = root.text(name)?.filter(|text| !text.is_empty());
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match text {
        Some(text) if text.len() > 255 || !text.chars().all(good) => {
            Err(JailError::new(name, format!("`{text}` is no host's name")))
        }
        other => Ok(other),
    }
}
