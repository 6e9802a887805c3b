//! The five capability sets. Knows nothing of users.

use caps::{CapSet, Capability, CapsHashSet};
use oci_spec::runtime::{Capabilities, LinuxCapabilities};

use super::ProcessError;

/// Capabilities to be set once the user is changed.
pub struct Held<'a> {
    asked: Option<&'a LinuxCapabilities>,
}

fn failed(set: CapSet) -> impl FnOnce(caps::errors::CapsError) -> ProcessError {
    move |error| {
        let name = format!("{set:?}").to_lowercase();
        ProcessError::Refused(format!("process.capabilities.{name}: set: {error}"))
    }
}

impl<'a> Held<'a> {
    /// Drops what isn't asked for from the bounding set: that is possible only as long as
    /// CAP_SETPCAP is effective.
    pub fn drop_bounding(asked: Option<&'a LinuxCapabilities>) -> Result<Held<'a>, ProcessError> {
        let kept = asked.map(|a| translate(a.bounding().as_ref())).unwrap_or_default();
        let has_setpcap = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP);
        if has_setpcap.unwrap_or(false) {
            let now = caps::read(None, CapSet::Bounding).map_err(failed(CapSet::Bounding))?;
            for capability in now.difference(&kept) {
                caps::drop(None, CapSet::Bounding, *capability).map_err(failed(CapSet::Bounding))?;
            }
        }
        Ok(Held { asked })
    }

    /// Sets the other four; with `and_admin` CAP_SYS_ADMIN stays until the filter is in.
    pub fn apply(&self, and_admin: bool) -> Result<(), ProcessError> {
        set_all(self.asked, and_admin)
    }
}

/// Sets permitted, effective, inheritable and ambient as asked; none when nothing is asked.
pub fn apply(asked: Option<&LinuxCapabilities>) -> Result<(), ProcessError> {
    set_all(asked, false)
}

fn set_all(asked: Option<&LinuxCapabilities>, and_admin: bool) -> Result<(), ProcessError> {
    let of = |pick: fn(&LinuxCapabilities) -> &Option<Capabilities>| {
        asked.map(|a| translate(pick(a).as_ref())).unwrap_or_default()
    };
    let mut permitted = of(LinuxCapabilities::permitted);
    let mut effective = of(LinuxCapabilities::effective);
    let inheritable = of(LinuxCapabilities::inheritable);
    let ambient = of(LinuxCapabilities::ambient);
    if and_admin {
        permitted.insert(Capability::CAP_SYS_ADMIN);
        effective.insert(Capability::CAP_SYS_ADMIN);
    }
    // Inheritable while the old permitted set still covers it, and effective never beyond
    // permitted: the order in which capset(2) takes them.
    caps::set(None, CapSet::Inheritable, &inheritable).map_err(failed(CapSet::Inheritable))?;
    let now = caps::read(None, CapSet::Effective).map_err(failed(CapSet::Effective))?;
    let common: CapsHashSet = now.intersection(&permitted).copied().collect();
    caps::set(None, CapSet::Effective, &common).map_err(failed(CapSet::Effective))?;
    caps::set(None, CapSet::Permitted, &permitted).map_err(failed(CapSet::Permitted))?;
    caps::set(None, CapSet::Effective, &effective).map_err(failed(CapSet::Effective))?;
    raise_ambient(&ambient)
}

/// An ambient capability that isn't permitted and inheritable can't be raised; runc warns, and
/// callers send such sets.
fn raise_ambient(ambient: &CapsHashSet) -> Result<(), ProcessError> {
    caps::clear(None, CapSet::Ambient).map_err(failed(CapSet::Ambient))?;
    for capability in ambient {
        if let Err(error) = caps::raise(None, CapSet::Ambient, *capability) {
            tracing::warn!("process.capabilities.ambient: can't raise `{capability}`: {error}");
        }
    }
    Ok(())
}

/// By number: oci-spec and caps both list the kernel's capabilities under their names.
fn translate(set: Option<&Capabilities>) -> CapsHashSet {
    set.into_iter()
        .flatten()
        .filter_map(|capability| {
            let name = serde_json::to_value(capability).ok()?;
            name.as_str()?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_a_counterpart() {
        let names: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
        let set: Capabilities = serde_json::from_value(serde_json::json!(names)).unwrap();
        assert_eq!(translate(Some(&set)).len(), names.len());
    }
}
