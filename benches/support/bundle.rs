//! The bundle that all runtimes get, with and without a seccomp profile.
//! It must not run anything.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Result;
use crate::common;

/// A bundle as podman wrote it: its seccomp profile is used here.
const PODMAN: &str = include_str!("../../tests/documents/podman-plain.json");

/// Makes bundles over one root filesystem.
#[derive(Debug)]
pub struct Maker {
    place: PathBuf,
    rootfs: PathBuf,
    cgroup: String,
}

impl Maker {
    /// With everything below `place`, and cgroups below `/NAME`.
    pub fn new(place: &Path, name: &str) -> Maker {
        let rootfs = place.join("rootfs");
        common::image::rootfs(&rootfs);
        Maker {
            place: place.to_owned(),
            rootfs,
            cgroup: format!("/{name}"),
        }
    }

    /// The bundle of a container that sleeps; its directory.
    ///
    /// # Errors
    /// podman's document has no profile.
    pub fn sleeping(&self, id: &str, profile: bool) -> Result<PathBuf> {
        self.running(id, &["sleep", "1000"], profile)
    }

    /// The bundle of a container that runs `args`.
    ///
    /// # Errors
    /// podman's document has no profile.
    pub fn running(&self, id: &str, args: &[&str], profile: bool) -> Result<PathBuf> {
        let dir = self.place.join(format!("bundle-{id}"));
        let cgroup = format!("{}/{id}", self.cgroup);
        let seccomp = podman_profile()?;
        common::bundle::Bundle::new(&dir, &self.rootfs, &cgroup, args, |config| {
            config["linux"]["resources"]["pids"] = json!({"limit": 2048});
            if profile {
                config["linux"]["seccomp"] = seccomp;
            }
        });
        Ok(dir)
    }
}

fn podman_profile() -> Result<Value> {
    let mut document: Value = serde_json::from_str(PODMAN)?;
    let profile = document.pointer_mut("/linux/seccomp").map(Value::take);
    profile.ok_or_else(|| "podman's document has no linux.seccomp".into())
}
