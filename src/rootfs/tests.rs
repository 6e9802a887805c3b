//! Tests on real mounts: each builds a bundle, prepares it in a private mount namespace, attaches it
//! in a child with namespaces of its own and looks at the result from inside.

use std::fs;
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
                let prepared = self.plan().map_err(chain)?.prepare().map_err(chain)?;
                let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
                let map = |pid| self.write_maps(pid);
                let result = forked::run(self.namespaces, map, || self.build(prepared, probe));
                let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
                assert_eq!(before, after, "mounts leaked to the host");
                result
            },
        )
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

    /// The mount table that runc shows for the same bundle.
    fn runc(&self, host: impl FnOnce()) -> Result<String, String> {
        fs::copy("/bin/busybox", self.path("rootfs/bin/cat")).unwrap();
        let text = serde_json::to_vec(&self.config).unwrap();
        fs::write(self.path("config.json"), text).unwrap();
        let id = format!("t{}", std::process::id());
        let name = self.dir.path().file_name().unwrap().to_str().unwrap();
        let id = format!("{id}{}", name.trim_start_matches('.'));
        forked::run(
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
        )
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

/// The whole table of a usual configuration is runc's, line by line.
#[test]
fn looks_like_runc() {
    let mut bundle = Bundle::new();
    for mount in [
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options":
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options":
            ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options":
            ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options":
            ["nosuid", "noexec", "nodev", "ro"]}),
        json!({"destination": "/ro", "type": "tmpfs", "options": ["ro", "noatime"]}),
        json!({"destination": "/ro/in/it", "type": "tmpfs", "source": "x"}),
    ] {
        bundle.mount(mount);
    }
    bundle.volume(&["rbind", "ro", "nosuid"]);
    bundle.config["root"]["readonly"] = json!(true);
    bundle.config["linux"]["readonlyPaths"] =
        json!(["/proc/sys", "/proc/bus", "/proc/missing", "/proc/sys"]);
    bundle.config["linux"]["maskedPaths"] = json!([
        "/proc/kcore",
        "/proc/acpi",
        "/proc/keys",
        "/sys/firmware",
        "/missing",
        "/proc/keys"
    ]);
    let ours = bundle.probe(mountinfo).unwrap();
    let runc = bundle.runc(|| ()).unwrap();
    // runc mounts a path that is listed twice twice.
    let mut expected = table(&runc);
    let twice = expected
        .iter()
        .rposition(|l| l.starts_with("/proc/sys "))
        .unwrap();
    expected.remove(twice);
    let twice = expected
        .iter()
        .rposition(|l| l.starts_with("/proc/keys "))
        .unwrap();
    expected.remove(twice);
    // The kernel lists mounts in the order they were made; clones are made before.
    let mut ours = table(&ours);
    ours.sort();
    expected.sort();
    assert_eq!(ours, expected);
}

/// Propagation of root and volumes, on a host whose mounts are shared, against runc.
#[test]
fn propagation_is_that_of_runc() {
    // (rootfsPropagation, options of the volume, the same as runc 1.1)
    let cases: &[(Option<&str>, &[&str], bool)] = &[
        (None, &["rbind"], true),
        (None, &["bind"], true),
        (None, &["rbind", "rprivate"], true),
        (None, &["rbind", "rshared"], true),
        (None, &["rbind", "shared"], true),
        (None, &["rbind", "slave"], true),
        (None, &["rbind", "runbindable"], true),
        (Some("rslave"), &["rbind"], true),
        (Some("rprivate"), &["rbind"], true),
        (Some("rprivate"), &["rbind", "rshared"], true),
        (Some("shared"), &["rbind", "rshared"], true),
        (Some("rshared"), &["rbind"], true),
        (Some("rshared"), &["rbind", "rslave"], true),
        // Cut from the host, where runc leaves volumes in its peer group.
        (Some("slave"), &["rbind"], false),
        (Some("private"), &["rbind"], false),
    ];
    for (root, options, same) in cases {
        let mut bundle = Bundle::new();
        let source = bundle.volume(options);
        if let Some(root) = root {
            bundle.config["linux"]["rootfsPropagation"] = json!(root);
        }
        let host = || {
            tmpfs(&source, MsFlags::empty());
            tmpfs(&source.join("sub"), MsFlags::empty());
            for path in [&source, &source.join("sub")] {
                propagate(path.to_str().unwrap(), MsFlags::MS_SHARED);
            }
        };
        let ours = bundle.probe_on(host, mountinfo).unwrap();
        let runc = bundle.runc(host).unwrap();
        let lines = |text: &str| -> Vec<String> {
            let table = table(text).into_iter();
            table.filter(|line| line.starts_with("/vol")).collect()
        };
        let what = format!("{root:?} {options:?}");
        if *same {
            assert_eq!(lines(&ours), lines(&runc), "{what}");
        } else {
            assert!(lines(&ours).iter().all(|l| !l.contains("shared")), "{what}");
        }
    }
}

