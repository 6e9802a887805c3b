//! What rules ask about a container, read from its `config.json` and its callers' annotations.
//! It must not touch files: all comes in as values.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::needs::{Needed, needs};

/// Where callers put the image's name: containerd, CRI-O, image annotations, pxrun's own.
const IMAGE: [&str; 7] = [
    "dev.pxrun.image",
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
    "io.kubernetes.cri-o.Image",
    "io.container.manager.image",
    "org.opencontainers.image.ref.name",
    "org.opencontainers.image.base.name",
];
const NAMESPACE: [&str; 3] = [
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.cri-o.Namespace",
];
const POD: [&str; 3] = [
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.pod.name",
    "io.kubernetes.cri-o.KubeName",
];
const CONTAINER: [&str; 2] = [
    "io.kubernetes.cri.container-name",
    "io.kubernetes.container.name",
];
const SANDBOX: [&str; 3] = [
    "io.kubernetes.cri.sandbox-id",
    "io.kubernetes.cri-o.SandboxID",
    "io.podman.annotations.sandbox-id",
];

/// A container that is to be created.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// Its id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its root file system.
    pub root: PathBuf,
    /// `hostname`.
    pub hostname: Option<String>,
    /// The image's name.
    pub image: Option<String>,
    /// The Kubernetes namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// Its name in the pod.
    pub container: Option<String>,
    /// The container that its pod began with, if that is another one.
    pub sandbox: Option<String>,
    /// Uid of the caller.
    pub uid: u32,
    /// All annotations.
    pub annotations: Vec<(String, String)>,
    /// What not every backend can do.
    pub needs: Vec<Needed>,
    /// Namespaces that it joins: type, path, field.
    pub joins: Vec<Join>,
}

/// A namespace joined by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Join {
    /// `network`, `ipc` …
    pub kind: String,
    /// Where it is.
    pub path: PathBuf,
    /// The field of `config.json`.
    pub field: String,
}

impl Facts {
    /// Reads a document.
    ///
    /// # Errors
    /// An annotation asks for something that nobody knows.
    pub fn new(id: &str, bundle: &Path, spec: &Value, uid: u32) -> Result<Facts, String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let annotation = |names: &[&str]| {
            let found = names
                .iter()
                .find_map(|name| text(&spec["annotations"][*name]));
            found.filter(|value| !value.is_empty())
        };
        let root = spec["root"]["path"].as_str().unwrap_or("rootfs");
        Ok(Facts {
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            root: bundle.join(root),
            hostname: text(&spec["hostname"]),
            image: annotation(&IMAGE),
            namespace: annotation(&NAMESPACE),
            pod: annotation(&POD),
            container: annotation(&CONTAINER),
            sandbox: annotation(&SANDBOX).filter(|sandbox| sandbox != id),
            uid,
            annotations: annotations(spec),
            needs: needs(spec)?,
            joins: joins(spec),
        })
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let found = self.annotations.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn annotations(spec: &Value) -> Vec<(String, String)> {
    let all = spec["annotations"].as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn joins(spec: &Value) -> Vec<Join> {
    let all = spec["linux"]["namespaces"].as_array();
    let all = all.into_iter().flatten().enumerate();
    all.filter_map(|(i, namespace)| {
        let path = namespace["path"].as_str().filter(|path| !path.is_empty())?;
        Some(Join {
            kind: namespace["type"].as_str()?.to_owned(),
            path: path.into(),
            field: format!("linux.namespaces[{i}].path"),
        })
    })
    .collect()
}
