//! Files come, change and go as they were, edits in between included.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::setup::{containerd, crio, docker, podman};

const BINARY: &str = "/usr/bin/pxrun";

struct Trial {
    dir: tempfile::TempDir,
    target: &'static Target,
}

impl Trial {
    fn new(target: &'static Target) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, target }
    }

    fn place(&self) -> Place {
        Place::new(self.dir.path().to_owned())
    }

    fn file(&self) -> PathBuf {
        self.place().path(self.target.file)
    }

    fn text(&self) -> Option<String> {
        fs::read_to_string(self.file()).ok()
    }

    fn write(&self, text: &str) {
        fs::create_dir_all(self.file().parent().unwrap()).unwrap();
        fs::write(self.file(), text).unwrap();
    }

    fn setup(&self) -> Outcome {
        let change = self.place().setup(self.target, Path::new(BINARY));
        change.unwrap().commit().unwrap()
    }

    fn undo(&self) -> Outcome {
        let change = self.place().undo(self.target, Path::new(BINARY));
        change.unwrap().commit().unwrap()
    }

    /// Names beside the file.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.file().parent().unwrap()).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

const ALL: [&Target; 4] = [
    &podman::TARGET,
    &containerd::TARGET,
    &crio::TARGET,
    &docker::TARGET,
];

#[test]
fn a_file_that_was_not_there_goes_again() {
    for target in ALL {
        let trial = Trial::new(target);
        assert_eq!(trial.undo(), Outcome::Nothing);
        assert_eq!(trial.setup(), Outcome::Written(None));
        let mode = fs::metadata(trial.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        assert_eq!(trial.setup(), Outcome::Nothing);
        assert_eq!(trial.undo(), Outcome::Removed);
        assert_eq!(trial.names(), [""; 0]);
    }
}

/// Files that were there before, in a form that no serializer would choose.
const OLD: [(&Target, &str); 2] = [
    (
        &containerd::TARGET,
        "version   = 2\n\n\n# odd\nroot = '/x'    # here\n",
    ),
    (
        &docker::TARGET,
        "{ \"dns\": [\"10.0.0.1\",   \"10.0.0.2\"] }",
    ),
];

#[test]
fn an_old_file_comes_back_byte_for_byte() {
    for (target, old) in OLD {
        let trial = Trial::new(target);
        trial.write(old);
        fs::set_permissions(trial.file(), fs::Permissions::from_mode(0o640)).unwrap();
        let copy = saved(&trial.file());
        assert_eq!(trial.setup(), Outcome::Written(Some(copy.clone())));
        assert_eq!(fs::read_to_string(&copy).unwrap(), old);
        assert_eq!(trial.setup(), Outcome::Nothing);
        assert_eq!(trial.undo(), Outcome::Restored);
        assert_eq!(trial.text().as_deref(), Some(old));
        let mode = fs::metadata(trial.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(trial.names().len(), 1, "{:?}", trial.names());
    }
}

#[test]
fn edits_made_since_survive_the_undo() {
    let trial = Trial::new(&containerd::TARGET);
    trial.write("version = 2\n");
    trial.setup();
    trial.write(
        &trial
            .text()
            .unwrap()
            .replace("version = 2", "version = 2\noom_score = -5"),
    );
    assert_eq!(trial.setup(), Outcome::Nothing);
    assert_eq!(trial.undo(), Outcome::Restored);
    assert_eq!(
        trial.text().as_deref(),
        Some("version = 2\noom_score = -5\n")
    );
    assert_eq!(trial.names(), ["config.toml"]);
}

#[test]
fn a_stale_copy_is_not_what_undo_brings_back() {
    let trial = Trial::new(&containerd::TARGET);
    trial.write("version = 2\nroot = \"/old\"\n");
    trial.setup();
    // Taken back by other means than ours, and changed.
    trial.write("version = 2\nroot = \"/new\"\n");
    assert_eq!(trial.undo(), Outcome::Nothing);
    trial.setup();
    trial.undo();
    assert_eq!(
        trial.text().as_deref(),
        Some("version = 2\nroot = \"/new\"\n")
    );
}

#[test]
fn another_binary_is_written_and_the_first_file_comes_back() {
    let trial = Trial::new(&containerd::TARGET);
    trial.write("version = 2\n");
    let change = trial.place().setup(trial.target, Path::new("/opt/pxrun"));
    change.unwrap().commit().unwrap();
    assert!(matches!(trial.setup(), Outcome::Written(Some(_))));
    assert!(!trial.text().unwrap().contains("/opt"));
    trial.undo();
    assert_eq!(trial.text().as_deref(), Some("version = 2\n"));
}

#[test]
fn what_is_no_plain_text_file_is_refused_and_stays() {
    let trial = Trial::new(&docker::TARGET);
    let refused = || {
        let error = trial.place().setup(trial.target, Path::new(BINARY));
        error.unwrap_err().to_string()
    };
    trial.write("");
    fs::remove_file(trial.file()).unwrap();
    symlink("elsewhere", trial.file()).unwrap();
    assert!(refused().contains("is a symbolic link"));
    fs::remove_file(trial.file()).unwrap();
    fs::create_dir(trial.file()).unwrap();
    assert!(refused().contains("is no plain file"));
    fs::remove_dir(trial.file()).unwrap();
    fs::write(trial.file(), b"{\"a\": \"\xff\"}").unwrap();
    assert!(refused().contains("is no UTF-8 text"));
    trial.write("{");
    assert!(refused().contains("not understood"));
    assert_eq!(
        (trial.text().as_deref(), trial.names().len()),
        (Some("{"), 1)
    );
}

#[test]
fn podmans_other_files_are_read_in_its_order() {
    let trial = Trial::new(&podman::TARGET);
    let write = |path: &str, name: &str| {
        let path = trial.place().path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            path,
            format!("[engine]\nruntime_supports_json = [{name:?}]\n"),
        )
        .unwrap();
    };
    write("/etc/containers/containers.conf.d/10-b.conf", "second");
    write("/etc/containers/containers.conf", "first");
    write("/etc/containers/containers.conf.d/ignored", "ignored");
    trial.setup();
    assert!(trial.text().unwrap().contains(r#"["second", "pxrun"]"#));
    assert_eq!(trial.undo(), Outcome::Removed);
}
