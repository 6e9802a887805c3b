//! The order of validation: types first, then the edits that the typed form needs, then the rules.
//! It must not hold a rule itself.

use oci_spec::runtime::{LinuxResources, Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::report::Report;
use super::shape::{Shape, opt, req, settle};
use super::{
    HostFacts, SpecError, annotations, capabilities, devices, hooks, intel_rdt, labels, mappings,
    memory_policy, mounts, namespaces, net_devices, paths, personality, process, resources,
    rlimits, root, scheduler, seccomp, sysctl, time_offsets, uts, version,
};

/// config.md. Sections for other platforms are not named here and so stay out of the typed form.
const CONFIG: Shape = Shape::Object(&[
    req("ociVersion", &Shape::Text),
    req("root", &root::SHAPE),
    req("process", &process::SHAPE),
    opt("mounts", &Shape::List(&mounts::SHAPE)),
    uts::HOSTNAME,
    uts::DOMAINNAME,
    opt("hooks", &hooks::SHAPE),
    opt("annotations", &annotations::SHAPE),
    opt("linux", &LINUX),
]);

/// config-linux.md.
const LINUX: Shape = Shape::Object(&[
    opt("namespaces", &Shape::List(&namespaces::SHAPE)),
    opt("uidMappings", &mappings::SHAPE),
    opt("gidMappings", &mappings::SHAPE),
    opt("timeOffsets", &time_offsets::SHAPE),
    opt("devices", &Shape::List(&devices::SHAPE)),
    opt("netDevices", &net_devices::SHAPE),
    resources::CGROUPS_PATH,
    opt("resources", &resources::SHAPE),
    opt("intelRdt", &intel_rdt::SHAPE),
    opt("memoryPolicy", &memory_policy::SHAPE),
    opt("sysctl", &sysctl::SHAPE),
    opt("seccomp", &seccomp::SHAPE),
    mounts::ROOTFS_PROPAGATION,
    opt("maskedPaths", &paths::SHAPE),
    opt("readonlyPaths", &paths::SHAPE),
    labels::MOUNT_LABEL,
    opt("personality", &personality::SHAPE),
]);

/// The other documents, with the name that their paths begin with.
const PROCESS: Shape = Shape::Object(&[req("process", &process::SHAPE)]);
const RESOURCES: Shape = Shape::Object(&[req("resources", &resources::SHAPE)]);

/// The typed form of a `config.json`, and the warnings.
pub fn config(raw: &Value, host: &HostFacts) -> Result<(Spec, Vec<String>), SpecError> {
    let mut value = raw.clone();
    let mut report = Report::default();
    version::check(&value, &mut report);
    settle_as(&mut value, &CONFIG, "config.json", &mut report)?;
    edit(&mut value, host, &mut report);
    passed(&mut report)?;
    let spec: Spec = typed("config.json", value)?;
    check(&spec, host, &mut report);
    passed(&mut report)?;
    Ok((spec, report.warnings))
}

/// The typed form of a `process.json`, and the warnings.
pub fn process(
    mut raw: Value,
    base: &Spec,
    host: &HostFacts,
) -> Result<(Process, Vec<String>), SpecError> {
    let mut report = Report::default();
    process::inherit(&mut raw, base)?;
    let mut value = serde_json::json!({ "process": raw });
    settle_as(&mut value, &PROCESS, "process.json", &mut report)?;
    edit_process(&mut value["process"], &mut report);
    passed(&mut report)?;
    let process: Process = typed("process.json", value["process"].take())?;
    check_process(&process, host, &mut report);
    mappings::check_user(&process, base, &mut report);
    passed(&mut report)?;
    Ok((process, report.warnings))
}

/// The typed form of a `LinuxResources` document, and the warnings.
pub fn resources(raw: Value, host: &HostFacts) -> Result<(LinuxResources, Vec<String>), SpecError> {
    let mut report = Report::default();
    let mut value = serde_json::json!({ "resources": raw });
    settle_as(&mut value, &RESOURCES, "resources", &mut report)?;
    resources::edit(&mut value["resources"], "resources", &mut report);
    passed(&mut report)?;
    let typed: LinuxResources = typed("resources", value["resources"].take())?;
    resources::check(&typed, "resources", host, &mut report);
    passed(&mut report)?;
    Ok((typed, report.warnings))
}

fn settle_as(
    value: &mut Value,
    shape: &Shape,
    name: &str,
    report: &mut Report,
) -> Result<(), SpecError> {
    settle(value, shape, &mut String::new(), report);
    for problem in report.problems.iter_mut().filter(|p| p.path.is_empty()) {
        name.clone_into(&mut problem.path);
    }
    passed(report)
}

/// Rules hold of values of the right type only: problems of an early stage end validation there.
fn passed(report: &mut Report) -> Result<(), SpecError> {
    match report.problems.is_empty() {
        true => Ok(()),
        false => Err(SpecError::Invalid(std::mem::take(&mut report.problems))),
    }
}

fn edit(value: &mut Value, host: &HostFacts, report: &mut Report) {
    edit_process(&mut value["process"], report);
    if let Some(mounts) = value.get_mut("mounts") {
        mounts::edit(mounts, report);
    }
    let Some(linux) = value.get_mut("linux") else {
        return;
    };
    labels::edit(linux, host, report);
    personality::edit(linux, report);
    devices::edit(linux, report);
    seccomp::edit(linux, report);
    if let Some(resources) = linux.get_mut("resources") {
        resources::edit(resources, "linux.resources", report);
    }
}

fn edit_process(process: &mut Value, report: &mut Report) {
    process::edit(process);
    capabilities::edit(process, report);
    scheduler::edit(process, report);
}

fn check(spec: &Spec, host: &HostFacts, report: &mut Report) {
    if let Some(process) = spec.process() {
        check_process(process, host, report);
        mappings::check_user(process, spec, report);
    }
    uts::check(spec, report);
    mounts::check(spec, host, report);
    hooks::check(spec, report);
    annotations::check(spec, report);
    let Some(linux) = spec.linux() else {
        return;
    };
    namespaces::check(linux, report);
    mappings::check(linux, host, report);
    time_offsets::check(linux, report);
    net_devices::check(linux, host, report);
    intel_rdt::check(linux, report);
    memory_policy::check(linux, report);
    sysctl::check(linux, report);
    seccomp::check(linux, report);
    paths::check(linux, report);
    if let Some(resources) = linux.resources() {
        resources::check(resources, "linux.resources", host, report);
        resources::check_whole(resources, "linux.resources", host, report);
    }
}

fn check_process(process: &Process, host: &HostFacts, report: &mut Report) {
    process::check(process, report);
    rlimits::check(process, report);
    scheduler::check(process, report);
    labels::check(process, host, report);
}

fn typed<T: DeserializeOwned>(name: &'static str, value: Value) -> Result<T, SpecError> {
    serde_json::from_value(value).map_err(|source| SpecError::Typed(name, source))
}
