//! What `features` prints: the structure of features.md and features-linux.md of the OCI runtime
//! spec. It must not look at the host: what this build and this host can do comes in as a value.

use serde_json::{Map, Value, json};

use crate::spec::{capabilities, hooks, memory_policy, namespaces, seccomp, version};

/// What differs between builds and hosts. Nothing is claimed that is not said here or that
/// `spec` does not recognise by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct FeatureFacts<'a> {
    /// Recognised mount options, in any order.
    pub mount_options: &'a [&'a str],
    /// Cgroup drivers and controllers.
    pub cgroup: CgroupFacts,
    /// `None` for a build without seccomp.
    pub seccomp: Option<SeccompFacts<'a>>,
    /// AppArmor profiles are applied.
    pub apparmor: bool,
    /// SELinux labels are applied.
    pub selinux: bool,
    /// Intel RDT.
    pub intel_rdt: IntelRdtFacts,
    /// Idmapped mounts.
    pub idmap: bool,
    /// Network devices are moved into containers.
    pub net_devices: bool,
    /// NUMA memory policies are set.
    pub memory_policy: bool,
    /// Annotations that change what the runtime does on the host; one that ends in `.` is a prefix.
    pub unsafe_annotations: &'a [&'a str],
    /// Annotations about the build, such as its version.
    pub annotations: &'a [(&'a str, &'a str)],
}

/// Cgroup drivers and controllers that the build can drive.
#[derive(Clone, Copy, Debug, Default)]
pub struct CgroupFacts {
    /// Hierarchies of version 1.
    pub v1: bool,
    /// The unified hierarchy.
    pub v2: bool,
    /// systemd's driver.
    pub systemd: bool,
    /// The same through a user's own systemd.
    pub systemd_user: bool,
    /// The rdma controller.
    pub rdma: bool,
}

/// The seccomp library and the kernel's filter flags.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeccompFacts<'a> {
    /// Recognised architectures, in any order: those of `spec::seccomp::ARCHS` that libseccomp takes.
    pub archs: &'a [&'a str],
    /// Filter flags that the kernel and libseccomp support, in any order.
    pub supported_flags: &'a [&'a str],
    /// Version of libseccomp: major, minor, micro.
    pub libseccomp: (u32, u32, u32),
}

/// Parts of `linux.intelRdt` that are implemented.
#[derive(Clone, Copy, Debug, Default)]
pub struct IntelRdtFacts {
    /// Any of it.
    pub enabled: bool,
    /// `schemata`.
    pub schemata: bool,
    /// `enableMonitoring`.
    pub monitoring: bool,
}

/// The key under which runtimes give the version of libseccomp.
const LIBSECCOMP_VERSION: &str = "io.github.seccomp.libseccomp.version";

/// The features document. Members are in the order of the spec's own Go structure, lists are
/// sorted save those that have an order of their own, and empty lists are left out ("unknown").
pub fn features(facts: &FeatureFacts) -> Value {
    let mut document = Map::new();
    document.insert("ociVersionMin".into(), json!(version::MIN));
    document.insert("ociVersionMax".into(), json!(version::MAX));
    document.insert("hooks".into(), json!(hooks::NAMES));
    list(&mut document, "mountOptions", sorted(facts.mount_options));
    document.insert("linux".into(), linux(facts));
    let annotations = annotations(facts);
    if !annotations.is_empty() {
        document.insert("annotations".into(), Value::Object(annotations));
    }
    let unsafe_ones = facts.unsafe_annotations.to_vec();
    list(
        &mut document,
        "potentiallyUnsafeConfigAnnotations",
        unsafe_ones,
    );
    Value::Object(document)
}

fn linux(facts: &FeatureFacts) -> Value {
    let mut linux = Map::new();
    linux.insert("namespaces".into(), json!(namespaces::TYPES));
    linux.insert("capabilities".into(), json!(capabilities::KNOWN));
    linux.insert(
        "cgroup".into(),
        json!({
            "v1": facts.cgroup.v1,
            "v2": facts.cgroup.v2,
            "systemd": facts.cgroup.systemd,
            "systemdUser": facts.cgroup.systemd_user,
            "rdma": facts.cgroup.rdma,
        }),
    );
    linux.insert("seccomp".into(), seccomp(facts.seccomp));
    linux.insert("apparmor".into(), json!({ "enabled": facts.apparmor }));
    linux.insert("selinux".into(), json!({ "enabled": facts.selinux }));
    linux.insert(
        "intelRdt".into(),
        json!({
            "enabled": facts.intel_rdt.enabled,
            "schemata": facts.intel_rdt.schemata,
            "monitoring": facts.intel_rdt.monitoring,
        }),
    );
    if facts.memory_policy {
        let known = json!({ "modes": memory_policy::MODES, "flags": memory_policy::FLAGS });
        linux.insert("memoryPolicy".into(), known);
    }
    linux.insert(
        "mountExtensions".into(),
        json!({ "idmap": { "enabled": facts.idmap } }),
    );
    linux.insert("netDevices".into(), json!({ "enabled": facts.net_devices }));
    Value::Object(linux)
}