/// runc 1.1 sets no propagation on the root and fails for unbindable; the specification asks for it.
#[test]
fn root_gets_its_propagation() {
    for (word, expected) in [
        ("shared", "[\"shared\"]"),
        ("rshared", "[\"shared\"]"),
        ("unbindable", "[\"unbindable\"]"),
        ("runbindable", "[\"unbindable\"]"),
        ("private", "[]"),
        ("rslave", "[\"master\"]"),
    ] {
        let mut bundle = Bundle::new();
        bundle.config["linux"]["rootfsPropagation"] = json!(word);
        let root = bundle.path("rootfs");
        let host = || {
            let flags = MsFlags::MS_BIND;
            mount(Some(&root), &root, None::<&str>, flags, None::<&str>).unwrap();
            propagate(root.to_str().unwrap(), MsFlags::MS_SHARED);
        };
        let line = line_of(&bundle.probe_on(host, mountinfo).unwrap(), "/");
        assert!(line.contains(expected), "{word}: {line}");
    }
}

/// Hostile links stay inside the root, and only missing mount points are written to it.
#[test]
fn links_stay_inside() {
    let mut bundle = Bundle::new();
    let outside = bundle.path("outside");
    fs::create_dir(&outside).unwrap();
    let root = bundle.path("rootfs");
    fs::remove_dir(root.join("etc")).unwrap();
    symlink("/../../outside", root.join("etc")).unwrap();
    symlink("../../../../../../../../outside", root.join("run")).unwrap();
    bundle.mount(json!({"destination": "/etc/a", "type": "tmpfs"}));
    bundle.mount(json!({"destination": "/run/b", "type": "bind", "source": "/dev/null"}));
    let inside = bundle.probe(mountinfo).unwrap();
    assert!(line_of(&inside, "/outside/a").ends_with("tmpfs"));
    assert!(line_of(&inside, "/outside/b").contains("/null"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let made: Vec<_> = fs::read_dir(&root)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(made.len(), 8, "{made:?}");
    assert!(root.join("outside/b").is_file());
    assert_eq!(fs::read_dir(root.join("dev")).unwrap().count(), 0);
}

#[test]
fn proc_and_sysfs_need_an_ordinary_directory() {
    for (destination, fstype) in [("/proc", "proc"), ("/sys", "sysfs")] {
        for target in ["/etc", "/missing"] {
            let mut bundle = Bundle::new();
            let path = bundle.path("rootfs").join(&destination[1..]);
            fs::remove_dir(&path).unwrap();
            symlink(target, &path).unwrap();
            bundle.config["mounts"] = json!([{"destination": destination, "type": fstype}]);
            let error = bundle.probe(String::new).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "mounts[0] `{destination}`: must be mounted on an ordinary directory, not \
                     through a symbolic link"
                )
            );
        }
    }
}

