//! Making the container's directories, ready for its limits and its processes.
//! It must not write limits: only what a directory needs before it can take any.

use std::io;
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;

use super::{Cgroup, CgroupError, Hierarchy, Result, Setup, file};

/// How often a parent may vanish under us: the last container of a root takes `/pxrun` with it.
const TRIES: usize = 100;

/// Files given away with a cgroup where the kernel has no list of them (before Linux 4.15).
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Makes the directories in all hierarchies, and what is needed above them.
    ///
    /// A directory that exists is taken over if nothing runs in it or below. With systemd the unit
    /// comes with the first process, so this does nothing. On an error nothing stays behind.
    pub fn create(&self, resources: Option<&LinuxResources>) -> Result<()> {
        if self.needs_process_first() {
            return Ok(());
        }
        self.make_dirs(resources)
    }

    /// For another one who makes the directories and wants none of them there: takes away what is
    /// left over and unused.
    ///
    /// # Errors
    /// Something runs in one of them.
    pub fn make_way(&self) -> Result<()> {
        self.check_free()?;
        self.remove()
    }

    /// Whether the place is free for a container: it isn't there, or nothing runs in it.
    ///
    /// # Errors
    /// It is somebody else's: whoever goes on would join him, and kill him when he cleans up.
    pub fn check_free(&self) -> Result<()> {
        for hierarchy in &self.hierarchies {
            if hierarchy.dir.exists() {
                self.check_unused(hierarchy)?;
            }
        }
        Ok(())
    }

    /// Takes over directories that another one has made for a process that is in them already.
    pub fn take_over(&self, resources: Option<&LinuxResources>) -> Result<()> {
        let mut made = Vec::new();
        self.hierarchies
            .iter()
            .try_for_each(|hierarchy| self.fit(hierarchy, resources, &mut made).map(drop))
    }

    pub(super) fn make_dirs(&self, resources: Option<&LinuxResources>) -> Result<()> {
        let mut made = Vec::new();
        let result = self
            .hierarchies
            .iter()
            .try_for_each(|hierarchy| self.make(hierarchy, resources, &mut made));
        if result.is_err() {
            for dir in made.iter().rev() {
                // The reason for failing matters more than what can't be tidied up.
                let _ = std::fs::remove_dir(dir);
            }
        }
        result
    }

    /// Gives the version 2 directory to `uid`, so that the container can make cgroups of its own.
    ///
    /// As runc: for a container with a cgroup namespace of its own and a writable cgroup mount.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let Some(hierarchy) = self.unified().filter(|_| self.setup == Setup::Unified) else {
            return Ok(());
        };
        chown(&hierarchy.dir, uid)?;
        // cgroup-v2.rst, "Delegation": the kernel lists the files itself.
        let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        for name in list.as_deref().unwrap_or(DELEGATED).lines() {
            match chown(&hierarchy.dir.join(name), uid) {
                Err(error) if file::is_absent(&error) => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn make(
        &self,
        hierarchy: &Hierarchy,
        resources: Option<&LinuxResources>,
        made: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let fresh = self.fit(hierarchy, resources, made)?;
        // systemd's directory is there, with the process that it was made for.
        if !fresh && self.systemd.is_none() {
            self.check_unused(hierarchy)?;
        }
        Ok(())
    }

    /// Makes the directory if it is missing, and fits it for limits and processes; false if it was
    /// there.
    fn fit(
        &self,
        hierarchy: &Hierarchy,
        resources: Option<&LinuxResources>,
        made: &mut Vec<PathBuf>,
    ) -> Result<bool> {
        let fresh = match make_path(&hierarchy.dir, &hierarchy.mount, made) {
            Ok(fresh) => fresh,
            // No rights and no wish for a certain place: the container runs in its caller's.
            Err(error) if self.rootless && !self.explicit && error.is_permission() => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        if hierarchy.unified && self.setup == Setup::Unified {
            enable_controllers(hierarchy)?;
            check_type(&hierarchy.dir, resources)?;
        }
        if hierarchy.controllers.iter().any(|c| c == "cpuset") {
            fill_cpuset(hierarchy, resources)?;
        }
        Ok(fresh)
    }

    fn check_unused(&self, hierarchy: &Hierarchy) -> Result<()> {
        let pids = super::pids::pids_in(&hierarchy.dir, true)?;
        if !pids.is_empty()
            && let Some(scope) = &self.systemd
        {
            return Err(CgroupError::UnitExists(scope.unit()));
        }
        if !pids.is_empty() {
            return Err(CgroupError::NotEmpty(pids.len()));
        }
        if super::freeze::is_frozen(hierarchy)? {
            return Err(CgroupError::Frozen);
        }
        Ok(())
    }
}

/// Makes `dir` and its missing parents; false if it was there.
fn make_path(dir: &Path, mount: &Path, made: &mut Vec<PathBuf>) -> Result<bool> {
    for _ in 0..TRIES {
        match std::fs::DirBuilder::new().mode(0o755).create(dir) {
            Ok(()) => {
                made.push(dir.to_owned());
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir != mount => {
                if let Some(parent) = dir.parent() {
                    make_path(parent, mount, made)?;
                }
            }
            Err(source) => {
                return Err(CgroupError::Create {
                    path: dir.to_owned(),
                    source,
                });
            }
        }
    }
    let source = io::ErrorKind::NotFound.into();
    Err(CgroupError::Create {
        path: dir.to_owned(),
        source,
    })
}

/// Enables all controllers of the hierarchy down to the container, so that limits can be set and
/// usage is counted. What can't be enabled is noticed when a limit needs it.
fn enable_controllers(hierarchy: &Hierarchy) -> Result<()> {
    let wanted = file::read_optional(&hierarchy.mount, "cgroup.controllers")?.unwrap_or_default();
    let has = file::read_optional(&hierarchy.dir, "cgroup.controllers")?.unwrap_or_default();
    let missing = |name: &&str| !has.split_whitespace().any(|have| have == *name);
    let missing: Vec<String> = wanted
        .split_whitespace()
        .filter(missing)
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let all = missing.join(" ");
    for dir in above(hierarchy) {
        if file::write(&dir, "cgroup.subtree_control", &all).is_err() {
            // One that can't be had must not keep the others away.
            for one in &missing {
                let _ = file::write(&dir, "cgroup.subtree_control", one);
            }
        }
    }
    Ok(())
}

/// The directories from the mount point down to the container's parent.
fn above(hierarchy: &Hierarchy) -> Vec<PathBuf> {
    let mut dirs: Vec<_> = hierarchy
        .dir
        .ancestors()
        .skip(1)
        .take_while(|dir| dir.starts_with(&hierarchy.mount))
        .map(Path::to_owned)
        .collect();
    dirs.reverse();
    dirs
}

/// Below a threaded cgroup only threaded controllers work (cgroup-v2.rst, "Threads").
fn check_type(dir: &Path, resources: Option<&LinuxResources>) -> Result<()> {
    let kind = file::read_optional(dir, "cgroup.type")?.unwrap_or_default();
    if kind.is_empty() || kind == "domain" {
        return Ok(());
    }
    if resources.is_some_and(needs_domain) {
        return Err(CgroupError::Threaded {
            path: dir.to_owned(),
            kind,
        });
    }
    match kind.as_str() {
        "domain invalid" => file::write(dir, "cgroup.type", "threaded"),
        _ => Ok(()),
    }
}

fn needs_domain(resources: &LinuxResources) -> bool {
    resources.memory().is_some()
        || resources.block_io().is_some()
        || resources
            .hugepage_limits()
            .as_ref()
            .is_some_and(|limits| !limits.is_empty())
}

/// A version 1 cpuset takes no process before it has cpus and memory nodes: the ones asked for,
/// else its parent's (cgroup-v1/cpusets.rst).
fn fill_cpuset(hierarchy: &Hierarchy, resources: Option<&LinuxResources>) -> Result<()> {
    let cpu = resources.and_then(|resources| resources.cpu().as_ref());
    let wishes = [
        ("cpuset.cpus", cpu.and_then(|cpu| cpu.cpus().as_deref())),
        ("cpuset.mems", cpu.and_then(|cpu| cpu.mems().as_deref())),
    ];
    for (name, wish) in wishes {
        match (wish.filter(|wish| !wish.is_empty()), hierarchy.dir.parent()) {
            (Some(wish), Some(parent)) => {
                inherit(parent, &hierarchy.mount, name)?;
                file::write(&hierarchy.dir, name, wish).map_err(|source| CgroupError::Refused {
                    json: format!("linux.resources.cpu.{}", &name["cpuset.".len()..]),
                    source: Box::new(source),
                })?;
            }
            _ => drop(inherit(&hierarchy.dir, &hierarchy.mount, name)?),
        }
    }
    Ok(())
}

/// The directory's value, filled in from above where it is empty.
fn inherit(dir: &Path, mount: &Path, name: &str) -> Result<String> {
    let value = file::read(dir, name)?;
    match dir.parent() {
        Some(parent) if value.is_empty() && dir != mount => {
            let value = inherit(parent, mount, name)?;
            file::write(dir, name, &value)?;
            Ok(value)
        }
        _ => Ok(value),
    }
}

fn chown(path: &Path, uid: u32) -> Result<()> {
    lchown(path, Some(uid), None).map_err(|source| CgroupError::Chown {
        path: path.to_owned(),
        uid,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::{FakeHost, Real, in_v2_view};

    #[test]
    fn all_hierarchies_get_a_directory_and_lose_it_again() {
        let mut real = Real::created();
        for hierarchy in &real.cgroup.hierarchies {
            assert!(hierarchy.dir.is_dir(), "{hierarchy:?}");
        }
        let pid = real.sleeper();
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let name = real
            .cgroup
            .path()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        let lines = text.lines().filter(|line| line.ends_with(name)).count();
        assert!(lines >= real.cgroup.hierarchies.len(), "{text}");
    }

    #[test]
    fn a_cgroup_in_use_is_refused() {
        let mut real = Real::created();
        real.sleeper();
        real.sleeper();
        let error = real.cgroup.create(None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "container's cgroup is not empty: 2 process(es) found"
        );
    }

    #[test]
    fn an_empty_cgroup_is_taken_over_unless_frozen() {
        let real = Real::created();
        real.cgroup.create(None).unwrap();
        real.cgroup.freeze().unwrap();
        let error = real.cgroup.create(None).unwrap_err();
        assert_eq!(error.to_string(), "container's cgroup unexpectedly frozen");
    }

    #[test]
    #[ignore = "run by `the_same_on_version_2` in a namespace of its own"]
    fn v2_view() {
        a_cgroup_in_use_is_refused();
        an_empty_cgroup_is_taken_over_unless_frozen();
        let mut real = Real::created();
        let pid = real.sleeper();
        let dir = real.cgroup.path().unwrap();
        let have = file::read(dir, "cgroup.controllers").unwrap();
        let root = file::read(Path::new("/sys/fs/cgroup"), "cgroup.controllers").unwrap();
        assert_eq!(have, root);
        assert!(
            file::read(dir, "cgroup.procs")
                .unwrap()
                .contains(&pid.to_string())
        );
        real.cgroup.delegate(12345).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(dir).unwrap().uid(), 12345);
        assert_eq!(
            std::fs::metadata(dir.join("cgroup.procs")).unwrap().uid(),
            12345
        );
        assert_eq!(std::fs::metadata(dir.join("cgroup.kill")).unwrap().uid(), 0);
    }

    #[test]
    fn the_same_on_version_2() {
        in_v2_view("cgroup::create::tests::v2_view");
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let fake = FakeHost::legacy(&["cpu", "memory"]);
        let path = Some(Path::new("/box"));
        let cgroup =
            Cgroup::plan_on(&fake.host, path, "box", Path::new("/r"), false, false).unwrap();
        let memory = &fake.host.mounts[1].point;
        std::fs::remove_dir(memory).unwrap();
        std::fs::write(memory, "").unwrap();
        assert!(cgroup.create(None).is_err());
        assert!(!cgroup.hierarchies[0].dir.exists());
    }

    #[test]
    fn cpusets_are_inherited_level_by_level() {
        let fake = FakeHost::legacy(&["cpuset"]);
        let cgroup = fake.cgroup(&["cpuset.cpus", "cpuset.mems"]);
        let mount = &fake.host.mounts[0].point;
        std::fs::write(mount.join("cpuset.cpus"), "0-3\n").unwrap();
        std::fs::write(mount.join("cpuset.mems"), "0\n").unwrap();
        let hierarchy = &cgroup.hierarchies[0];
        fill_cpuset(hierarchy, None).unwrap();
        assert_eq!(fake.read(&cgroup, "cpuset", "cpuset.cpus"), "0-3");
        let asked: LinuxResources = serde_json::from_str(r#"{"cpu":{"cpus":"1"}}"#).unwrap();
        fill_cpuset(hierarchy, Some(&asked)).unwrap();
        assert_eq!(fake.read(&cgroup, "cpuset", "cpuset.cpus"), "1");
        assert_eq!(fake.read(&cgroup, "cpuset", "cpuset.mems"), "0");
    }

    #[test]
    fn threaded_cgroups_take_no_domain_limits() {
        let fake = FakeHost::unified();
        let cgroup = fake.cgroup(&["cgroup.type"]);
        let dir = cgroup.path().unwrap();
        let memory: LinuxResources = serde_json::from_str(r#"{"memory":{"limit":1}}"#).unwrap();
        for (kind, with_memory, after) in [
            ("domain", true, "domain"),
            ("domain invalid", false, "threaded"),
            ("domain threaded", false, "domain threaded"),
        ] {
            std::fs::write(dir.join("cgroup.type"), kind).unwrap();
            assert_eq!(
                check_type(dir, Some(&memory)).is_ok(),
                with_memory,
                "{kind}"
            );
            check_type(dir, None).unwrap();
            assert_eq!(fake.read(&cgroup, "", "cgroup.type"), after);
        }
    }
}
