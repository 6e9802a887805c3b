//! Putting processes into the container's cgroups, or into cgroups below them.
//! It must not create directories.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::{Cgroup, CgroupError, Hierarchy, Result, file};

/// A process that isn't fully made yet is refused with EINVAL for a moment.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(2);

/// `exec --cgroup`: where below the container's cgroup a process goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SubCgroup {
    /// By controller; under the empty name for all of them.
    paths: BTreeMap<String, PathBuf>,
}

impl SubCgroup {
    /// Reads the values of `--cgroup`: one `PATH`, or any number of `CONTROLLER[,CONTROLLER]:PATH`.
    pub fn parse(values: &[String]) -> Result<Self> {
        let mut paths = BTreeMap::new();
        for value in values {
            let (controllers, path) = match value.split_once(':') {
                None if values.len() == 1 => ("", value.as_str()),
                None => return Err(bad(value, "must name a controller, being one of several")),
                Some((_, path)) if path.contains(':') => {
                    return Err(bad(value, "isn't in the form CONTROLLER:PATH"));
                }
                Some(parts) => parts,
            };
            let below =
                below(path).ok_or_else(|| bad(value, "isn't below the container's cgroup"))?;
            for controller in controllers.split(',') {
                if paths.insert(controller.to_owned(), below.clone()).is_some() {
                    return Err(bad(value, "names a controller for the second time"));
                }
            }
        }
        Ok(Self { paths })
    }

    /// The container's own cgroup is meant.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    fn dir(&self, hierarchy: &Hierarchy) -> PathBuf {
        let named = hierarchy
            .controllers
            .iter()
            .find_map(|name| self.paths.get(name));
        match named.or_else(|| self.paths.get("")) {
            Some(below) => hierarchy.dir.join(below),
            None => hierarchy.dir.clone(),
        }
    }
}

fn bad(value: &str, reason: &'static str) -> CgroupError {
    CgroupError::SubCgroup {
        value: value.to_owned(),
        reason,
    }
}

/// `path` as a relative one without `..`.
fn below(path: &str) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

/// Open doors into the cgroups, passed through by the process itself.
///
/// A process that writes `0` moves itself alone, and then the kernel skips the lock on all forks
/// and exits that makes writing another's pid slow (kernel/cgroup/cgroup.c,
/// `cgroup_procs_write_start`): with nine version 1 hierarchies 0.4 ms in place of 12 ms. The doors
/// keep the rights of the one who opened them, so the process may be in a user namespace already.
#[derive(Debug, Default)]
pub struct Gate {
    doors: Vec<Door>,
}

#[derive(Debug)]
struct Door {
    path: PathBuf,
    file: File,
    unified: bool,
}

impl Gate {
    /// The doors themselves, to be handed to another process: see [`pass`].
    #[must_use]
    pub fn into_files(self) -> Vec<File> {
        self.doors.into_iter().map(|door| door.file).collect()
    }

    /// Closes the slow door of version 2: the clone itself has led through it.
    pub fn was_cloned(&mut self) {
        self.doors.retain(|door| !door.unified);
    }

    /// Moves the calling process, which must have one thread, through all doors.
    pub fn enter(self) -> Result<()> {
        for Door { path, mut file, .. } in self.doors {
            file.write_all(b"0").map_err(|source| CgroupError::Write {
                path,
                value: "0".to_owned(),
                source,
            })?;
        }
        Ok(())
    }
}

/// Moves the calling process through doors that it was handed; true if all let it through.
pub fn pass(doors: &[File]) -> bool {
    doors.iter().all(|mut door| door.write_all(b"0").is_ok())
}

impl Cgroup {
    /// The directory for `clone3(CLONE_INTO_CGROUP)`: on version 2 the container's, on a hybrid host
    /// that of the version 2 part; none with systemd, which makes the cgroup for a running process.
    pub fn into_fd(&self) -> Result<Option<OwnedFd>> {
        self.into_fd_below(&SubCgroup::default())
    }

    /// As [`Cgroup::into_fd`], for `exec --cgroup`.
    pub fn into_fd_below(&self, sub: &SubCgroup) -> Result<Option<OwnedFd>> {
        self.check(sub)?;
        let Some(hierarchy) = self.unified() else {
            return Ok(None);
        };
        if self.may_lack_dir(&hierarchy.dir) {
            return Ok(None);
        }
        open_dir(sub.dir(hierarchy)).map(Some)
    }