#[test]
fn nothing_gets_into_proc() {
    // (destination, type, source, link in the root, error)
    let cases = [
        ("/proc/sys", "bind", "/tmp", None, Some("lies inside /proc")),
        (
            "/tmp/../proc/x",
            "tmpfs",
            "x",
            None,
            Some("lies inside /proc"),
        ),
        (
            "/proc",
            "tmpfs",
            "x",
            None,
            Some("only procfs may be mounted on /proc"),
        ),
        (
            "/proc",
            "bind",
            "/tmp",
            None,
            Some("only procfs may be mounted on /proc"),
        ),
        (
            "/a/sys",
            "bind",
            "/tmp",
            Some(("a", "/proc")),
            Some("leads into /proc"),
        ),
        (
            "/a",
            "tmpfs",
            "x",
            Some(("a", "proc/self/attr")),
            Some("leads into /proc"),
        ),
        ("/proc", "bind", "/proc", None, None),
        ("/proc/uptime", "bind", "/dev/null", None, None),
        ("/proc/net/dev", "bind", "/dev/null", None, None),
    ];
    for (destination, fstype, source, link, expected) in cases {
        let mut bundle = Bundle::new();
        if let Some((name, target)) = link {
            symlink(target, bundle.path("rootfs").join(name)).unwrap();
        }
        bundle.mount(json!({"destination": destination, "type": fstype, "source": source}));
        let result = bundle.probe(String::new);
        let expected = expected.map(|why| format!("mounts[2] `{destination}`: {why}"));
        assert_eq!(result.err(), expected, "{destination} {fstype} {source}");
    }
}

/// A magic link would lead out of the root whatever openat2 is told about the rest.
#[test]
fn magic_links_are_refused() {
    let mut bundle = Bundle::new();
    symlink("/proc/self/root/etc", bundle.path("rootfs/a")).unwrap();
    bundle.mount(json!({"destination": "/a", "type": "tmpfs"}));
    let error = bundle.probe(String::new).unwrap_err();
    assert!(
        error.starts_with("mounts[2] `/a`: open the destination: ELOOP"),
        "{error}"
    );
}

#[test]
fn errors_name_the_place() {
    // (mount, beginning of the error)
    let cases = [
        (
            json!({"destination": "/v", "type": "bind", "source": "/no/such"}),
            "mounts[2] `/v`: open source `/no/such`: ENOENT",
        ),
        (
            json!({"destination": "/v", "type": "tmpfs", "options": ["size=huge"]}),
            "mounts[2] `/v`: option `size=huge`: tmpfs: Bad value for 'size': EINVAL",
        ),
        (
            json!({"destination": "/v", "type": "nosuchfs"}),
            "mounts[2] `/v`: mount type `nosuchfs`: ENODEV",
        ),
        (
            json!({"destination": "/v", "type": "bind", "source": "/dev/null", "options": ["idmap"]}),
            "mounts[2] `/v`: idmap needs uidMappings and gidMappings, or a user namespace",
        ),
        (
            json!({"destination": "/etc", "type": "bind", "source": "/dev/null"}),
            "mounts[2] `/etc`: attach a directory on a file or a file on a directory: ENOTDIR",
        ),
        (
            json!({"destination": "/", "type": "tmpfs"}),
            "mounts[2] `/`: the root itself",
        ),
        (
            json!({"destination": "/v"}),
            "mounts[2] `/v`: type is missing",
        ),
        (
            json!({"destination": "/v", "type": "bind"}),
            "mounts[2] `/v`: a bind mount needs a source",
        ),
    ];
    for (mount, expected) in cases {
        let mut bundle = Bundle::new();
        bundle.mount(mount);
        let error = bundle.probe(String::new).unwrap_err();
        assert!(error.starts_with(expected), "{error} instead of {expected}");
    }
    let mut bundle = Bundle::new();
    bundle.config["root"]["path"] = json!("missing");
    let error = bundle.probe(String::new).unwrap_err();
    assert!(
        error.contains("/missing`: open the root file system: ENOENT"),
        "{error}"
    );
}

