//! What a container asks for that not every backend can do, found in its `config.json`.
//! It must not know any backend.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A feature that some backends lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A mount with id mappings of its own.
    IdmappedMounts,
    /// A new user namespace, or a joined one.
    UserNamespace,
    /// A time namespace.
    TimeNamespace,
    /// A seccomp filter.
    Seccomp,
    /// A seccomp agent.
    SeccompNotify,
    /// An AppArmor profile.
    Apparmor,
    /// An SELinux label.
    Selinux,
    /// Cache and memory bandwidth.
    IntelRdt,
    /// Network devices of the host.
    NetDevices,
    /// NUMA memory policy.
    MemoryPolicy,
    /// A WebAssembly module instead of a program.
    Wasm,
    /// To be saved and restored; said by the annotation [`NEEDS_ANNOTATION`].
    Checkpoint,
    /// A document for a virtual machine alone.
    Vm,
    /// A document for FreeBSD alone.
    Freebsd,
    /// A document for Windows alone.
    Windows,
    /// A document for Solaris alone.
    Solaris,
    /// A document for z/OS alone.
    Zos,
}

impl Need {
    /// What a Linux container on the host's own kernel never is.
    pub const OTHER_PLATFORMS: [Need; 6] = [
        Need::Wasm,
        Need::Vm,
        Need::Freebsd,
        Need::Windows,
        Need::Solaris,
        Need::Zos,
    ];
}

/// Lists further needs that can't be seen in the document, parted by commas.
pub const NEEDS_ANNOTATION: &str = "dev.pxrun.needs";

/// Every need with its name in the configuration.
pub const NAMES: &[(Need, &str)] = &[
    (Need::IdmappedMounts, "idmapped-mounts"),
    (Need::UserNamespace, "user-namespace"),
    (Need::TimeNamespace, "time-namespace"),
    (Need::Seccomp, "seccomp"),
    (Need::SeccompNotify, "seccomp-notify"),
    (Need::Apparmor, "apparmor"),
    (Need::Selinux, "selinux"),
    (Need::IntelRdt, "intel-rdt"),
    (Need::NetDevices, "net-devices"),
    (Need::MemoryPolicy, "memory-policy"),
    (Need::Wasm, "wasm"),
    (Need::Checkpoint, "checkpoint"),
    (Need::Vm, "vm"),
    (Need::Freebsd, "freebsd"),
    (Need::Windows, "windows"),
    (Need::Solaris, "solaris"),
    (Need::Zos, "zos"),
];

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(need, _)| need == self);
        f.write_str(name.map_or("?", |(_, name)| name))
    }
}

impl FromStr for Need {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map(|(need, _)| *need).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
            format!("`{text}` is no need: expected one of {}", names.join(", "))
        })
    }
}

impl Serialize for Need {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A need and the field that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// What.
    pub need: Need,
    /// Where in `config.json`.
    pub field: String,
}

/// All needs of a document. An annotation that names an unknown need is an error, as what it asks
/// for would be left out in silence.
pub fn needs(spec: &Value) -> Result<Vec<Needed>, String> {
    let mut all = Vec::new();
    let mut add = |need, field: String| all.push(Needed { need, field });
    for (need, field) in SIMPLE {
        let pointer = format!("/{}", field.replace('.', "/"));
        if spec.pointer(&pointer).is_some_and(is_given) {
            add(*need, (*field).to_owned());
        }
    }
    for (i, mount) in list(spec, "/mounts").iter().enumerate() {
        if let Some(part) = idmapped(mount) {
            add(Need::IdmappedMounts, format!("mounts[{i}].{part}"));
        }
    }
    for (i, namespace) in list(spec, "/linux/namespaces").iter().enumerate() {
        let need = match namespace["type"].as_str() {
            Some("user") => Need::UserNamespace,
            Some("time") => Need::TimeNamespace,
            _ => continue,
        };
        add(need, format!("linux.namespaces[{i}]"));
    }
    for (need, section) in PLATFORMS {
        if spec["linux"].is_null() && spec[*section].is_object() {
            add(*need, (*section).to_owned());
        }
    }
    from_annotations(spec, &mut add)?;
    Ok(all)
}

/// Fields that are needs by being there.
const SIMPLE: &[(Need, &str)] = &[
    (Need::Seccomp, "linux.seccomp"),
    (Need::SeccompNotify, "linux.seccomp.listenerPath"),
    (Need::Apparmor, "process.apparmorProfile"),
    (Need::Selinux, "process.selinuxLabel"),
    (Need::Selinux, "linux.mountLabel"),
    (Need::IntelRdt, "linux.intelRdt"),
    (Need::NetDevices, "linux.netDevices"),
    (Need::MemoryPolicy, "linux.memoryPolicy"),
];

/// Sections of other platforms; beside `linux` they mean nothing to a Linux runtime.
const PLATFORMS: &[(Need, &str)] = &[
    (Need::Vm, "vm"),
    (Need::Freebsd, "freebsd"),
    (Need::Windows, "windows"),
    (Need::Solaris, "solaris"),
    (Need::Zos, "zos"),
];

fn from_annotations(spec: &Value, add: &mut impl FnMut(Need, String)) -> Result<(), String> {
    let annotation = |name: &str| spec["annotations"][name].as_str();
    let field = |name: &str| format!("annotations[\"{name}\"]");
    // crun's handlers for WebAssembly, and what its images are marked with.
    for (name, wanted) in [
        ("run.oci.handler", "wasm"),
        ("module.wasm.image/variant", ""),
    ] {
        if annotation(name).is_some_and(|value| value.starts_with(wanted)) {
            add(Need::Wasm, field(name));
        }
    }
    let more = annotation(NEEDS_ANNOTATION).unwrap_or_default();
    for name in more
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let need = name
            .parse()
            .map_err(|error| format!("{}: {error}", field(NEEDS_ANNOTATION)))?;
        add(need, field(NEEDS_ANNOTATION));
    }
    Ok(())
}

fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() && text != "unconfined",
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

fn idmapped(mount: &Value) -> Option<&'static str> {
    let mapped = |part: &&'static str| mount[*part].as_array().is_some_and(|l| !l.is_empty());
    let by_option = || {
        let is_idmap = |option: &Value| matches!(option.as_str(), Some("idmap" | "ridmap"));
        list(mount, "/options")
            .iter()
            .any(is_idmap)
            .then_some("options")
    };
    ["uidMappings", "gidMappings"]
        .into_iter()
        .find(|part| mapped(part))
        .or_else(by_option)
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}
