//! A bundle's document in the form that another runtime takes: joined namespaces where they really
//! are, a version that it doesn't refuse. Pure: what `/proc` says comes in as a function.

use std::path::Path;

use serde_json::{Value, json};

use super::abilities::Abilities;

/// What a document may hold only from a version on, by minor number (config.md of runtime-spec
/// v1.2.1 and v1.3.0).
const SINCE: &[(&str, u64)] = &[
    ("/process/execCPUAffinity", 2),
    ("/zos", 2),
    ("/linux/netDevices", 3),
    ("/linux/memoryPolicy", 3),
    ("/linux/intelRdt/schemata", 3),
    ("/linux/intelRdt/enableMonitoring", 3),
    ("/vm/hwConfig", 3),
    ("/freebsd", 3),
];

/// The newest minor version that a crun without `features` takes (crun 1.8.1: "unknown version
/// specified" for 1.2.0).
const OLD_CRUN: u64 = 1;

/// The document with the paths of joined pid and user namespaces as they are meant: those of
/// `/proc/PID/ns` may be a keeper's, which isn't in the container's. `meant` tells the pid instead.
pub fn joined(mut config: Value, meant: impl Fn(&Path) -> Option<i32>) -> Value {
    let list = config
        .pointer_mut("/linux/namespaces")
        .and_then(Value::as_array_mut);
    for namespace in list.into_iter().flatten() {
        let kind = namespace["type"].as_str().unwrap_or_default();
        let path = namespace["path"].as_str().map(Path::new);
        if let (Some(path), "pid" | "user") = (path, kind)
            && let (Some(pid), Some(file)) = (meant(path), path.file_name())
        {
            let real = Path::new(&format!("/proc/{pid}/ns")).join(file);
            namespace["path"] = json!(real);
        }
    }
    config
}

/// The minor version that the document names, if it is of major version 1.
pub fn minor(config: &Value) -> Option<u64> {
    minor_in(config["ociVersion"].as_str()?)
}

fn minor_in(version: &str) -> Option<u64> {
    let rest = version.strip_prefix("1.")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// The document with the newest version that the runtime takes, where it would refuse it for the
/// version alone. One that uses something newer stays: the runtime has to say no to that.
pub fn lowered(mut config: Value, asked: &Abilities) -> Value {
    let (Some(found), Some(newest)) = (minor(&config), newest(asked)) else {
        return config;
    };
    if found > newest && newer(&config, newest).is_none() {
        config["ociVersion"] = json!(format!("1.{newest}.0"));
    }
    config
}

/// The field for which the runtime refuses the document's version, and why.
pub fn too_new(config: &Value, asked: &Abilities) -> Option<(String, String)> {
    let (found, newest) = (minor(config)?, newest(asked)?);
    let pointer = newer(config, newest).filter(|_| found > newest)?;
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let why = format!(
        "`{}` takes documents up to 1.{newest}",
        asked.version_line()
    );
    Some((field, why))
}

/// A field that no document of that minor version has.
fn newer(config: &Value, newest: u64) -> Option<&'static str> {
    let used = |pointer: &str| config.pointer(pointer).is_some_and(|v| !v.is_null());
    let mut rows = SINCE.iter();
    let found = rows.find(|(pointer, since)| *since > newest && used(pointer));
    found.map(|(pointer, _)| *pointer)
}

/// Only crun refuses versions of 1.x.
fn newest(asked: &Abilities) -> Option<u64> {
    let told = asked.features["ociVersionMax"].as_str().and_then(minor_in);
    asked
        .version_line()
        .starts_with("crun")
        .then(|| told.unwrap_or(OLD_CRUN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_lowered_only_where_it_is_all_that_is_refused() {
        let crun = |features| Abilities::told("crun version 1.8.1", features);
        let rows = [
            ("1.3.0", json!({}), Value::Null, "1.1.0"),
            ("1.1.0", json!({}), Value::Null, "1.1.0"),
            ("1.0.2-dev", json!({}), Value::Null, "1.0.2-dev"),
            (
                "1.3.0",
                json!({}),
                json!({"ociVersionMax": "1.2.0+dev"}),
                "1.2.0",
            ),
            (
                "1.3.0",
                json!({"netDevices": {"eth0": {}}}),
                Value::Null,
                "1.3.0",
            ),
            ("1.3.0", json!({"memoryPolicy": null}), Value::Null, "1.1.0"),
            ("2.0.0", json!({}), Value::Null, "2.0.0"),
        ];
        for (version, linux, features, want) in rows {
            let config = json!({"ociVersion": version, "linux": linux});
            let lowered = lowered(config.clone(), &crun(features));
            assert_eq!(lowered["ociVersion"], want, "{config}");
        }
        let config = json!({"ociVersion": "1.3.0", "linux": {"netDevices": {"eth0": {}}}});
        let (field, why) = too_new(&config, &crun(Value::Null)).unwrap();
        assert_eq!(field, "linux.netDevices");
        assert_eq!(why, "`crun version 1.8.1` takes documents up to 1.1");
        assert_eq!(
            too_new(&json!({"ociVersion": "1.3.0"}), &crun(Value::Null)),
            None
        );
        let runc = Abilities::told("runc version 1.1.5", json!({"ociVersionMax": "1.0.2"}));
        let config = json!({"ociVersion": "1.3.0"});
        assert_eq!(lowered(config.clone(), &runc), config);
    }

    #[test]
    fn a_keepers_namespaces_are_its_containers() {
        let config = json!({"linux": {"namespaces": [
            {"type": "pid", "path": "/proc/7/ns/pid"},
            {"type": "user", "path": "/proc/8/ns/user"},
            {"type": "network", "path": "/proc/7/ns/net"},
            {"type": "mount"},
        ]}});
        let keeper = |path: &Path| path.starts_with("/proc/7").then_some(9);
        let joined = joined(config, keeper);
        let paths: Vec<&Value> = joined["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| &n["path"])
            .collect();
        assert_eq!(
            paths,
            [
                &json!("/proc/9/ns/pid"),
                &json!("/proc/8/ns/user"),
                &json!("/proc/7/ns/net"),
                &Value::Null
            ]
        );
    }
}