#[test]
fn tmpfs_begins_with_what_it_covers() {
    let mut bundle = Bundle::new();
    let etc = bundle.path("rootfs/etc");
    fs::create_dir(etc.join("d")).unwrap();
    fs::write(etc.join("d/f"), "text").unwrap();
    chown(etc.join("d/f"), Some(5), Some(6)).unwrap();
    fs::set_permissions(etc.join("d/f"), PermissionsExt::from_mode(0o640)).unwrap();
    fs::set_permissions(&etc, PermissionsExt::from_mode(0o711)).unwrap();
    symlink("/bin/x", etc.join("link")).unwrap();
    bundle.mount(json!({"destination": "/etc", "type": "tmpfs",
        "options": ["tmpcopyup", "ro", "size=1m"]}));
    fs::set_permissions(bundle.path("rootfs/bin"), PermissionsExt::from_mode(0o1710)).unwrap();
    bundle.mount(json!({"destination": "/bin", "type": "tmpfs"}));
    bundle.mount(json!({"destination": "/tmp", "type": "tmpfs", "options": ["mode=700"]}));
    let probed = bundle
        .probe(|| {
            let file = fs::metadata("/etc/d/f").unwrap();
            assert!(is_read_only("/etc"));
            assert_eq!(fs::read_link("/etc/link").unwrap(), Path::new("/bin/x"));
            let mode = |path| fs::metadata(path).unwrap().mode();
            format!(
                "{} {}:{} {:o} {:o} {:o} {:o}",
                fs::read_to_string("/etc/d/f").unwrap(),
                file.uid(),
                file.gid(),
                file.mode(),
                mode("/etc"),
                mode("/bin"),
                mode("/tmp"),
            )
        })
        .unwrap();
    assert_eq!(probed, "text 5:6 100640 40711 41710 40700");
}

#[test]
fn idmapped_mounts_show_mapped_owners() {
    let mapping = json!([{"containerID": 0, "hostID": 5000, "size": 100}]);
    // (option, owner of the top file, owner of a file in a mount below)
    for (option, top, below) in [("idmap", 5003, 3), ("ridmap", 5003, 5003), ("", 5003, 3)] {
        let mut bundle = Bundle::new();
        let source = bundle.volume(&["rbind", option]);
        bundle.config["mounts"][2]["uidMappings"] = mapping.clone();
        bundle.config["mounts"][2]["gidMappings"] = mapping.clone();
        let host = || {
            tmpfs(&source.join("sub"), MsFlags::empty());
            for file in [source.join("f"), source.join("sub/f")] {
                fs::write(&file, "").unwrap();
                chown(&file, Some(3), Some(4)).unwrap();
            }
        };
        let probed = bundle.probe_on(host, || {
            let owner = |path| fs::metadata(path).unwrap().uid();
            format!("{} {}", owner("/vol/f"), owner("/vol/sub/f"))
        });
        assert_eq!(probed.unwrap(), format!("{top} {below}"), "{option}");
    }
}

#[test]
fn attributes_reach_as_far_as_they_say() {
    // (options, top read-only, mount below read-only)
    let cases: &[(&[&str], bool, bool)] = &[
        (&["rbind", "ro"], true, false),
        (&["rbind", "rro"], true, true),
        (&["rbind", "ro", "rrw"], true, false),
        (&["rbind", "rro", "rw"], false, true),
        (&["rbind"], false, false),
    ];
    for (options, top, below) in cases {
        let mut bundle = Bundle::new();
        let source = bundle.volume(options);
        let host = || tmpfs(&source.join("sub"), MsFlags::MS_NOSUID);
        let probed = bundle.probe_on(host, || {
            let options = |point| line_of(&mountinfo(), point).contains(" ro,");
            format!("{} {}", options("/vol"), options("/vol/sub"))
        });
        assert_eq!(probed.unwrap(), format!("{top} {below}"), "{options:?}");
    }
}

