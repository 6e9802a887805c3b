//! Proxmox's mount points and the bundle's mounts: volumes as sources of mounts become `mpN`, and a
//! mount point that a mount of the bundle's would hide is refused. It must not look at the host.

use std::collections::BTreeMap;
use std::path::Path;

use super::wishes::wrong;
use super::{Input, TranslateError};
use crate::backend::proxmox::options::{self, props};

/// Options of a mount that a mount point has as a word of its own.
const OPTIONS: [&str; 4] = ["noatime", "nodev", "noexec", "nosuid"];

/// Options that change nothing for a volume.
const PLAIN: [&str; 10] = [
    "bind", "rbind", "rw", "private", "rprivate", "slave", "rslave", "dev", "exec", "suid",
];

/// The numbers of mounts whose source is a volume, `storage:name`, put into `options` as `mpN`.
pub fn volumes(
    input: &Input<'_>,
    options: &mut BTreeMap<String, String>,
) -> Result<Vec<usize>, TranslateError> {
    let mut found = Vec::new();
    for (number, mount) in input.spec.mounts().iter().flatten().enumerate() {
        let Some(source) = mount.source().as_deref().and_then(Path::to_str) else {
            continue;
        };
        let bind = matches!(mount.typ().as_deref(), None | Some("" | "bind" | "none"));
        if !bind || !is_volume(source) {
            continue;
        }
        let target = mount.destination().display();
        let mut value = format!("{source},mp={target}");
        let words: Vec<&str> = mount
            .options()
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let refused = |why: String| TranslateError::Mount { number, why };
        if let Some(other) = words
            .iter()
            .find(|word| **word != "ro" && !OPTIONS.contains(word) && !PLAIN.contains(word))
        {
            return Err(refused(format!(
                "a volume of Proxmox's has no option `{other}`"
            )));
        }
        let kept: Vec<&str> = words
            .iter()
            .copied()
            .filter(|w| OPTIONS.contains(w))
            .collect();
        if !kept.is_empty() {
            value += &format!(",mountoptions={}", kept.join(";"));
        }
        if words.contains(&"ro") {
            value += ",ro=1";
        }
        let name = (0..256)
            .map(|number| format!("mp{number}"))
            .find(|name| !options.contains_key(name))
            .ok_or_else(|| refused("a guest has 256 mount points at most".to_owned()))?;
        options::check(&name, &value).map_err(|error| refused(error.to_string()))?;
        options.insert(name, value);
        found.push(number);
    }
    Ok(found)
}

/// `storage:name`, where the name is no size.
fn is_volume(source: &str) -> bool {
    let volume =
        !source.starts_with('/') && options::check("mp0", &format!("{source},mp=/x")).is_ok();
    volume && props::volume(source) != props::Volume::New
}

/// Mount points come before the bundle's mounts, which may lie in them but not over them.
pub fn check_hidden(
    input: &Input<'_>,
    options: &BTreeMap<String, String>,
    lifted: &[usize],
) -> Result<(), TranslateError> {
    let mounts = input.spec.mounts().iter().flatten().enumerate();
    let others: Vec<&Path> = mounts
        .filter(|(number, _)| !lifted.contains(number))
        .map(|(_, mount)| mount.destination().as_path())
        .collect();
    for (name, value) in points(options) {
        let target = Path::new(props::get(value, "mp", "volume").unwrap_or_default());
        if let Some(over) = others.iter().find(|over| target.starts_with(over)) {
            let why = format!("the mount on `{}` would hide it", over.display());
            return Err(wrong(name, &why));
        }
    }
    Ok(())
}

/// The mount points, in Proxmox's order.
pub fn points(options: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    let number = |name: &str| name.strip_prefix("mp")?.parse::<u32>().ok();
    let mut all: Vec<(u32, &str, &str)> = options
        .iter()
        .filter_map(|(name, value)| Some((number(name)?, name.as_str(), value.as_str())))
        .collect();
    all.sort_unstable();
    all.into_iter()
        .map(|(_, name, value)| (name, value))
        .collect()
}
