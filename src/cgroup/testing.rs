//! What the tests of this room share: fake hosts in temporary directories, real cgroups with
//! sleeping processes in them, and the pure version 2 view of a hybrid machine.
//! It must not be part of the binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Cgroup, Host, Mount, Setup};

pub struct FakeHost {
    pub host: Host,
    /// Holds the directory until the test is over.
    _dir: tempfile::TempDir,
}

impl FakeHost {
    pub fn legacy(controllers: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounts = controllers
            .iter()
            .map(|name| Mount {
                point: dir.path().join(name),
                root: PathBuf::from("/"),
                controllers: vec![name.to_string()],
                unified: false,
            })
            .collect();
        Self::new(dir, Setup::Legacy, mounts)
    }

    pub fn unified() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let point = dir.path().join("cg");
        let mount = Mount {
            point,
            root: "/".into(),
            controllers: vec![],
            unified: true,
        };
        Self::new(dir, Setup::Unified, vec![mount])
    }

    fn new(dir: tempfile::TempDir, setup: Setup, mounts: Vec<Mount>) -> Self {
        let own = dir.path().join("own");
        std::fs::write(&own, "").unwrap();
        for mount in &mounts {
            std::fs::create_dir_all(&mount.point).unwrap();
        }
        Self {
            host: Host { setup, mounts, own },
            _dir: dir,
        }
    }

    pub fn own(&self, text: &str) {
        std::fs::write(&self.host.own, text).unwrap();
    }

    /// A planned cgroup whose directories exist and hold `files`, empty.
    pub fn cgroup(&self, files: &[&str]) -> Cgroup {
        let path = Some(Path::new("/box"));
        let cgroup =
            Cgroup::plan_on(&self.host, path, "box", Path::new("/r"), false, false).unwrap();
        for hierarchy in &cgroup.hierarchies {
            std::fs::create_dir_all(&hierarchy.dir).unwrap();
            let prefixes = &hierarchy.controllers;
            for file in files {
                let owner = file.split('.').next().unwrap();
                if hierarchy.unified || prefixes.iter().any(|p| p == owner) {
                    std::fs::write(hierarchy.dir.join(file), "").unwrap();
                }
            }
        }
        cgroup
    }

    pub fn read(&self, cgroup: &Cgroup, controller: &str, file: &str) -> String {
        let dir = cgroup.dir_of(controller).unwrap();
        std::fs::read_to_string(dir.join(file)).unwrap()
    }
}

/// A real cgroup of this machine, gone when the test is.
pub struct Real {
    pub cgroup: Cgroup,
    children: Vec<Child>,
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Real {
    pub fn planned() -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("pxrun-test-{}-{number}", std::process::id());
        let root = PathBuf::from(format!("/tmp/{id}"));
        let cgroup = Cgroup::plan(None, &id, &root, false, false).unwrap();
        Self {
            cgroup,
            children: Vec::new(),
        }
    }

    pub fn created() -> Self {
        let real = Self::planned();
        real.cgroup.create(None).unwrap();
        real
    }

    pub fn sleeper(&mut self) -> i32 {
        let pid = self.outsider();
        self.cgroup.join(pid).unwrap();
        pid
    }

    /// A sleeping process that isn't put in the cgroup.
    pub fn outsider(&mut self) -> i32 {
        self.outsider_of("exec sleep 600")
    }

    /// A process that runs `script` and isn't put in the cgroup.
    pub fn outsider_of(&mut self, script: &str) -> i32 {
        let mut command = Command::new("sh");
        let command = command.args(["-c", script]).stdin(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.children.push(child);
        pid
    }

    /// Reaps the children, so that their ends are seen.
    pub fn reap(&mut self) -> Vec<std::process::ExitStatus> {
        self.children
            .drain(..)
            .map(|mut child| child.wait().unwrap())
            .collect()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.cgroup.thaw();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Err(error) = self.cgroup.remove() {
            eprintln!("{error}");
        }
    }
}

/// A sleeping container of the installed runc, to compare with; gone when the test is.
pub struct Runc {
    pub id: String,
    /// The same cgroup as ours to read.
    pub cgroup: Cgroup,
    root: tempfile::TempDir,
}

impl Runc {
    /// Starts one with these `linux.resources`; `None`, and a word why, where there is no runc.
    pub fn start(resources: &serde_json::Value) -> Option<Self> {
        if Command::new("runc").arg("--version").output().is_err() {
            println!("no runc here to compare with");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("pxrun-test-runc-{}-{number}", std::process::id());
        let path = format!("/{id}/x");
        let plan = Cgroup::plan(Some(Path::new(&path)), &id, root.path(), false, false);
        let runc = Self {
            id,
            cgroup: plan.unwrap(),
            root,
        };
        runc.bundle(&path, resources);
        let script = "busybox=$(command -v busybox) && mkdir -p rootfs/bin \
                      && cp \"$busybox\" rootfs/bin/sleep \
                      && runc --root root run -d \"$0\" </dev/null >out 2>&1 || { cat out >&2; exit 1; }";
        let mut command = Command::new("sh");
        let command = command
            .args(["-c", script, &runc.id])
            .current_dir(runc.root.path());
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(runc)
    }

    fn bundle(&self, path: &str, resources: &serde_json::Value) {
        self.runc(&["spec"]);
        let file = self.root.path().join("config.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["process"]["args"] = serde_json::json!(["sleep", "600"]);
        config["process"]["terminal"] = false.into();
        config["linux"]["cgroupsPath"] = path.into();
        config["linux"]["resources"] = resources.clone();
        std::fs::write(file, config.to_string()).unwrap();
    }

    /// What a runc command prints.
    pub fn runc(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("runc");
        let command = command.args(["--root", "root"]).args(arguments);
        let output = command.current_dir(self.root.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Runc {
    fn drop(&mut self) {
        let mut command = Command::new("runc");
        let command = command.args(["--root", "root", "delete", "-f", &self.id]);
        let _ = command.current_dir(self.root.path()).output();
        for hierarchy in &self.cgroup.hierarchies {
            let _ = std::fs::remove_dir(hierarchy.dir.parent().unwrap());
        }
    }
}

/// Runs an ignored test of this binary in a mount namespace whose `/sys/fs/cgroup` is cgroup2.
pub fn in_v2_view(test: &str) {
    rerun(test, true, &[]);
}

/// Runs an ignored test of this binary in a process of its own, with `environment`, and in the
/// version 2 view if `v2`.
pub fn rerun(test: &str, v2: bool, environment: &[(&str, &str)]) {
    let view = if v2 {
        "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup &&"
    } else {
        ""
    };
    let script = format!("{view} exec \"$0\" --exact \"$1\" --ignored --nocapture");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{text}{}", String::from_utf8_lossy(&output.stderr));
}