#[test]
fn devices_and_links() {
    let mut bundle = Bundle::new();
    bundle.config["linux"]["devices"] = json!([
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 3, "gid": 4},
        {"path": "/dev/a/b/fuse", "type": "c", "major": 10, "minor": 229},
        {"path": "/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/dev/disk", "type": "b", "major": 7, "minor": 300},
    ]);
    let probed = bundle
        .probe(|| {
            let mut text = String::new();
            for name in [
                "null", "zero", "full", "random", "urandom", "tty", "a/b/fuse", "disk", "../pipe",
            ] {
                let meta = fs::symlink_metadata(format!("/dev/{name}")).unwrap();
                let (major, minor) = (
                    nix::sys::stat::major(meta.rdev()),
                    nix::sys::stat::minor(meta.rdev()),
                );
                text += &format!(
                    "{name} {:o} {major}:{minor} {}:{}\n",
                    meta.mode(),
                    meta.uid(),
                    meta.gid()
                );
            }
            for name in ["fd", "stdin", "stdout", "stderr", "ptmx"] {
                text += &format!(
                    "{name} {}\n",
                    fs::read_link(format!("/dev/{name}")).unwrap().display()
                );
            }
            text
        })
        .unwrap();
    assert_eq!(
        probed,
        "null 20666 1:3 0:0\nzero 20600 1:5 3:4\nfull 20666 1:7 0:0\nrandom 20666 1:8 0:0\n\
         urandom 20666 1:9 0:0\ntty 20666 5:0 0:0\na/b/fuse 20666 10:229 0:0\ndisk 60666 7:300 0:0\n\
         ../pipe 10622 0:0 0:0\nfd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\n\
         stderr /proc/self/fd/2\nptmx pts/ptmx\n"
    );
}

#[test]
fn a_bound_dev_is_left_alone() {
    let mut bundle = Bundle::new();
    let dev = bundle.path("mydev");
    fs::create_dir(&dev).unwrap();
    bundle.config["mounts"][1] = json!({"destination": "/dev", "type": "bind", "source": dev});
    bundle.probe(String::new).unwrap();
    assert_eq!(fs::read_dir(&dev).unwrap().count(), 0);
}

