//! Where a storage of the node keeps templates, from the text of `/etc/pve/storage.cfg`
//! (pve-storage, "Storage Configuration"). It must not write there.

use std::path::{Path, PathBuf};

use super::TemplateError;

/// Directory of templates below a storage's path.
const SUBDIRECTORY: &str = "template/cache";
/// Types whose content is files, and where it lies when `path` doesn't say.
const TYPES: [(&str, Option<&str>); 6] = [
    ("dir", None),
    ("btrfs", None),
    ("nfs", Some("/mnt/pve")),
    ("cifs", Some("/mnt/pve")),
    ("cephfs", Some("/mnt/pve")),
    ("glusterfs", Some("/mnt/pve")),
];

/// The directory of the templates in `storage`, as `config` has it.
///
/// # Errors
/// There is no such storage, or it holds no templates.
pub fn directory(config: &str, storage: &str) -> Result<PathBuf, TemplateError> {
    let wrong = |text: &str| TemplateError::Storage {
        name: storage.to_owned(),
        text: text.to_owned(),
    };
    let (kind, properties) = section(config, storage).ok_or_else(|| wrong("not configured"))?;
    let get = |key: &str| {
        let found = properties.iter().find(|(k, _)| *k == key);
        found.map(|(_, value)| *value)
    };
    let (_, default) = TYPES
        .iter()
        .find(|(name, _)| *name == kind)
        .ok_or_else(|| wrong(&format!("type `{kind}` holds no files")))?;
    if get("disable").is_some() {
        return Err(wrong("disabled"));
    }
    let content = get("content").unwrap_or_default();
    if !content.split(',').any(|part| part.trim() == "vztmpl") {
        return Err(wrong("holds no templates (`vztmpl` is not in its content)"));
    }
    let path = match (get("path"), default) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(parent)) => Path::new(parent).join(storage),
        (None, None) => return Err(wrong("has no path")),
    };
    let own = get("content-dirs").unwrap_or_default().split(',');
    let mut own = own.filter_map(|part| part.trim().strip_prefix("vztmpl="));
    Ok(path.join(own.next_back().unwrap_or(SUBDIRECTORY)))
}

/// Type and properties of the section `TYPE: NAME`. Where there is no file, as Proxmox has it: a
/// `local` in /var/lib/vz.
fn section<'c>(config: &'c str, storage: &str) -> Option<(&'c str, Vec<(&'c str, &'c str)>)> {
    let mut lines = config.lines();
    let kind = lines.by_ref().find_map(|line| {
        let (kind, name) = line.split_once(':')?;
        (!line.starts_with(char::is_whitespace) && name.trim() == storage).then(|| kind.trim())
    });
    let Some(kind) = kind else {
        let local = vec![("path", "/var/lib/vz"), ("content", "vztmpl")];
        return (storage == "local").then_some(("dir", local));
    };
    let own =
        lines.take_while(|line| line.starts_with(char::is_whitespace) && !line.trim().is_empty());
    let properties = own.map(|line| {
        let line = line.trim();
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        (key, value.trim())
    });
    Some((kind, properties.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "dir: local\n\tpath /srv/vz\n\tcontent iso,vztmpl,backup\n\n\
        lvmthin: local-lvm\n\tthinpool data\n\tcontent rootdir\n\n\
        nfs: share\n\texport /x\n\tserver 1.2.3.4\n\tcontent vztmpl\n\n\
        dir: own\n\tpath /own\n\tcontent vztmpl\n\tcontent-dirs iso=a,vztmpl=t/c\n\n\
        dir: off\n\tpath /off\n\tcontent vztmpl\n\tdisable\n\n\
        dir: iso\n\tpath /iso\n\tcontent iso\n";

    #[test]
    fn directories_are_found() {
        let rows = [
            ("local", Ok("/srv/vz/template/cache")),
            ("share", Ok("/mnt/pve/share/template/cache")),
            ("own", Ok("/own/t/c")),
            ("local-lvm", Err("type `lvmthin`")),
            ("off", Err("disabled")),
            ("iso", Err("no templates")),
            ("none", Err("not configured")),
        ];
        for (storage, expected) in rows {
            match (directory(CONFIG, storage), expected) {
                (Ok(found), Ok(path)) => assert_eq!(found, Path::new(path), "{storage}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (found, _) => panic!("{storage}: {found:?}"),
            }
        }
        let local = directory("", "local").unwrap();
        assert_eq!(local, Path::new("/var/lib/vz/template/cache"));
    }
}
