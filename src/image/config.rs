//! What an image says about running it, in one form for all sources: an image's configuration, the
//! comment of a template, nothing. It must not know config.json.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

/// The execution parameters of an image (image-spec, config.md) and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunConfig {
    /// Name in the index, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Digest of the manifest: `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Operating system.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// Processor, as Go names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When, as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `USER`, by name or number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `ENTRYPOINT`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// `CMD`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// `ENV`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// `WORKDIR`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cwd: String,
    /// `STOPSIGNAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `LABEL`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `VOLUME`, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// `EXPOSE`, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
}

impl RunConfig {
    /// From an image's configuration.
    pub fn of_image(config: &ImageConfiguration) -> Self {
        let mut run = Self {
            os: config.os().to_string(),
            arch: config.architecture().to_string(),
            author: config.author().clone().filter(|text| !text.is_empty()),
            created: config.created().clone().filter(|text| !text.is_empty()),
            ..Self::default()
        };
        let Some(config) = config.config() else {
            return run;
        };
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let sorted = |values: &Option<Vec<String>>| {
            let mut values = list(values);
            values.sort();
            values.dedup();
            values
        };
        run.user = config.user().clone().unwrap_or_default();
        run.entrypoint = list(config.entrypoint());
        run.cmd = list(config.cmd());
        run.env = list(config.env());
        run.cwd = config.working_dir().clone().unwrap_or_default();
        run.stop_signal = config.stop_signal().clone().filter(|text| !text.is_empty());
        run.labels = config
            .labels()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect();
        run.volumes = sorted(config.volumes());
        run.ports = sorted(config.exposed_ports());
        run
    }

    /// As an image's configuration has it (image-spec, config.md), for a single layer.
    pub fn to_image(&self, diff_id: &str) -> serde_json::Value {
        use serde_json::json;
        let mut config = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value, empty: bool| {
            if !empty {
                config.insert(key.to_owned(), value);
            }
        };
        let set = |names: &[String]| -> serde_json::Value {
            names.iter().map(|name| (name.clone(), json!({}))).collect()
        };
        put("User", json!(self.user), self.user.is_empty());
        put("ExposedPorts", set(&self.ports), self.ports.is_empty());
        put("Env", json!(self.env), self.env.is_empty());
        put(
            "Entrypoint",
            json!(self.entrypoint),
            self.entrypoint.is_empty(),
        );
        put("Cmd", json!(self.cmd), self.cmd.is_empty());
        put("Volumes", set(&self.volumes), self.volumes.is_empty());
        put("WorkingDir", json!(self.cwd), self.cwd.is_empty());
        put("Labels", json!(self.labels), self.labels.is_empty());
        put(
            "StopSignal",
            json!(self.stop_signal),
            self.stop_signal.is_none(),
        );
        let mut image = json!({
            "architecture": self.arch,
            "os": self.os,
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        });
        for (key, value) in [("created", &self.created), ("author", &self.author)] {
            if let Some(value) = value {
                image[key] = json!(value);
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_round_trips() {
        let image = serde_json::json!({
            "created": "2024-01-01T00:00:00Z", "author": "a", "architecture": "amd64", "os": "linux",
            "config": {
                "User": "web", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": ["/e"],
                "Cmd": ["c"], "Volumes": {"/v": {}, "/a": {}}, "WorkingDir": "/w",
                "Labels": {"l": "m"}, "StopSignal": "SIGINT",
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
        });
        let typed: ImageConfiguration = serde_json::from_value(image.clone()).unwrap();
        let run = RunConfig::of_image(&typed);
        assert_eq!(run.volumes, ["/a", "/v"]);
        let again: ImageConfiguration = serde_json::from_value(run.to_image("sha256:1")).unwrap();
        assert_eq!(RunConfig::of_image(&again), run);
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<RunConfig>(&text).unwrap(), run);
    }

    #[test]
    fn an_image_may_say_nothing() {
        let image = r#"{"architecture":"arm64","os":"linux","config":{"Env":null,"Cmd":null},
            "rootfs":{"type":"layers","diff_ids":[]}}"#;
        let typed: ImageConfiguration = serde_json::from_str(image).unwrap();
        let run = RunConfig::of_image(&typed);
        assert_eq!(
            run,
            RunConfig {
                os: "linux".into(),
                arch: "arm64".into(),
                ..Default::default()
            }
        );
    }
}
