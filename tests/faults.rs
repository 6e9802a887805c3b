//! When the host fails: no space, no descriptors, no processes, no memory; records, cgroups and
//! mounts that are damaged or gone; another boot, another version. After each fault `state` says
//! what is true or one clear line, and `delete --force` leaves nothing.

mod common;

/// The tests, a file a topic.
mod faults {
    mod exhausted;
    mod gone;
    mod records;
    mod storage;
}

use std::fs;
use std::path::{Path, PathBuf};

use common::bundle::Bundle;
use common::command::{Output, cmd, run, sh};
use common::oci::{Container, Place, reap};
use common::{alive, cgroup, runtime, wait_until};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

const SLEEP: &[&str] = &["sleep", "300"];

fn nothing(_: &mut Value) {}

/// A failure as a caller may see it: one line, no panic, no exit by a signal.
#[track_caller]
fn is_clear(output: &Output) {
    assert!((1..=128).contains(&output.code()), "{output}");
    assert_eq!(
        output.stderr.trim().lines().count(),
        1,
        "one line: {output}"
    );
    assert!(!output.all().contains("panicked"), "{output}");
}

/// `state` is true or clear, `delete --force` succeeds, and then nothing of the container is left.
#[track_caller]
fn settle(place: &Place, id: &str) {
    let state = place.run(&["state", id]);
    if state.code() == 0 {
        let (state, pid) = (state.json(), state.json()["pid"].as_i64().unwrap_or(0));
        let stopped = state["status"] == "stopped";
        assert_eq!(stopped, pid == 0, "{state}");
        assert!(stopped || alive(pid as i32), "{state}");
    } else {
        is_clear(&state);
    }
    place.run(&["delete", "--force", id]).ok();
    is_gone(place, id);
}

/// No process, no cgroup, no mount and no record.
#[track_caller]
fn is_gone(place: &Place, id: &str) {
    let part = format!("{}/{id}", place.cgroup);
    wait_until("no process of the container is left", || {
        !cgroup::populated(&part)
    });
    assert_eq!(cgroup::all_with(&part), Vec::<PathBuf>::new());
    place.run(&["state", id]).fails().says("does not exist");
    assert!(!place.root.join(id).exists(), "the record stays");
    let mounts = common::sandbox::mounts_below(&place.dir.join(id));
    assert_eq!(mounts, Vec::<String>::new());
}

/// A small tmpfs, unmounted with this value.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(dir: &Path, options: &str) -> Self {
        fs::create_dir_all(dir).expect("make the mount point");
        mount(
            Some("tmpfs"),
            dir,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options),
        )
        .unwrap_or_else(|e| panic!("mount a tmpfs with {options}: {e}"));
        Self(dir.to_owned())
    }

    /// Takes every page that is left.
    fn fill(&self) {
        use std::io::Write;
        let page = [0; 4096];
        let mut file = fs::File::create(self.0.join("filling"));
        let full = loop {
            match &mut file {
                Ok(file) => match file.write_all(&page) {
                    Ok(()) => {}
                    Err(error) => break error,
                },
                // Not even one more file.
                Err(error) => break std::io::Error::from(error.kind()),
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    fn read_only(&self, on: bool) {
        let flag = if on {
            MsFlags::MS_RDONLY
        } else {
            MsFlags::empty()
        };
        let flags = MsFlags::MS_REMOUNT | flag;
        mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>).expect("remount");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// `create` by a shell that takes something away first. The container keeps the streams of its
/// `create`, so they are files.
fn create_after(place: &Place, before: &str, bundle: &Bundle, id: &str) -> Output {
    let errors = bundle.path("errors");
    let line = format!(
        "exec >/dev/null 2>{}; {before}; exec {} --root {} create --bundle {} {id}",
        errors.display(),
        runtime().display(),
        place.root.display(),
        bundle.dir.display()
    );
    let mut output = run(&mut sh(&line));
    output.stderr = fs::read_to_string(errors).expect("read what it said");
    output
}
