//! What people see of a guest in Proxmox's lists: name, description, tags; and the marker by which
//! pxrun knows its own guests again. It must not decide what a guest is.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxPersonalityDomain, Spec};

use super::Input;
use crate::backend::proxmox::conf::Conf;
use crate::backend::proxmox::options::{dns, is_tag};

/// The tag of every guest of pxrun's.
pub const TAG: &str = "pxrun";

/// Before the line that names the record.
const MARKER: &str = "pxrun container ";

/// Most bytes of a line that comes from an annotation.
const LINE: usize = 300;

/// What only a kubelet's runtime writes: containerd's CRI plugin, then CRI-O. podman borrows other
/// keys of CRI-O's.
const POD: [&str; 2] = [
    "io.kubernetes.cri.sandbox-id",
    "io.kubernetes.cri-o.SandboxID",
];

/// Where callers say what a container is: (what it is to people, annotations that say it).
const TOLD: [(&str, &[&str]); 4] = [
    (
        "image",
        &[
            "io.kubernetes.cri.image-name",
            "io.kubernetes.cri-o.ImageName",
            "org.opencontainers.image.base.name",
        ],
    ),
    (
        "container",
        &[
            "io.kubernetes.cri.container-name",
            "io.kubernetes.container.name",
        ],
    ),
    (
        "pod",
        &["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"],
    ),
    (
        "namespace",
        &[
            "io.kubernetes.cri.sandbox-namespace",
            "io.kubernetes.pod.namespace",
        ],
    ),
];

/// The guest's name: the container's host name where Proxmox can hold it.
pub fn hostname(id: &str, wanted: Option<&str>) -> String {
    if let Some(name) = wanted.filter(|name| dns(name)) {
        return name.to_owned();
    }
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let source = wanted.filter(|name| !name.is_empty()).unwrap_or(id);
    let name: String = source.chars().map(plain).take(40).collect();
    match name.trim_matches('-') {
        "" => "container".to_owned(),
        name => name.to_owned(),
    }
}

/// The architecture that Proxmox gives to LXC; `linux.personality` asks for 32 bits.
pub fn arch(input: &Input<'_>) -> String {
    let linux = input.spec.linux().as_ref();
    let personality = linux.and_then(|linux| linux.personality().as_ref());
    let narrow = personality.is_some_and(|p| p.domain() == LinuxPersonalityDomain::PerLinux32);
    match (narrow, input.host.arch) {
        (true, "amd64") => "i386",
        (true, "arm64") => "armhf",
        (_, arch) => arch,
    }
    .to_owned()
}

/// The description: the wish of an annotation, what callers tell, and the marker.
pub fn description(input: &Input<'_>, wish: Option<&str>) -> String {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(wish.map(|wish| wish.trim_end().to_owned()));
    for (what, keys) in TOLD {
        if let Some(value) = told(input.spec, keys) {
            lines.push(format!("{what}: {value}"));
        }
    }
    lines.push(format!(
        "bundle: {}",
        clean(&input.bundle.display().to_string())
    ));
    let marker = Marker {
        id: input.id.to_owned(),
        root: input.root.to_owned(),
    };
    lines.push(marker.line());
    lines.join("\n")
}

fn told(spec: &Spec, keys: &[&str]) -> Option<String> {
    let annotations = spec.annotations().as_ref()?;
    let found = keys.iter().find_map(|key| annotations.get(*key));
    found
        .map(|value| clean(value))
        .filter(|value| !value.is_empty())
}

/// One line of a bearable length.
fn clean(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > LINE {
            break;
        }
        out.push(c);
    }
    out.trim().to_owned()
}

/// pxrun's tag, the caller's, those of the settings and of the annotation, each once.
pub fn tags(input: &Input<'_>, wish: Option<&str>) -> String {
    let settings = input.settings.tags.iter().map(String::as_str);
    let wished = wish.unwrap_or_default().split([';', ',', ' ']);
    let mut tags: Vec<&str> = Vec::new();
    let all = [TAG]
        .into_iter()
        .chain(caller(input.spec))
        .chain(settings)
        .chain(wished);
    for tag in all.filter(|tag| is_tag(tag)) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags.join(";")
}

/// Who made the container, from the annotations that only it sets.
fn caller(spec: &Spec) -> Option<&'static str> {
    let annotations = spec.annotations().as_ref()?;
    let any = |keys: &[&str]| keys.iter().any(|key| annotations.contains_key(*key));
    if any(&POD) {
        return Some("kubernetes");
    }
    let podman = annotations
        .get("io.container.manager")
        .is_some_and(|v| v == "libpod");
    podman.then_some("podman")
}

/// Says of a guest whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The container's id.
    pub id: String,
    /// The root below which its record is.
    pub root: PathBuf,
}

impl Marker {
    /// The line of a description that names the record.
    pub fn line(&self) -> String {
        format!("{MARKER}{} in {}", self.id, self.root.display())
    }

    /// Finds the marker of a guest that pxrun made. Both the tag and the line are needed: people
    /// copy descriptions.
    pub fn of(conf: &Conf) -> Option<Marker> {
        if !conf.tags().any(|tag| tag == TAG) {
            return None;
        }
        Self::described(&conf.description())
    }

    /// The marker in a description, of a guest whose tags are looked at elsewhere.
    pub fn described(description: &str) -> Option<Marker> {
        let line = description
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(MARKER))?;
        let (id, root) = line.split_once(" in ")?;
        Some(Marker {
            id: id.to_owned(),
            root: Path::new(root).to_owned(),
        })
    }
}