    /// Puts process `pid` into the container's cgroup in every hierarchy.
    ///
    /// With systemd this starts the transient unit around it.
    pub fn join(&self, pid: i32) -> Result<()> {
        if let Some(scope) = &self.systemd {
            scope.start(pid)?;
            self.make_dirs(None)?;
        }
        self.join_below(pid, &SubCgroup::default())
    }

    /// Opens the doors for a new process to go through itself.
    ///
    /// `cloned` says that the process will be cloned into [`Cgroup::into_fd`] already. Version 2 has
    /// no quick door, so that is the way to go there.
    pub fn gate(&self, cloned: bool) -> Result<Gate> {
        self.gate_below(&SubCgroup::default(), cloned)
    }

    /// As [`Cgroup::gate`], for `exec --cgroup`.
    pub fn gate_below(&self, sub: &SubCgroup, cloned: bool) -> Result<Gate> {
        self.check(sub)?;
        let mut doors = Vec::new();
        for hierarchy in &self.hierarchies {
            if (hierarchy.unified && cloned) || self.may_lack_dir(&hierarchy.dir) {
                continue;
            }
            doors.push(door(&sub.dir(hierarchy), hierarchy.unified)?);
        }
        Ok(Gate { doors })
    }

    /// The directory to clone a process into that joins `init` in a container whose top takes no
    /// processes, because it manages cgroups of its own: where [`Cgroup::into_fd`] gave clone3 an
    /// EBUSY ("no internal processes"). runc goes there, too. `None` if `init` isn't below it.
    pub fn into_fd_beside(&self, init: i32) -> Result<Option<OwnedFd>> {
        match self.dir_of_process(init)? {
            Some(dir) => open_dir(dir).map(Some),
            None => Ok(None),
        }
    }

    /// The file by which a container hands controllers on to cgroups of its own, which it can't as
    /// long as a process is in its topmost one (cgroup-v2.rst, "No Internal Process Constraint").
    pub fn control_file(&self) -> Option<PathBuf> {
        let hierarchy = self.unified()?;
        Some(hierarchy.dir.join("cgroup.subtree_control"))
    }

    /// Puts `pid` where `init` is on version 2, if that has gone to a cgroup below the container's.
    pub fn follow(&self, init: i32, pid: i32) -> Result<()> {
        match (self.dir_of_process(init)?, self.unified()) {
            (Some(dir), Some(hierarchy)) if dir != hierarchy.dir => put(&dir, pid),
            _ => Ok(()),
        }
    }

    /// Doors back to where this process is now, in the container's hierarchies, and the directory
    /// to clone into for the way back on version 2.
    pub fn gate_back(&self) -> Result<(Option<OwnedFd>, Gate)> {
        let host = super::Host::read()?;
        let (mut into, mut doors) = (None, Vec::new());
        for hierarchy in &self.hierarchies {
            let Some(mount) = host.mounts.iter().find(|m| m.point == hierarchy.mount) else {
                continue;
            };
            let dir = mount.point.join(host.own_path(mount)?);
            doors.push(door(&dir, hierarchy.unified)?);
            if hierarchy.unified {
                into = Some(open_dir(dir)?);
            }
        }
        Ok((into, Gate { doors }))
    }

