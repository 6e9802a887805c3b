//! What must hold for every configuration: refused in one line that names a place, or planned
//! without a path that leads out.

use std::path::{Component, Path};

use oci_spec::runtime::{Process, Spec};
use pxrun::cgroup::{CGROUP_ROOT, Cgroup};
use pxrun::process::{Options, Setup};
use pxrun::rootfs::{Facts, Plan};
use pxrun::spec::{HostFacts, SpecError, Validated};
use serde_json::Value;

pub fn judge(document: Value) {
    for other in [false, true] {
        let facts = HostFacts {
            selinux: other,
            apparmor: other,
            cgroup_v2: other,
            rootless: other,
        };
        match Validated::new(document.clone(), &facts) {
            Ok(valid) => {
                assert_eq!(valid.raw(), &document);
                plan(&valid, other);
                crate::guests::translations(&valid);
            }
            Err(error @ SpecError::Typed(..)) => panic!("passed and can't be read: {error:?}"),
            Err(SpecError::Invalid(problems)) => {
                assert!(!problems.is_empty());
                for problem in problems {
                    one_line(&problem.to_string());
                    assert!(!problem.path.is_empty(), "{problem}");
                }
            }
        }
    }
}

fn plan(valid: &Validated, other: bool) {
    let spec = valid.spec();
    let facts = Facts {
        userns: other,
        mount_ns: true,
        cgroup_ns: !other,
        unified: other,
        selinux: other,
        own_cgroup: None,
    };
    if let Err(error) = Plan::new(spec, Path::new("/bundle"), &facts) {
        one_line(&error.to_string());
    }
    cgroup(spec, other);
    if let Some(process) = spec.process() {
        let none = Value::Null;
        set_up(process, valid.raw().get("process").unwrap_or(&none), spec);
    }
    let _ = pxrun::spec::hooks_of(valid.raw());
}

/// Whatever the bundle wants, the directory is below the hierarchies.
fn cgroup(spec: &Spec, systemd: bool) {
    let wanted = spec
        .linux()
        .as_ref()
        .and_then(|l| l.cgroups_path().as_deref());
    let root = Path::new("/run/pxrun");
    let Ok(cgroup) = Cgroup::plan_on(crate::host(), wanted, "fuzz", root, systemd, false) else {
        return;
    };
    let path = cgroup.path().expect("this host has hierarchies");
    assert!(path.starts_with(CGROUP_ROOT), "{}", path.display());
    assert!(
        !path.components().any(|part| part == Component::ParentDir),
        "{}",
        path.display()
    );
    assert_ne!(path, Path::new(CGROUP_ROOT));
}

pub fn set_up(process: &Process, raw: &Value, spec: &Spec) {
    let options = Options {
        init: true,
        id: "fuzz".into(),
        ..Options::default()
    };
    let _ = Setup::new(process, raw, spec.linux().as_ref(), options);
}

fn one_line(text: &str) {
    assert!(!text.is_empty() && !text.contains(['\n', '\0']), "{text:?}");
}
