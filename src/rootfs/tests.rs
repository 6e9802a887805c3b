//! Tests on real mounts: each builds a bundle, prepares it in a private mount namespace, attaches it
//! in a child with namespaces of its own and looks at the result from inside.

mod content;
mod hostile;
mod likeness;
mod places;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use libcgroups::common::{CgroupSetup, get_cgroup_setup};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::*;
use crate::sys::forked;

/// A bundle and how to run it.
struct Bundle {
    dir: tempfile::TempDir,
    config: Value,
    no_pivot: bool,
    namespaces: CloneFlags,
}

const MAP_BASE: u32 = 100_000;

impl Bundle {
    /// A root with empty directories and a configuration with proc and a /dev.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A user namespace must be able to come by.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["proc", "dev", "sys", "etc", "bin", "tmp"] {
            fs::create_dir_all(dir.path().join("rootfs").join(name)).unwrap();
        }
        let config = json!({
            "ociVersion": "1.2.0",
            "process": {"cwd": "/", "args": ["/bin/cat", "/proc/self/mountinfo"],
                "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            ],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}]},
        });
        Self {
            dir,
            config,
            no_pivot: false,
            namespaces: CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWIPC,
        }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn mount(&mut self, mount: Value) -> &mut Self {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    /// A bind of `source` (made as a directory below the bundle) at `/vol`.
    fn volume(&mut self, options: &[&str]) -> PathBuf {
        let source = self.path("source");
        fs::create_dir_all(&source).unwrap();
        self.mount(
            json!({"destination": "/vol", "type": "bind", "source": source,
            "options": options}),
        );
        source
    }

    fn namespace(&mut self, name: &str, flag: CloneFlags) -> &mut Self {
        let list = self.config["linux"]["namespaces"].as_array_mut().unwrap();
        list.push(json!({"type": name}));
        self.namespaces |= flag;
        self
    }

    fn userns(&mut self) -> &mut Self {
        self.namespace("user", CloneFlags::CLONE_NEWUSER);
        let map = json!([{"containerID": 0, "hostID": MAP_BASE, "size": 65536}]);
        self.config["linux"]["uidMappings"] = map.clone();
        self.config["linux"]["gidMappings"] = map;
        chown(self.path("rootfs"), Some(MAP_BASE), Some(MAP_BASE)).unwrap();
        for entry in fs::read_dir(self.path("rootfs")).unwrap() {
            chown(entry.unwrap().path(), Some(MAP_BASE), Some(MAP_BASE)).unwrap();
        }
        self
    }

    fn plan(&self) -> Result<Plan, RootfsError> {
        let spec: Spec = serde_json::from_value(self.config.clone()).unwrap();
        let setup = get_cgroup_setup().unwrap();
        Plan::new(&spec, self.dir.path(), &Facts::new(&spec, &setup, false))
    }

    /// Builds the root and runs `probe` in it.
    fn probe(&self, probe: impl FnOnce() -> String) -> Result<String, String> {
        self.probe_on(|| (), probe)
    }

    /// The same after `host` has changed a private copy of the host's mounts.
    fn probe_on(
        &self,
        host: impl FnOnce(),
        probe: impl FnOnce() -> String,
    ) -> Result<String, String> {
        forked::run(
            CloneFlags::empty(),
            |_| (),
            || {
                nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
                propagate("/", MsFlags::MS_PRIVATE | MsFlags::MS_REC);
                host();
                let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
                let map = |pid| self.write_maps(pid);
                let (prepared, own, namespaces) = self.prepare()?;
                let result = forked::run(namespaces, map, || self.build(prepared, probe));
                drop(own);
                let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
                assert_eq!(before, after, "mounts leaked to the host");
                result
            },
        )
    }

    /// As the embedded backend does it, and what is left for the clone to make.
    fn prepare(&self) -> Result<(Prepared, Option<OwnNamespace>, CloneFlags), String> {
        let plan = self.plan().map_err(chain)?;
        let mount_only = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUSER;
        if self.namespaces & mount_only != CloneFlags::CLONE_NEWNS {
            return Ok((plan.prepare().map_err(chain)?, None, self.namespaces));
        }
        let own = OwnNamespace::enter().unwrap();
        let prepared = plan.prepare_in(&own).map_err(chain)?;
        let rest = self.namespaces - CloneFlags::CLONE_NEWNS;
        Ok((prepared, Some(own), rest))
    }

    fn build(
        &self,
        mut prepared: Prepared,
        probe: impl FnOnce() -> String,
    ) -> Result<String, String> {
        if self.namespaces.contains(CloneFlags::CLONE_NEWUSER) {
            nix::unistd::setgid(0.into()).unwrap();
            nix::unistd::setuid(0.into()).unwrap();
        }
        prepared.enter().map_err(chain)?;
        prepared.mount_all().map_err(chain)?;
        prepared.pivot(self.no_pivot).map_err(chain)?;
        prepared.reopen_dev_null().map_err(chain)?;
        prepared.seal().map_err(chain)?;
        Ok(probe())
    }

    fn write_maps(&self, pid: Pid) {
        if self.namespaces.contains(CloneFlags::CLONE_NEWUSER) {
            for file in ["uid_map", "gid_map"] {
                let path = format!("/proc/{pid}/{file}");
                fs::write(path, format!("0 {MAP_BASE} 65536\n")).unwrap();
            }
        }
    }

    /// The mount table that runc shows for the same bundle. `None`, with the reason printed,
    /// on a machine without runc.
    fn runc(&self, host: impl FnOnce()) -> Option<String> {
        if Command::new("runc").arg("--version").output().is_err() {
            println!("not compared: runc is not installed");
            return None;
        }
        forked::copy_program("/bin/busybox".as_ref(), &self.path("rootfs/bin/cat"));
        let text = serde_json::to_vec(&self.config).unwrap();
        fs::write(self.path("config.json"), text).unwrap();
        let id = format!("t{}", std::process::id());
        let name = self.dir.path().file_name().unwrap().to_str().unwrap();
        let id = format!("{id}{}", name.trim_start_matches('.'));
        let table = forked::run(
            CloneFlags::empty(),
            |_| (),
            || {
                nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
                propagate("/", MsFlags::MS_PRIVATE | MsFlags::MS_REC);
                host();
                let run = Command::new("runc")
                    .args(["run", "--bundle"])
                    .arg(self.dir.path())
                    .arg(id)
                    .output()
                    .unwrap();
                if run.status.success() {
                    Ok(String::from_utf8(run.stdout).unwrap())
                } else {
                    Err(String::from_utf8(run.stderr).unwrap())
                }
            },
        );
        Some(table.unwrap())
    }
}

fn chain(error: RootfsError) -> String {
    let source = std::error::Error::source(&error);
    match source {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn propagate(path: &str, flags: MsFlags) {
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).unwrap();
}

fn tmpfs(path: &Path, flags: MsFlags) {
    fs::create_dir_all(path).unwrap();
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, None::<&str>).unwrap();
}

fn mountinfo() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// `mount point, root, options, propagation, type`, without ids; the number of a peer group differs
/// from run to run.
fn table(mountinfo: &str) -> Vec<String> {
    let letters = |field: &str| field.split(':').next().unwrap().to_owned();
    mountinfo
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let dash = fields.iter().position(|f| *f == "-").unwrap();
            let propagation: Vec<String> = fields[6..dash].iter().map(|f| letters(f)).collect();
            format!(
                "{} {} {} {propagation:?} {}",
                fields[4],
                fields[3],
                fields[5],
                fields[dash + 1]
            )
        })
        .collect()
}

fn line_of(mountinfo: &str, point: &str) -> String {
    let point = format!("{point} ");
    let table = table(mountinfo);
    let found = table.iter().rev().find(|line| line.starts_with(&point));
    found
        .unwrap_or_else(|| panic!("no {point}in {table:#?}"))
        .clone()
}

fn is_read_only(path: &str) -> bool {
    let error = fs::write(Path::new(path).join("probe"), "").unwrap_err();
    error.raw_os_error() == Some(libc::EROFS)
}
