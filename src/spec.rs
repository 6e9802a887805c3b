//! A container's configuration that may be acted on: the only way to get one is to pass every
//! rule of the OCI runtime spec that the document alone, and a few facts about the host, decide.
//! It must not touch the host: its rules hold on any machine.
//!
//! Each section of the document is one file under `spec/`, with its shape (the types of its
//! fields), its edits (what the typed form needs otherwise than the document has it) and its rules.

use oci_spec::runtime::{LinuxResources, Process, Spec};
use serde_json::Value;
use thiserror::Error;

pub(crate) mod annotations;
pub(crate) mod capabilities;
pub(crate) mod cpu_list;
pub(crate) mod devices;
pub(crate) mod hooks;
pub(crate) mod intel_rdt;
pub(crate) mod labels;
pub(crate) mod mappings;
pub(crate) mod memory_policy;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod net_devices;
pub(crate) mod paths;
pub(crate) mod personality;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod resources;
pub(crate) mod rlimits;
pub(crate) mod root;
pub(crate) mod scheduler;
pub(crate) mod seccomp;
pub(crate) mod shape;
pub(crate) mod sysctl;
pub(crate) mod template;
pub(crate) mod time_offsets;
pub(crate) mod uts;
pub(crate) mod version;
pub(crate) mod warned;

mod document;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod real;
#[cfg(test)]
mod rules;

pub use report::Problem;
pub use warned::{WARNED, Warned};

/// What the rules need to know about the host and the caller, as a value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HostFacts {
    /// SELinux is on.
    pub selinux: bool,
    /// AppArmor is on.
    pub apparmor: bool,
    /// All controllers are on the unified hierarchy; false for legacy and hybrid.
    pub cgroup_v2: bool,
    /// The runtime's effective uid is not 0.
    pub rootless: bool,
}

/// Most problems that one error message names.
const SHOWN: usize = 5;

/// Why a document was refused.
#[derive(Debug, Error)]
pub enum SpecError {
    /// The document breaks these rules.
    #[error("{}", join(.0))]
    Invalid(Vec<Problem>),
    /// The document passed, and the typed form still would not take it.
    #[error("{0}: not readable in its typed form")]
    Typed(&'static str, #[source] serde_json::Error),
}

fn join(problems: &[Problem]) -> String {
    let shown: Vec<_> = problems
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    match problems.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// A configuration that passed.
#[derive(Clone, Debug)]
pub struct Validated {
    raw: Value,
    spec: Spec,
    warnings: Vec<String>,
}

impl Validated {
    /// Validates a whole `config.json`.
    pub fn new(raw: Value, host: &HostFacts) -> Result<Self, SpecError> {
        let (spec, warnings) = document::config(&raw, host)?;
        Ok(Self {
            raw,
            spec,
            warnings,
        })
    }

    /// The document as it came, unknown fields and all.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The typed form. It differs from the document where that has no effect: unknown
    /// capabilities, empty strings, an explicit `noNewPrivileges: false` and the like are absent,
    /// sections for other platforms too.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// One line for each part that has no effect ([`WARNED`]), for the log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Raw form, typed form and warnings.
    pub fn into_parts(self) -> (Value, Spec, Vec<String>) {
        (self.raw, self.spec, self.warnings)
    }

    /// Validates the `process.json` of `exec` for a container that runs with `base`. Members that
    /// it lacks come from `base`'s process where runc takes them from there, see
    /// `process::inherit`. Returns the process and the warnings.
    pub fn process_from(
        raw: Value,
        base: &Spec,
        host: &HostFacts,
    ) -> Result<(Process, Vec<String>), SpecError> {
        document::process(raw, base, host)
    }

    /// Validates the resources that `update` gets. Returns them and the warnings.
    pub fn resources_from(
        raw: Value,
        host: &HostFacts,
    ) -> Result<(LinuxResources, Vec<String>), SpecError> {
        document::resources(raw, host)
    }
}

/// Version of the OCI runtime spec that states and features name.
pub const OCI_VERSION: &str = version::MAX;

/// The hooks of a configuration that was validated when it was kept.
///
/// # Errors
/// It was changed since.
pub fn hooks_of(config: &Value) -> Result<Option<oci_spec::runtime::Hooks>, SpecError> {
    match config.get("hooks") {
        None | Some(Value::Null) => Ok(None),
        Some(hooks) => serde_json::from_value(hooks.clone())
            .map(Some)
            .map_err(|source| SpecError::Typed("hooks", source)),
    }
}
