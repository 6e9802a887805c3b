//! `linux.resources` into the files of a cgroup, by libcgroups. A limit that can't take effect is
//! an error.

use libcgroups::common::{
    AnyCgroupManager, CgroupConfig, CgroupManager, ControllerOpt, create_cgroup_manager,
};
use oci_spec::runtime::LinuxResources;

use super::{Cgroup, CgroupError};

impl Cgroup {
    /// Sets all limits of a new container, devices among them.
    pub fn apply(&self, resources: Option<&LinuxResources>) -> Result<(), CgroupError> {
        let default = LinuxResources::default();
        let resources = resources.unwrap_or(&default);
        self.apply_devices(resources.devices().as_deref().unwrap_or_default())?;
        self.update(resources)
    }

    /// Changes the limits that are named.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let mut rest = resources.clone();
        rest.set_devices(None);
        if rest == LinuxResources::default() {
            return Ok(());
        }
        self.check(&rest)?;
        let options = ControllerOpt {
            resources: &rest,
            disable_oom_killer: false,
            oom_score_adj: None,
            freezer_state: None,
        };
        self.manager()?
            .apply(&options)
            .map_err(|error| CgroupError::Limit(crate::error::one_line(&error)))
    }

    /// What libcgroups would pass over in silence.
    fn check(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let has_unified = resources.unified().as_ref().is_some_and(|u| !u.is_empty());
        if has_unified && !self.is_unified() {
            let text = "unified is set, but this host's controllers are on cgroup v1";
            return Err(CgroupError::Limit(text.into()));
        }
        if resources.rdma().as_ref().is_some_and(|r| !r.is_empty()) {
            return Err(CgroupError::Limit("rdma is set, but this host has no such controller".into()));
        }
        Ok(())
    }

    pub(super) fn manager(&self) -> Result<AnyCgroupManager, CgroupError> {
        create_cgroup_manager(CgroupConfig {
            cgroup_path: self.path.clone(),
            systemd_cgroup: self.systemd,
            container_name: String::new(),
        })
        .map_err(|error| CgroupError::Setup(error.to_string()))
    }
}