/// An image without a mount on /dev gets the nodes itself, and nothing goes through its links.
#[test]
fn devices_without_a_mount_on_dev() {
    let mut bundle = Bundle::new();
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    let dev = bundle.path("rootfs/dev");
    fs::write(dev.join("ptmx"), "").unwrap();
    bundle.probe(String::new).unwrap();
    assert!(
        fs::metadata(dev.join("null"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
    assert_eq!(
        fs::read_link(dev.join("ptmx")).unwrap(),
        Path::new("pts/ptmx")
    );

    fs::remove_file(dev.join("null")).unwrap();
    symlink("/etc/passwd", dev.join("null")).unwrap();
    let error = bundle.probe(String::new).unwrap_err();
    assert_eq!(
        error,
        "default device `/dev/null`: something else is there already"
    );
    assert!(!bundle.path("rootfs/etc/passwd").exists());
}

#[test]
fn masked_and_readonly_paths() {
    let mut bundle = Bundle::new();
    let root = bundle.path("rootfs");
    fs::create_dir(root.join("etc/dir")).unwrap();
    fs::create_dir(root.join("etc/dir2")).unwrap();
    for file in ["etc/dir/secret", "etc/dir2/secret", "etc/secret", "tmp/x"] {
        fs::write(root.join(file), "secret").unwrap();
    }
    symlink("/etc/secret", root.join("etc/link")).unwrap();
    bundle.config["linux"]["maskedPaths"] = json!([
        "/etc/dir",
        "/etc/dir2",
        "/etc/link",
        "/etc/none",
        "/etc/secret/below",
        "/etc/dir"
    ]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/tmp", "/etc/none", "/proc/sys"]);
    bundle
        .probe(|| {
            for dir in ["/etc/dir", "/etc/dir2"] {
                assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
                assert!(is_read_only(dir));
            }
            assert_eq!(fs::read("/etc/secret").unwrap(), b"");
            assert!(is_read_only("/tmp"));
            assert!(line_of(&mountinfo(), "/proc/sys").contains(" ro,"));
            fs::write("/etc/new", "").unwrap();
            String::new()
        })
        .unwrap();

    // What stands in for /dev/null must be it.
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    bundle
        .mount(json!({"destination": "/dev", "type": "bind", "source": bundle.path("rootfs/etc")}));
    fs::write(root.join("etc/null"), "").unwrap();
    let error = bundle.probe(String::new).unwrap_err();
    assert_eq!(
        error,
        "linux.maskedPaths[2] `/etc/link`: /dev/null is not the null device"
    );
}

#[test]
fn read_only_root_and_dev() {
    let mut bundle = Bundle::new();
    bundle.config["root"]["readonly"] = json!(true);
    let options = bundle.config["mounts"][1]["options"]
        .as_array_mut()
        .unwrap();
    options.push(json!("ro"));
    bundle
        .probe(|| {
            assert!(is_read_only("/") && is_read_only("/dev"));
            fs::write("/dev/null", "x").unwrap();
            String::new()
        })
        .unwrap();
}

/// Root of a user namespace gets sources that it can't reach, nodes that it can't make, and can't
/// undo what the host has set.
#[test]
fn user_namespace() {
    let mut bundle = Bundle::new();
    bundle.userns();
    let source = bundle.volume(&["rbind", "idmap"]);
    bundle.mount(json!({"destination": "/locked", "type": "bind",
        "source": bundle.path("locked"), "options": ["rbind"]}));
    bundle.mount(
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"]}),
    );
    let locked = bundle.path("locked");
    fs::create_dir(&locked).unwrap();
    let hidden = bundle.path("source");
    let top = bundle.dir.path().to_path_buf();
    let host = || {
        fs::write(source.join("f"), "text").unwrap();
        fs::set_permissions(&hidden, PermissionsExt::from_mode(0o700)).unwrap();
        // The way to root and sources is closed to everybody but the host's root.
        fs::set_permissions(&top, PermissionsExt::from_mode(0o700)).unwrap();
        tmpfs(&locked, MsFlags::empty());
        tmpfs(&locked.join("sub"), MsFlags::empty());
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, &locked, None::<&str>, flags, None::<&str>).unwrap();
    };
    bundle
        .probe_on(host, || {
            assert_eq!(fs::read_to_string("/vol/f").unwrap(), "text");
            assert_eq!(fs::metadata("/vol/f").unwrap().uid(), 0);
            fs::write("/dev/null", "x").unwrap();
            assert!(line_of(&mountinfo(), "/dev/null").contains("/null"));
            assert!(line_of(&mountinfo(), "/sys").contains("ro,"));
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
            let rw = mount(None::<&str>, "/locked", None::<&str>, flags, None::<&str>);
            assert_eq!(rw, Err(nix::errno::Errno::EPERM));
            let bare = nix::mount::umount("/locked/sub");
            assert_eq!(bare, Err(nix::errno::Errno::EINVAL));
            String::new()
        })
        .unwrap();
}

#[test]
fn without_pivot_root() {
    let mut bundle = Bundle::new();
    bundle.no_pivot = true;
    bundle.mount(json!({"destination": "/tmp", "type": "tmpfs"}));
    let inside = bundle.probe(mountinfo).unwrap();
    assert!(line_of(&inside, "/tmp").ends_with("tmpfs"));
    let procs = table(&inside)
        .iter()
        .filter(|l| l.ends_with(" proc"))
        .count();
    assert_eq!(procs, 1, "{inside}");
}

#[test]
fn other_file_systems() {
    let mut bundle = Bundle::new();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(bundle.path(name)).unwrap();
    }
    fs::write(bundle.path("lower/f"), "below").unwrap();
    let option = |name: &str| format!("{name}dir={}", bundle.path(name).display());
    let options = json!([option("lower"), option("upper"), option("work")]);
    bundle.mount(
        json!({"destination": "/o", "type": "overlay", "source": "overlay", "options": options}),
    );
    // iversion has no name in fsconfig(2): this one goes through mount(2).
    bundle.mount(
        json!({"destination": "/i", "type": "tmpfs", "options": ["iversion", "ro", "noexec"]}),
    );
    bundle.mount(
        json!({"destination": "/o", "type": "none", "options": ["remount", "ro", "nosuid"]}),
    );
    bundle.mount(
        json!({"destination": "/link", "type": "bind", "source": bundle.path("link"),
        "options": ["bind", "copy-symlink"]}),
    );
    symlink("to/nowhere", bundle.path("link")).unwrap();
    let inside = bundle
        .probe(|| {
            assert_eq!(fs::read_to_string("/o/f").unwrap(), "below");
            assert_eq!(fs::read_link("/link").unwrap(), Path::new("to/nowhere"));
            mountinfo()
        })
        .unwrap();
    assert!(line_of(&inside, "/o").contains("ro,nosuid,"), "{inside}");
    assert!(line_of(&inside, "/i").contains("ro,noexec,"), "{inside}");
}

/// The machine's own arrangement, with and without a cgroup namespace, against runc.
#[test]
fn cgroups_of_the_host() {
    if matches!(get_cgroup_setup().unwrap(), CgroupSetup::Unified) {
        println!("skipped: this host has no cgroup v1");
        return;
    }
    for namespaced in [false, true] {
        let mut bundle = Bundle::new();
        bundle.mount(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
        bundle.mount(
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
        );
        if namespaced {
            bundle.namespace("cgroup", CloneFlags::CLONE_NEWCGROUP);
        }
        let ours = bundle.probe(mountinfo).unwrap();
        let runc = bundle.runc(|| ()).unwrap();
        let points = |text: &str| -> Vec<String> {
            let table = table(text).into_iter();
            let cgroups = table.filter(|line| line.starts_with("/sys/fs/cgroup/"));
            // The cgroup itself differs: runc made one.
            cgroups
                .map(|line| {
                    let fields: Vec<&str> = line.split(' ').collect();
                    format!("{} {} {}", fields[0], fields[2], fields[4])
                })
                .collect()
        };
        assert_eq!(points(&ours), points(&runc), "namespaced: {namespaced}");
        assert!(points(&ours).len() > 1);
        assert!(line_of(&ours, "/sys/fs/cgroup").contains("ro,nosuid"));
    }
}

#[test]
fn unified_cgroups() {
    for namespaced in [false, true] {
        let mut bundle = Bundle::new();
        bundle.mount(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
        bundle.mount(
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
        );
        if namespaced {
            bundle.namespace("cgroup", CloneFlags::CLONE_NEWCGROUP);
        }
        let host = || {
            let none = None::<&str>;
            nix::mount::umount2("/sys/fs/cgroup", nix::mount::MntFlags::MNT_DETACH).unwrap();
            mount(
                Some("cgroup2"),
                "/sys/fs/cgroup",
                Some("cgroup2"),
                MsFlags::empty(),
                none,
            )
            .unwrap();
        };
        let inside = bundle.probe_on(host, mountinfo).unwrap();
        let line = line_of(&inside, "/sys/fs/cgroup");
        assert!(
            line.contains("/sys/fs/cgroup / ro,nosuid,nodev,noexec") && line.ends_with("cgroup2"),
            "{line}"
        );
    }
}

/// Without a mount namespace the root is mounted in the caller's, as in runc.
#[test]
fn without_a_mount_namespace() {
    let mut bundle = Bundle::new();
    let list = bundle.config["linux"]["namespaces"].as_array_mut();
    list.unwrap().remove(0);
    bundle.namespaces.remove(CloneFlags::CLONE_NEWNS);
    let root = bundle.path("rootfs");
    let result = forked::run(
        CloneFlags::empty(),
        |_| (),
        || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
            propagate("/", MsFlags::MS_PRIVATE | MsFlags::MS_REC);
            let prepared = bundle.plan().map_err(chain)?.prepare().map_err(chain)?;
            let probe = || fs::metadata("/dev/null").unwrap().rdev().to_string();
            let result = forked::run(bundle.namespaces, |_| (), || bundle.build(prepared, probe))?;
            nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH).unwrap();
            assert!(!mountinfo().contains(root.to_str().unwrap()));
            Ok(result)
        },
    );
    assert_eq!(result.unwrap(), 0x103.to_string());
}
