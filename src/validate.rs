//! What would go wrong with a bundle, found before anything is made: by the OCI's rules and on this
//! host. It must not change anything, nor run a program.

mod host;

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::spec::{HostFacts, SpecError, Validated};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The container would not run.
    Error,
    /// It would run, and something has no effect.
    Warning,
}

/// Whose rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The OCI runtime spec.
    Oci,
    /// This host.
    Host,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Whose rule it is.
    pub source: Source,
    /// The field, as `linux.resources.memory.limit`.
    pub field: String,
    /// What stands there and what is wrong with it.
    pub text: String,
}

/// All that is wrong with the bundle in `dir` with the configuration `raw`.
pub fn findings(dir: &Path, raw: &Value, facts: &HostFacts) -> Vec<Finding> {
    let mut all = by_rules(raw, facts);
    // What has the wrong form can't be compared with the host.
    if !all.iter().any(|finding| finding.level == Level::Error) {
        host::check(dir, raw, &mut all);
    }
    all
}

fn by_rules(raw: &Value, facts: &HostFacts) -> Vec<Finding> {
    let finding = |level, field: &str, text: &str| Finding {
        level,
        source: Source::Oci,
        field: field.to_owned(),
        text: text.to_owned(),
    };
    match Validated::new(raw.clone(), facts) {
        Ok(valid) => {
            let warnings = valid.warnings().iter();
            let split = warnings.map(|line| line.split_once(": ").unwrap_or(("", line)));
            split
                .map(|(field, text)| finding(Level::Warning, field, text))
                .collect()
        }
        Err(SpecError::Invalid(problems)) => problems
            .iter()
            .map(|problem| finding(Level::Error, &problem.path, &problem.text))
            .collect(),
        Err(error) => vec![finding(Level::Error, "config.json", &error.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::template::default_spec;
    use serde_json::json;

    #[test]
    fn rules_come_first_and_alone() {
        let mut spec = default_spec(false, 0, 0, true);
        spec["process"]["cwd"] = json!("relative");
        spec["mounts"][0]["source"] = json!(3);
        let found = findings(Path::new("/nonexistent"), &spec, &HostFacts::default());
        assert!(found.iter().all(|f| f.source == Source::Oci));
        assert!(
            found.iter().any(|f| f.field == "mounts[0].source"),
            "{found:?}"
        );
    }

    #[test]
    fn the_host_is_asked_for_each_field() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("rootfs/bin")).unwrap();
        let program = temp.path().join("rootfs/bin/tool");
        std::fs::write(&program, "").unwrap();
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&program, mode(0o755)).unwrap();
        let mut spec = default_spec(false, 0, 0, true);
        spec["process"]["args"] = json!(["tool"]);
        spec["process"]["rlimits"] = json!([]);
        let fields = |spec: &Value| -> Vec<String> {
            let found = findings(temp.path(), spec, &HostFacts::default());
            let errors = found.into_iter().filter(|f| f.level == Level::Error);
            errors.map(|f| f.field).collect()
        };
        assert_eq!(fields(&spec), [""; 0]);
        let table = [
            ("/process/args/0", json!("nothing"), "process.args[0]"),
            ("/process/args/0", json!("/bin"), "process.args[0]"),
            ("/process/cwd", json!("/not/there"), "process.cwd"),
            ("/root/path", json!("elsewhere"), "root.path"),
            (
                "/mounts/0",
                json!({"destination": "/x", "type": "bind", "source": "/not/there", "options": ["bind"]}),
                "mounts[0].source",
            ),
            (
                "/mounts/0",
                json!({"destination": "/x", "type": "nofs", "source": "x"}),
                "mounts[0].type",
            ),
            (
                "/linux/namespaces/0",
                json!({"type": "pid", "path": "/not/there"}),
                "linux.namespaces[0].path",
            ),
            (
                "/linux/sysctl",
                json!({"net.ipv4.nothing": "1"}),
                "linux.sysctl[net.ipv4.nothing]",
            ),
            (
                "/hooks",
                json!({"poststop": [{"path": "/not/there"}]}),
                "hooks.poststop[0].path",
            ),
        ];
        for (pointer, value, field) in table {
            let mut changed = spec.clone();
            let (parent, last) = pointer.rsplit_once('/').unwrap();
            let parent = changed.pointer_mut(parent).unwrap();
            match parent.as_array_mut() {
                Some(list) => list[last.parse::<usize>().unwrap()] = value,
                None => parent[last] = value,
            }
            assert_eq!(fields(&changed), [field], "{pointer}");
        }
    }
}
