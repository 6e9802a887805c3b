//! Documents as real writers make them must load.

use oci_spec::runtime::{Capability, Spec};
use serde_json::{Value, json};

use super::{HostFacts, SpecError, Validated, template};

pub const DOCUMENTS: &[(&str, &str)] = &[
    (
        "runc-spec",
        include_str!("../../tests/documents/runc-spec.json"),
    ),
    (
        "runc-spec-rootless",
        include_str!("../../tests/documents/runc-spec-rootless.json"),
    ),
    (
        "crun-spec",
        include_str!("../../tests/documents/crun-spec.json"),
    ),
    (
        "crun-spec-rootless",
        include_str!("../../tests/documents/crun-spec-rootless.json"),
    ),
    (
        "ctr-spec",
        include_str!("../../tests/documents/ctr-spec.json"),
    ),
    (
        "podman-plain",
        include_str!("../../tests/documents/podman-plain.json"),
    ),
    (
        "podman-tty-limits",
        include_str!("../../tests/documents/podman-tty-limits.json"),
    ),
    (
        "podman-privileged",
        include_str!("../../tests/documents/podman-privileged.json"),
    ),
    (
        "podman-userns",
        include_str!("../../tests/documents/podman-userns.json"),
    ),
    ("cri", include_str!("../../tests/documents/cri.json")),
];

pub fn document(name: &str) -> Value {
    let (_, text) = DOCUMENTS.iter().find(|(known, _)| *known == name).unwrap();
    serde_json::from_str(text).unwrap()
}

fn typed(name: &str) -> Spec {
    let host = HostFacts::default();
    Validated::new(document(name), &host)
        .unwrap()
        .into_parts()
        .1
}