    /// Whether process `pid` is in the container's directory of every hierarchy.
    pub fn holds(&self, pid: i32) -> Result<bool> {
        for hierarchy in &self.hierarchies {
            if !super::pids::pids_in(&hierarchy.dir, true)?.contains(&pid) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The container's directory below the mount point, if it is the same in every hierarchy.
    pub fn common_path(&self) -> Option<PathBuf> {
        let below = |h: &Hierarchy| h.dir.strip_prefix(&h.mount).map(Path::to_owned).ok();
        let first = below(self.hierarchies.first()?)?;
        let same = self
            .hierarchies
            .iter()
            .all(|hierarchy| below(hierarchy).as_ref() == Some(&first));
        same.then_some(first)
    }

    /// As [`Cgroup::common_path`], but below the cgroup that this process is in, in each hierarchy.
    pub fn common_path_from_here(&self) -> Result<Option<PathBuf>> {
        let host = super::Host::read()?;
        let mut common = None;
        for hierarchy in &self.hierarchies {
            let mount = host.mounts.iter().find(|m| m.point == hierarchy.mount);
            let Some(mount) = mount else { return Ok(None) };
            let own = mount.point.join(host.own_path(mount)?);
            let Ok(below) = hierarchy.dir.strip_prefix(&own) else {
                return Ok(None);
            };
            if *common.get_or_insert_with(|| below.to_owned()) != below {
                return Ok(None);
            }
        }
        Ok(common)
    }

    /// Takes properties of systemd's unit from annotations; without systemd they mean nothing, as in
    /// runc.
    pub fn annotate<'a>(
        &mut self,
        annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<()> {
        match &mut self.systemd {
            Some(scope) => scope.annotate(annotations),
            None => Ok(()),
        }
    }

    /// Leaves the unit to nobody: the directories are made by hand, at the same paths.
    pub fn without_systemd(&mut self) {
        self.systemd = None;
    }

    fn join_below(&self, pid: i32, sub: &SubCgroup) -> Result<()> {
        self.check(sub)?;
        for hierarchy in &self.hierarchies {
            if !self.may_lack_dir(&hierarchy.dir) {
                put(&sub.dir(hierarchy), pid)?;
            }
        }
        Ok(())
    }

    /// A controller that the container has no cgroup for can't be meant.
    fn check(&self, sub: &SubCgroup) -> Result<()> {
        for controller in sub.paths.keys().filter(|name| !name.is_empty()) {
            if self.v1(controller).is_none() {
                return Err(bad(
                    controller,
                    "names a controller that the container has no cgroup of",
                ));
            }
        }
        Ok(())
    }

    fn dir_of_process(&self, pid: i32) -> Result<Option<PathBuf>> {
        let Some(hierarchy) = self.unified() else {
            return Ok(None);
        };
        let text = file::read(Path::new("/proc"), &format!("{pid}/cgroup"))?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let dir = own.map(|path| hierarchy.mount.join(path));
        Ok(dir.filter(|dir| dir.starts_with(&hierarchy.dir)))
    }
}

/// Version 1 moves a single thread through `tasks` without the lock; version 2 only takes whole
/// processes.
fn door(dir: &Path, unified: bool) -> Result<Door> {
    let path = dir.join(if unified { "cgroup.procs" } else { "tasks" });
    match file::open_for_write(&path) {
        Ok(file) => Ok(Door {
            path,
            file,
            unified,
        }),
        Err(source) => Err(CgroupError::Open { path, source }),
    }
}

fn open_dir(path: PathBuf) -> Result<OwnedFd> {
    let open = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(&path);
    match open {
        Ok(dir) => Ok(dir.into()),
        Err(source) => Err(CgroupError::Open { path, source }),
    }
}

fn put(dir: &Path, pid: i32) -> Result<()> {
    let value = pid.to_string();
    for _ in 1..TRIES {
        match file::write(dir, "cgroup.procs", &value) {
            Err(error) if error.errno() == Some(libc::EINVAL) => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
    file::write(dir, "cgroup.procs", &value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::{Real, in_v2_view};

    fn sub(values: &[&str]) -> Result<SubCgroup> {
        SubCgroup::parse(&values.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn sub_cgroup_arguments() {
        for good in [&["a/b"][..], &["/a"], &["cpu,memory:a", "pids:b/c"], &[]] {
            sub(good).unwrap();
        }
        for bad in [
            &["../a"][..],
            &["a/../../b"],
            &["a", "b"],
            &["cpu:a:b"],
            &["cpu:a", "cpu:b"],
        ] {
            assert!(sub(bad).is_err(), "{bad:?}");
        }
    }

    fn place(pid: i32, hierarchy: &Hierarchy) -> String {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let matches = |line: &&str| match hierarchy.controllers.first() {
            Some(name) => line
                .split(':')
                .nth(1)
                .unwrap()
                .split(',')
                .any(|c| c == name),
            None => line.starts_with("0::"),
        };
        text.lines().find(matches).unwrap().to_owned()
    }

    #[test]
    fn a_process_goes_below() {
        let mut real = Real::created();
        let pid = real.outsider();
        let error = real
            .cgroup
            .join_below(pid, &sub(&["inner"]).unwrap())
            .unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT));
        for hierarchy in &real.cgroup.hierarchies {
            std::fs::create_dir(hierarchy.dir.join("inner")).unwrap();
        }
        if let Some(cpuset) = real.cgroup.v1("cpuset") {
            for name in ["cpuset.cpus", "cpuset.mems"] {
                let value = file::read(&cpuset.dir, name).unwrap();
                file::write(&cpuset.dir.join("inner"), name, &value).unwrap();
            }
        }
        real.cgroup
            .join_below(pid, &sub(&["inner"]).unwrap())
            .unwrap();
        for hierarchy in &real.cgroup.hierarchies {
            assert!(place(pid, hierarchy).ends_with("/inner"));
        }
        assert_eq!(real.cgroup.pids(true).unwrap(), [pid]);
        assert!(real.cgroup.pids(false).unwrap().is_empty());
    }

    #[test]
    fn one_controller_goes_below() {
        let mut real = Real::created();
        let pid = real.outsider();
        assert!(
            real.cgroup
                .join_below(pid, &sub(&["nosuch:inner"]).unwrap())
                .is_err()
        );
        let Some(pids) = real.cgroup.v1("pids") else {
            println!("no version 1 pids controller here");
            return;
        };
        std::fs::create_dir(pids.dir.join("inner")).unwrap();
        real.cgroup
            .join_below(pid, &sub(&["pids:inner"]).unwrap())
            .unwrap();
        assert!(place(pid, pids).ends_with("/inner"));
        assert!(!place(pid, real.cgroup.v1("cpu").unwrap()).ends_with("/inner"));
    }

    #[test]
    fn a_process_lets_itself_in() {
        let real = Real::created();
        // `sh` does what a child of ours would do with the doors.
        let doors = real.cgroup.gate(false).unwrap();
        let script: Vec<_> = doors
            .doors
            .iter()
            .map(|door| format!("echo 0 >'{}'", door.path.display()))
            .collect();
        let script = format!("{} && cat /proc/self/cgroup", script.join(" && "));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let name = real
            .cgroup
            .path()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        let inside = text.lines().filter(|line| line.ends_with(name)).count();
        assert_eq!(inside, real.cgroup.hierarchies.len(), "{text}");
        assert_eq!(
            real.cgroup.gate(true).unwrap().doors.len() + 1,
            doors.doors.len()
        );
    }

    #[test]
    fn a_thread_goes_through_the_doors() {
        let real = Real::created();
        let doors = real.cgroup.gate(true).unwrap();
        // Version 1 moves the one thread that writes, so a thread of this test will do.
        let inside = std::thread::spawn(|| {
            doors.enter().unwrap();
            std::fs::read_to_string("/proc/thread-self/cgroup").unwrap()
        });
        let text = inside.join().unwrap();
        let name = real.cgroup.path().unwrap();
        let name = name.file_name().unwrap().to_str().unwrap();
        let count = text.lines().filter(|line| line.ends_with(name)).count();
        let v1 = real.cgroup.hierarchies.iter().filter(|h| !h.unified);
        assert_eq!(count, v1.count(), "{text}");
    }

    #[test]
    #[ignore = "run by `the_same_on_version_2` in a namespace of its own"]
    fn v2_view() {
        a_process_goes_below();
        let mut real = Real::created();
        let init = real.sleeper();
        let dir = real.cgroup.path().unwrap().to_owned();
        // What an init in the container does: leave the top, then hand out controllers.
        std::fs::create_dir(dir.join("init")).unwrap();
        file::write(&dir.join("init"), "cgroup.procs", &init.to_string()).unwrap();
        file::write(&dir, "cgroup.subtree_control", "+hugetlb").unwrap();
        let pid = real.outsider();
        assert_eq!(
            real.cgroup.join(pid).unwrap_err().errno(),
            Some(libc::EBUSY)
        );
        assert!(real.cgroup.into_fd().unwrap().is_some());
        assert!(real.cgroup.into_fd_beside(init).unwrap().is_some());
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(real.cgroup.into_fd_beside(own).unwrap().is_none());
        assert!(real.cgroup.into_fd_below(&sub(&["none"]).unwrap()).is_err());
    }

    #[test]
    fn the_same_on_version_2() {
        in_v2_view("cgroup::join::tests::v2_view");
    }
}
