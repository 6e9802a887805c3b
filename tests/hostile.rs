//! Hostile bundles and root filesystems: one test for each class of container escape that is known
//! of runc, crun, youki or LXC, and for every path of the rootfs that the runtime touches.
//! `docs/security.md` says what each class was. Every test first shows by hand that it would see
//! the forbidden effect.

mod common;

/// The tests, a file a topic.
mod hostile {
    mod descriptors;
    mod identity;
    mod inject;
    mod links;
    mod proc;
    mod races;
}

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::bundle::Bundle;
use common::command::{Output, cmd, run, sh};
use common::oci::Place;
use common::{has_keeper, image, runtime, wait_until};
use serde_json::{Value, json};

fn nothing(_: &mut Value) {}

/// A rootfs to spoil, and a directory of the host beside it that nothing may reach.
struct Trap {
    place: Place,
    rootfs: PathBuf,
    outside: PathBuf,
}

/// What stands in a directory: a line for each file with all that a stray write would change.
type Look = BTreeMap<PathBuf, String>;

impl Trap {
    fn new(test: &str) -> Self {
        let place = Place::new(test);
        let (rootfs, outside) = (place.dir.join("rootfs"), place.dir.join("outside"));
        image::rootfs(&rootfs);
        fs::create_dir(&outside).expect("make the outside");
        fs::write(outside.join("canary"), "untouched\n").expect("write the canary");
        Self {
            place,
            rootfs,
            outside,
        }
    }

    /// A path in the rootfs, on the host's side.
    fn inside(&self, path: &str) -> PathBuf {
        self.rootfs.join(path.trim_start_matches('/'))
    }

    /// Replaces what is at `path` in the rootfs by a link to `to`.
    fn link(&self, path: &str, to: impl AsRef<Path>) {
        let at = self.inside(path);
        let _ = fs::remove_file(&at);
        let _ = fs::remove_dir_all(&at);
        fs::create_dir_all(at.parent().expect("below the rootfs")).expect("make its directory");
        symlink(to, at).expect("lay the link");
    }

    /// A bundle with the spoiled rootfs.
    fn bundle(&self, id: &str, args: &[&str], change: impl FnOnce(&mut Value)) -> Bundle {
        self.place.bundle(id, args, |config| {
            config["root"]["path"] = json!(self.rootfs);
            change(config);
        })
    }

    /// `run` to the end, whatever that is; nothing of the container is left afterwards.
    fn run(&self, id: &str, args: &[&str], change: impl FnOnce(&mut Value)) -> Output {
        let bundle = self.bundle(id, args, change);
        let mut command = self.place.cmd(&["run", "--bundle"]);
        let output = run(command.arg(&bundle.dir).arg(id));
        self.place.run(&["delete", "--force", id]).ok();
        output
    }

    /// The same at a terminal: script(1) gives the runtime one.
    fn run_at_terminal(&self, id: &str, args: &[&str], change: impl FnOnce(&mut Value)) -> Output {
        let bundle = self.bundle(id, args, change);
        let mut command = self.place.cmd(&["run", "--bundle"]);
        command.arg(&bundle.dir).arg(id);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_str().expect("a text")).collect();
        let line = words.join(" ");
        let output = run(common::command::cmd("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?)))));
        self.place.run(&["delete", "--force", id]).ok();
        output
    }

    /// How the outside looks now; mounts on it count too.
    fn look(&self) -> Look {
        let mut look = Look::new();
        see(&self.outside, &mut look);
        for mount in common::sandbox::mounts_below(&self.place.dir) {
            look.insert(PathBuf::from("mount").join(mount), String::new());
        }
        look
    }
}

fn see(dir: &Path, look: &mut Look) {
    let here = fs::symlink_metadata(dir).expect("stat the outside");
    let words = |meta: &fs::Metadata| {
        let id = (meta.mode(), meta.uid(), meta.gid(), meta.dev());
        format!("{id:?} {} {}", meta.mtime(), meta.mtime_nsec())
    };
    look.insert(dir.to_owned(), words(&here));
    for entry in fs::read_dir(dir).expect("list the outside").flatten() {
        let path = entry.path();
        let meta = fs::symlink_metadata(&path).expect("stat what is outside");
        if meta.is_dir() {
            see(&path, look);
        } else {
            let text = fs::read(&path).unwrap_or_default();
            look.insert(path, format!("{} {text:?}", words(&meta)));
        }
    }
}

/// A static program on the host, outside of every rootfs, that says that it ran.
fn host_program(trap: &Trap) -> PathBuf {
    let program = trap.place.dir.join("busybox");
    image::copy_program("/bin/busybox".as_ref(), &program);
    program
}

/// Many steps up: from wherever a descriptor points to, to the root of the host.
const UP: &str = "../../../../../../../../../../../../../..";