#[test]
fn all_load_and_stay_raw() {
    for (name, text) in DOCUMENTS {
        let mut raw: Value = serde_json::from_str(text).unwrap();
        if *name == "ctr-spec" {
            // A template without a command: containerd takes that from the image.
            raw["process"]["args"] = json!(["sh"]);
        }
        for cgroup_v2 in [false, true] {
            let host = HostFacts {
                cgroup_v2,
                ..HostFacts::default()
            };
            match Validated::new(raw.clone(), &host) {
                Ok(valid) => {
                    assert_eq!(valid.raw(), &raw, "{name}");
                    assert_eq!(valid.warnings(), [] as [&str; 0], "{name}");
                }
                // crun 1.8 writes no mappings and makes up some when it runs; runc refuses too.
                Err(SpecError::Invalid(problems)) if *name == "crun-spec-rootless" => {
                    assert_eq!(problems.len(), 2);
                    assert_eq!(
                        problems[0].to_string(),
                        "linux.uidMappings: missing, expected at least one mapping for the new \
                         user namespace"
                    );
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
}

#[test]
fn the_typed_form_says_what_the_document_says() {
    let spec = typed("cri");
    let process = spec.process().as_ref().unwrap();
    assert_eq!(process.no_new_privileges(), None);
    assert_eq!(process.apparmor_profile(), &None);
    assert_eq!(
        process.user().additional_gids().as_deref(),
        Some(&[65532, 3_000_000_000][..])
    );
    assert_eq!(process.rlimits().as_ref().unwrap()[0].hard(), u64::MAX);
    let linux = spec.linux().as_ref().unwrap();
    assert_eq!(
        linux.devices().as_ref().unwrap()[0].file_mode(),
        Some(0o666)
    );
    let resources = linux.resources().as_ref().unwrap();
    let devices = resources.devices().as_ref().unwrap();
    assert_eq!(devices[1].to_string(), "c 136:* rwm");
    assert_eq!(devices[2].to_string(), "a *:* m");
    assert_eq!(resources.memory().unwrap().limit(), Some(-1));
    assert_eq!(resources.memory().unwrap().swappiness(), None);
    assert_eq!(
        resources.hugepage_limits().as_ref().unwrap()[1].limit(),
        i64::MAX
    );
    assert_eq!(spec.windows(), &None);
    assert_eq!(
        linux
            .seccomp()
            .as_ref()
            .unwrap()
            .syscalls()
            .as_ref()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn the_template_is_what_runc_writes() {
    for (name, rootless) in [("runc-spec", false), ("runc-spec-rootless", true)] {
        let mut theirs = document(name);
        let ours = template::default_spec(rootless, 0, 0, false);
        assert_eq!(ours["ociVersion"], "1.2.0");
        for own in ["ociVersion", "hostname"] {
            theirs[own] = ours[own].clone();
        }
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn the_template_passes() {
    for rootless in [false, true] {
        for cgroup_v2 in [false, true] {
            let host = HostFacts {
                rootless,
                cgroup_v2,
                ..HostFacts::default()
            };
            let spec = template::default_spec(rootless, 1000, 1001, cgroup_v2);
            let valid = Validated::new(spec, &host).unwrap();
            let linux = valid.spec().linux().clone().unwrap();
            let namespaces = linux.namespaces().as_ref().unwrap().len();
            assert_eq!(namespaces, 5 + usize::from(cgroup_v2));
            if rootless {
                assert_eq!(linux.uid_mappings().as_ref().unwrap()[0].host_id(), 1000);
                assert_eq!(linux.gid_mappings().as_ref().unwrap()[0].host_id(), 1001);
            }
        }
    }
}

#[test]
fn a_small_process_is_completed_from_the_container() {
    let host = HostFacts::default();
    let base = typed("cri");
    let raw = json!({"args": ["id"], "env": null, "rlimits": [], "apparmorProfile": ""});
    let (process, warnings) = Validated::process_from(raw, &base, &host).unwrap();
    let own = base.process().as_ref().unwrap();
    assert_eq!(process.args().as_deref(), Some(&["id".to_owned()][..]));
    assert_eq!(process.user(), own.user());
    assert_eq!(process.cwd(), own.cwd());
    assert_eq!(process.env(), own.env());
    assert_eq!(process.capabilities(), own.capabilities());
    assert_eq!(process.rlimits(), own.rlimits());
    assert_eq!(process.exec_cpu_affinity(), own.exec_cpu_affinity());
    assert_eq!(process.oom_score_adj(), None);
    assert!(warnings.is_empty());
}

#[test]
fn a_full_process_keeps_its_own() {
    let host = HostFacts::default();
    let raw = json!({
        "terminal": true, "user": {"uid": 7}, "args": ["sh"], "env": ["A=1"], "cwd": "/tmp",
        "capabilities": {"bounding": ["CAP_KILL", "CAP_FOO"]}, "noNewPrivileges": true,
    });
    let (process, warnings) = Validated::process_from(raw, &typed("cri"), &host).unwrap();
    assert_eq!((process.user().uid(), process.user().gid()), (7, 0));
    assert_eq!(process.env().as_deref(), Some(&["A=1".to_owned()][..]));
    assert_eq!(process.no_new_privileges(), Some(true));
    let bounding = process.capabilities().as_ref().unwrap().bounding();
    assert_eq!(bounding, &Some([Capability::Kill].into()));
    assert_eq!(
        warnings,
        ["process.capabilities.bounding: `CAP_FOO`: unknown capability, dropped"]
    );
}

#[test]
fn a_bad_process_is_refused() {
    let base = typed("podman-userns");
    let table = [
        (json!(7), "process: `7`, expected an object"),
        (json!(null), "process: missing, expected an object"),
        (json!({}), "process.args: missing, expected a list"),
        (
            json!({"args": ["x"], "user": {"uid": 70000}}),
            "process.user.uid: `70000`, expected an id that linux.uidMappings maps",
        ),
        (
            json!({"args": ["x"], "selinuxLabel": "a:b:c"}),
            "process.selinuxLabel: `a:b:c`, expected no label: SELinux is off on this host",
        ),
    ];
    for (raw, expected) in table {
        let error = Validated::process_from(raw, &base, &HostFacts::default()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn resources_alone_may_be_partial() {
    let host = HostFacts {
        cgroup_v2: true,
        ..HostFacts::default()
    };
    let raw = json!({"memory": {"swap": 4096, "kernel": 1}, "unified": {"memory.high": "max"}});
    let (resources, warnings) = Validated::resources_from(raw, &host).unwrap();
    assert_eq!(resources.memory().unwrap().swap(), Some(4096));
    assert_eq!(
        warnings,
        ["resources.memory.kernel: `1`: kernels no longer limit kernel memory apart, ignored"]
    );
    let raw = json!({"pids": {"limit": -2}});
    let error = Validated::resources_from(raw, &host).unwrap_err();
    assert_eq!(
        error.to_string(),
        "resources.pids.limit: `-2`, expected a number of processes, or -1 for none"
    );
}
