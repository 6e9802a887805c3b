//! A neighbour that shares a volume and swaps directories for links while the runtime works.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{RenameFlags, renameat2};

use crate::*;

/// How long each race is run.
const TIME: Duration = Duration::from_secs(4);

/// Exchanges `a` and `b` without a pause while `body` runs.
fn swapping<T>(a: &Path, b: &Path, body: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = RenameFlags::RENAME_EXCHANGE;
                renameat2(None, a, None, b, flags).expect("swap");
            }
        });
        let result = body();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// CVE-2021-30465 (the mount goes where the link leads) and CVE-2024-45310 (the mount point is
/// made there): a component of the destination is a directory at one moment and a link to the host
/// at the next. By hand: who looks first and then makes the directory by its path makes it outside.
#[test]
fn cve_2021_30465_cve_2024_45310_swapped_mount_points_stay_inside() {
    let trap = Trap::new("swap");
    let volume = trap.inside("/mnt");
    let (dir, link) = (volume.join("dir"), volume.join("link"));
    fs::create_dir(&dir).expect("make the directory");
    symlink(&trap.outside, &link).expect("lay the link");
    let before = trap.look();
    swapping(&dir, &link, || {
        let end = Instant::now() + Duration::from_secs(30);
        while trap.look() == before {
            assert!(Instant::now() < end, "the careless way never lost the race");
            careless(&dir);
        }
    });
    fs::remove_dir_all(trap.outside.join("made")).expect("take it back");
    let before = trap.look();
    let kinds = [
        json!({"destination": "/mnt/dir/made/deep", "type": "tmpfs", "source": "tmpfs"}),
        json!({"destination": "/mnt/dir/made/file", "type": "bind", "source": "/etc/hostname", "options": ["bind"]}),
        json!({"destination": "/mnt/dir", "type": "bind", "source": trap.inside("/home"), "options": ["rbind"]}),
    ];
    let (mut ran, end) = (0, Instant::now() + TIME);
    swapping(&dir, &link, || {
        for n in 0.. {
            if Instant::now() > end {
                break;
            }
            // The container's own view: what is mounted, and that it isn't the outside.
            let show = "grep -c ' /mnt' /proc/self/mountinfo; cat /mnt/dir/canary /mnt/link/canary 2>/dev/null; true";
            let output = trap.run(&format!("c{n}"), &["sh", "-c", show], |config| {
                config["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .push(kinds[n % kinds.len()].clone());
            });
            assert!(!output.stdout.contains("untouched"), "round {n}: {output}");
            ran += u32::from(output.code() == 0);
            assert!(trap.place.run(&["state", &format!("c{n}")]).code() != 0);
        }
    });
    assert_eq!(trap.look(), before, "after {ran} containers");
    assert!(ran > 0, "no container ran at all");
    println!("{ran} containers ran while the mount point was swapped");
}

/// Checks, then acts: the mistake of both reports.
fn careless(dir: &Path) {
    let is_dir = fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir());
    if is_dir {
        let _ = fs::create_dir_all(dir.join("made"));
    }
}

/// The same game with what is masked: the mask lands on the object that was looked at, and no
/// object outside ever gets one.
#[test]
fn swapped_masked_paths_stay_inside() {
    let trap = Trap::new("swapmask");
    let (dir, link) = (trap.inside("/mnt/dir"), trap.inside("/mnt/link"));
    fs::create_dir(&dir).expect("make the directory");
    symlink(&trap.outside, &link).expect("lay the link");
    let before = trap.look();
    let (mut ran, end) = (0, Instant::now() + TIME);
    swapping(&dir, &link, || {
        for n in 0.. {
            if Instant::now() > end {
                break;
            }
            let output = trap.run(&format!("c{n}"), &["true"], |config| {
                config["linux"]["maskedPaths"] = json!(["/mnt/dir", "/mnt/link", "/proc/keys"]);
                config["linux"]["readonlyPaths"] = json!(["/mnt/dir", "/mnt/link"]);
            });
            ran += u32::from(output.code() == 0);
        }
    });
    assert!(ran > 0, "no container ran at all");
    assert_eq!(trap.look(), before);
    let canary =
        fs::read_to_string(trap.outside.join("canary")).expect("the outside is not masked");
    assert_eq!(canary, "untouched\n");
}

/// A reader of the runtime's files sees whole ones while containers come and go.
#[test]
fn state_is_read_whole_while_it_changes() {
    let trap = Trap::new("whole");
    let bundle = trap.bundle("c", &["true"], nothing);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..15 {
                let mut command = trap.place.cmd(&["run", "--bundle"]);
                run(command.arg(&bundle.dir).arg("c")).ok();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut seen = 0;
        while !stop.load(Ordering::Relaxed) {
            let output = trap.place.run(&["state", "c"]);
            match output.code() {
                0 => {
                    seen += 1;
                    assert_eq!(output.json()["id"], "c");
                }
                _ => drop(output.says("does not exist")),
            }
        }
        assert!(seen > 0, "the container was never seen");
    });
    wait_until("it is gone", || trap.place.run(&["state", "c"]).code() != 0);
}