fn seccomp(facts: Option<SeccompFacts>) -> Value {
    let Some(facts) = facts else {
        return json!({ "enabled": false });
    };
    let mut seccomp = Map::new();
    seccomp.insert("enabled".into(), json!(true));
    list(&mut seccomp, "actions", seccomp::ACTIONS.to_vec());
    list(&mut seccomp, "operators", seccomp::OPERATORS.to_vec());
    list(&mut seccomp, "archs", sorted(facts.archs));
    list(&mut seccomp, "knownFlags", seccomp::FLAGS.to_vec());
    list(
        &mut seccomp,
        "supportedFlags",
        sorted(facts.supported_flags),
    );
    Value::Object(seccomp)
}

fn annotations(facts: &FeatureFacts) -> Map<String, Value> {
    let mut all: Vec<(&str, String)> = Vec::new();
    all.extend(facts.annotations.iter().map(|(k, v)| (*k, (*v).to_owned())));
    if let Some((major, minor, micro)) = facts.seccomp.map(|facts| facts.libseccomp) {
        all.push((LIBSECCOMP_VERSION, format!("{major}.{minor}.{micro}")));
    }
    all.sort();
    let entries = all.into_iter();
    entries
        .map(|(k, v)| (k.to_owned(), Value::from(v)))
        .collect()
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

fn list(into: &mut Map<String, Value>, name: &str, names: Vec<&str>) {
    if !names.is_empty() {
        into.insert(name.to_owned(), json!(names));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> FeatureFacts<'static> {
        FeatureFacts {
            mount_options: &["rro", "bind", "ro", "bind"],
            cgroup: CgroupFacts {
                v1: true,
                v2: true,
                systemd: true,
                systemd_user: true,
                rdma: true,
            },
            seccomp: Some(SeccompFacts {
                archs: &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                supported_flags: &["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"],
                libseccomp: (2, 5, 4),
            }),
            apparmor: true,
            selinux: true,
            intel_rdt: IntelRdtFacts {
                enabled: true,
                schemata: true,
                monitoring: true,
            },
            idmap: true,
            net_devices: true,
            memory_policy: true,
            unsafe_annotations: &["bundle", "org.systemd.property."],
            annotations: &[("pxrun.version", "0.1.0"), ("pxrun.commit", "abc")],
        }
    }

    fn printed(facts: &FeatureFacts) -> String {
        serde_json::to_string_pretty(&features(facts)).unwrap() + "\n"
    }

    #[test]
    fn prints_the_goldens() {
        let all = include_str!("../tests/golden/features-all.json");
        assert_eq!(printed(&everything()), all);
        let none = include_str!("../tests/golden/features-none.json");
        assert_eq!(printed(&FeatureFacts::default()), none);
    }

    /// The spec's own types for the structure (1.3, features-linux.md) read back what was written.
    #[test]
    fn the_typed_form_reads_it() {
        let document = features(&everything());
        let typed: oci_spec::runtime::Features = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(typed.oci_version_max(), "1.3.0");
        let linux = typed.linux().as_ref().unwrap();
        let idmap = linux.mount_extensions().as_ref().unwrap().idmap();
        assert_eq!(idmap.as_ref().unwrap().enabled(), &Some(true));
        let seccomp = linux.seccomp().as_ref().unwrap();
        assert_eq!(seccomp.actions().as_ref().unwrap().len(), 9);
        assert_eq!(seccomp.supported_flags().as_ref().unwrap().len(), 2);
        let options = typed.mount_options().clone().unwrap();
        assert_eq!(options, ["bind", "ro", "rro"]);
    }

    /// A name in the features is a name that validation takes.
    #[test]
    fn what_is_claimed_is_recognised() {
        let document = features(&everything());
        let mut spec = crate::spec::template::default_spec(false, 0, 0, false);
        let linux = &document["linux"];
        spec["process"]["capabilities"]["bounding"] = linux["capabilities"].clone();
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/agent",
            "architectures": linux["seccomp"]["archs"],
            "flags": linux["seccomp"]["knownFlags"],
        });
        let valid = crate::spec::Validated::new(spec, &Default::default()).unwrap();
        assert!(valid.warnings().is_empty());
    }
}
