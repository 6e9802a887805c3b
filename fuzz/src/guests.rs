//! What a Proxmox node says: guests' files, which people edit, and the texts of `pct`; and the
//! translations of bundles into what other programs read line by line.

use std::path::{Path, PathBuf};

use pxrun::backend::proxmox::Settings;
use pxrun::backend::proxmox::conf::{Conf, decode, encode};
use pxrun::backend::proxmox::pct::{Said, texts};
use pxrun::backend::proxmox::translate::{Host, Input, Plan};
use pxrun::backend::{jail, lxc};
use pxrun::spec::Validated;

/// A guest's file: what isn't changed stays, and what is written is read back.
pub fn guest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let conf = Conf::parse(&text);
    let written = conf.to_string();
    assert_eq!(Conf::parse(&written).to_string(), written);
    let _ = (
        conf.tags().count(),
        conf.has_pending(),
        conf.snapshots().len(),
    );
    let mut changed = conf.clone();
    changed.set("memory", "512");
    changed.set_description(&text);
    assert_eq!(changed.get("memory"), Some("512"));
    assert_eq!(changed.snapshots(), conf.snapshots());
    let again = Conf::parse(&changed.to_string());
    assert_eq!(again.get("memory"), Some("512"));
    assert_eq!(again.description(), changed.description());
    changed.remove("memory");
    assert_eq!(changed.get("memory"), None);
    let line: String = text.chars().filter(|c| !c.is_control()).collect();
    assert_eq!(decode(&encode(&line)), line);
}

/// A failed call's outputs, standard error first, a NUL between.
pub fn pct(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (err, out) = text.split_once('\0').unwrap_or((&text, ""));
    let said = Said {
        out: out.to_owned(),
        err: err.to_owned(),
    };
    let reason = texts::reason(&said, 255).to_string();
    assert!(!reason.is_empty());
}

/// Whatever the bundle says, none of its words becomes a line of its own.
pub fn translations(valid: &Validated) {
    let facts = lxc::translate::Facts {
        root: None,
        hook: &["/pxrun", "hook"],
        init: &["/pxrun", "init"],
        joined: &[],
        cgroups: None,
        log: None,
    };
    let mut pairs = Vec::new();
    if let Ok(lines) = lxc::translate::translate(valid.spec(), &facts) {
        pairs.extend(lines.iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
        let written = lines.to_string();
        assert_eq!(written.lines().count(), lines.iter().count(), "{written:?}");
    }
    let settings = Settings::default();
    let input = Input {
        id: "fuzz",
        root: Path::new("/run/pxrun"),
        bundle: Path::new("/bundle"),
        spec: valid.spec(),
        settings: &settings,
        host: Host {
            memory: 1024,
            swap: 512,
            cgroup_v2: true,
            arch: "amd64",
        },
    };
    if let Ok(plan) = Plan::new(&input) {
        assert!(!plan.included(&pairs).contains('\0'));
        for (option, value) in &plan.options {
            let text = format!("{option}{value}");
            assert!(!text.contains(['\n', '\r', '\0']), "{text:?}");
        }
    }
    let _ = jail::life::Plan::new(
        "fuzz",
        valid.raw(),
        Path::new("/bundle"),
        &PathBuf::from("/var/run/pxrun/fuzz"),
    );
}
