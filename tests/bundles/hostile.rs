//! Damaged images, bombs and broken off work: refused, and nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common::command::{cmd, run};
use super::{create_from, place, pxrun, shared, text};

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("read a directory");
    let mut names: Vec<_> = entries
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

fn copied_layout(place: &Path) -> PathBuf {
    let layout = place.join("layout");
    run(cmd("cp").arg("-r").arg(&shared().layout).arg(&layout)).ok();
    layout
}

#[test]
fn a_changed_byte_anywhere_in_an_image_is_noticed() {
    let place = place("damage");
    let layout = copied_layout(&place);
    let bundle = place.join("bundle");
    for blob in names(&layout.join("blobs/sha256")) {
        let path = layout.join("blobs/sha256").join(&blob);
        let good = fs::read(&path).expect("read a blob");
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("write a blob");
            let failed = create_from(&layout, &bundle);
            assert!(!failed.status.success(), "{blob} {at}");
            assert!(
                failed.stderr.contains("damaged") || failed.stderr.contains("read"),
                "{}",
                failed.stderr
            );
            assert_eq!(names(&place), ["layout"], "{blob} {at}");
        }
        let mut longer = good.clone();
        longer.extend([0; 512]);
        fs::write(&path, &longer).expect("write a blob");
        let failed = create_from(&layout, &bundle);
        assert!(!failed.status.success(), "{blob} longer");
        fs::write(&path, &good).expect("write a blob");
    }
    create_from(&layout, &bundle).ok();
}

#[test]
fn bombs_end_at_their_limits() {
    let place = place("bomb");
    let (source, bundle) = (place.join("bomb.tar.zst"), place.join("bundle"));
    let script = format!(
        "mkdir {0}/b && head -c 300M /dev/zero >{0}/b/zeros && tar -C {0}/b -c . | zstd -q >{1} && rm -r {0}/b",
        text(&place),
        text(&source)
    );
    run(cmd("sh").args(["-c", &script])).ok();
    assert!(fs::metadata(&source).expect("look at the bomb").len() < 1 << 20);
    let limits = ["--max-size", "100m"];
    let mut command = pxrun(&["bundle", "create", "--from", text(&source)]);
    let failed = run(command.args(limits).args([text(&bundle), "--", "true"]));
    assert!(
        failed.stderr.contains("bytes of files"),
        "{}",
        failed.stderr
    );
    assert_eq!(names(&place), ["bomb.tar.zst"]);
    let mut command = pxrun(&[
        "bundle",
        "create",
        "--max-files",
        "1",
        "--from",
        text(&source),
    ]);
    let failed = run(command.args([text(&bundle), "--", "true"]));
    assert!(
        failed.stderr.contains("more than 1 entries"),
        "{}",
        failed.stderr
    );
}

#[test]
fn an_interrupt_leaves_nothing() {
    let place = place("interrupt");
    let big = place.join("big");
    fs::create_dir(&big).expect("make a directory");
    let fill = format!(
        "i=0; while [ $i -lt 3000 ]; do head -c 40000 /dev/urandom >{}/$i; i=$((i+1)); done",
        text(&big)
    );
    run(cmd("sh").args(["-c", &fill])).ok();
    let before = names(&place);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        for (args, end) in [
            (vec!["bundle", "create", "--from", text(&big)], "out"),
            (
                vec![
                    "template",
                    "create",
                    "--level",
                    "15",
                    "--from",
                    text(&big),
                    "--output",
                ],
                "out.tar.zst",
            ),
        ] {
            let out = place.join(end);
            let mut command = pxrun(&args);
            command.arg(&out);
            if end == "out" {
                command.args(["--", "true"]);
            }
            command.stderr(std::process::Stdio::piped());
            let child = command.spawn().expect("start");
            // Once something is being made.
            super::common::wait_until("work begins", || names(&place) != before);
            std::thread::sleep(Duration::from_millis(30));
            kill(Pid::from_raw(child.id().cast_signed()), signal).expect("signal");
            let output = child.wait_with_output().expect("wait");
            assert!(
                !output.status.success(),
                "{signal} {end}: it was done before the signal"
            );
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains("interrupted"), "{stderr}");
            assert_eq!(names(&place), before, "{signal} {end}");
        }
    }
}

#[test]
fn what_a_killed_process_left_goes_with_the_next() {
    let place = place("killed");
    let bundle = place.join("bundle");
    let left = place.join(".bundle.pxrun-part-1-0");
    fs::create_dir_all(left.join("rootfs")).expect("make a directory");
    super::bundle_of_shared(&bundle);
    assert_eq!(names(&place), ["bundle"]);
}
