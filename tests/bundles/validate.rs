//! `bundle validate`: exit codes for scripts, fields for programs.

use std::fs;

use serde_json::{Value, json};

use super::common::command::run;
use super::{place, pxrun};

#[test]
fn a_good_bundle_is_valid_and_a_bad_one_tells_the_field() {
    let bundle = place("validate").join("b");
    super::bundle_of_shared(&bundle);
    let validate = |args: &[&str]| {
        let mut command = pxrun(&["bundle", "validate"]);
        run(command.args(args).arg(&bundle))
    };
    let good = validate(&["--json", "--backend", "embedded"]);
    assert!(good.status.success(), "{}", good.stdout);
    let report = good.json();
    assert_eq!(report["valid"], true);
    assert_eq!(report["backends"][0]["runs"], true);
    let path = bundle.join("config.json");
    let text = fs::read_to_string(&path).expect("read config.json");
    let original: Value = serde_json::from_str(&text).expect("parse config.json");
    let table = [
        (
            "process.args[0]",
            "host",
            "/process/args/0",
            json!("/no/such"),
        ),
        ("process.cwd", "oci", "/process/cwd", json!("relative")),
        (
            "linux.resources.pids.limit",
            "oci",
            "/linux/resources/pids/limit",
            json!("many"),
        ),
    ];
    for (field, source, pointer, value) in table {
        let mut config = original.clone();
        *config.pointer_mut(pointer).expect("the field") = value;
        fs::write(&path, config.to_string()).expect("write config.json");
        let bad = validate(&["--json"]);
        assert_eq!(bad.status.code(), Some(1), "{field}");
        let found = bad.json()["findings"].as_array().expect("a list").clone();
        assert!(
            found
                .iter()
                .any(|f| f["field"] == field && f["source"] == source),
            "{field}: {found:?}"
        );
        assert!(validate(&[]).stdout.contains(field));
    }
    // A document that only another platform runs: the rules hold, the backend refuses.
    let mut config = original.clone();
    config["annotations"]["module.wasm.image/variant"] = json!("compat");
    config["annotations"]["run.oci.handler"] = json!("wasm");
    fs::write(&path, config.to_string()).expect("write config.json");
    let refused = validate(&["--json", "--backend", "embedded"]);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
    assert!(
        !refused.json()["backends"][0]["refuses"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
}

#[test]
fn each_backend_is_asked_for_its_own_translation() {
    let bundle = place("translations").join("b");
    super::bundle_of_shared(&bundle);
    let path = bundle.join("config.json");
    let text = fs::read_to_string(&path).expect("read config.json");
    let original: Value = serde_json::from_str(&text).expect("parse config.json");
    let refusals = |backend: &str, change: &dyn Fn(&mut Value)| -> Vec<Value> {
        let mut config = original.clone();
        change(&mut config);
        fs::write(&path, config.to_string()).expect("write config.json");
        let mut command = pxrun(&["bundle", "validate", "--json", "--backend", backend]);
        let report = run(command.arg(&bundle)).json();
        let refuses = &report["backends"][0]["refuses"];
        refuses.as_array().expect("a list").clone()
    };
    let field = |list: &[Value], name: &str| {
        let told = list.iter().any(|one| one["field"] == name);
        assert!(told, "no `{name}` in {list:?}");
    };
    let unbindable = |config: &mut Value| {
        config["mounts"][0]["options"] = json!(["unbindable"]);
    };
    field(&refusals("lxc", &unbindable), "mounts");
    assert_eq!(refusals("embedded", &unbindable), [] as [Value; 0]);
    let vmid = |config: &mut Value| {
        config["annotations"]["dev.pxrun.proxmox.vmid"] = json!("seven");
    };
    field(
        &refusals("proxmox", &vmid),
        "annotations[dev.pxrun.proxmox.vmid]",
    );
    assert_eq!(refusals("embedded", &vmid), [] as [Value; 0]);
    let jail = |config: &mut Value| {
        config["freebsd"] = json!({"jail": {"enforceStatfs": 9}});
    };
    field(&refusals("jail", &jail), "freebsd.jail.enforceStatfs");
    let newer = |config: &mut Value| {
        config["ociVersion"] = json!("1.3.0");
        config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_DEFAULT", "nodes": ""});
    };
    field(&refusals("crun", &newer), "linux.memoryPolicy");
}
