//! `bundle create --overlay` and `bundle remove`: nothing is copied, nothing below is changed.

use std::fs;
use std::path::Path;

use super::common::command::run;
use super::{place, pxrun, shared, text};

fn is_mounted(at: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    let at = at.canonicalize().expect("a path");
    table
        .lines()
        .any(|line| line.split(' ').nth(4) == at.to_str())
}

#[test]
fn what_changes_stays_in_the_bundle_and_goes_with_it() {
    let place = place("overlay");
    let (base, bundle) = (place.join("base"), place.join("web"));
    super::bundle_of_shared(&base);
    let create = |from: &Path, target: &Path, more: &[&str]| {
        let mut command = pxrun(&["bundle", "create", "--overlay", "--from", text(from)]);
        run(command.args(more).arg(target))
    };
    create(&base, &bundle, &[]).ok();
    let root = bundle.join("rootfs");
    assert!(is_mounted(&root));
    let own: Vec<_> = fs::read_dir(bundle.join("upper")).expect("upper").collect();
    assert!(own.is_empty(), "nothing is copied: {own:?}");
    let modes = [&root, &base.join("rootfs")].map(|dir| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(dir).expect("a root").permissions().mode()
    });
    assert_eq!(modes[0], modes[1]);
    let judged = run(&mut pxrun(&[
        "bundle",
        "validate",
        "--backend",
        "embedded",
        text(&bundle),
    ]));
    judged.ok();
    fs::write(root.join("new"), "x").expect("write");
    assert!(bundle.join("upper/new").exists());
    assert!(!base.join("rootfs/new").exists());

    // The same again replaces it, mount and all.
    create(&base, &bundle, &["--force"]).ok();
    assert!(is_mounted(&root) && !root.join("new").exists());

    run(&mut pxrun(&["bundle", "remove", text(&bundle)])).ok();
    assert!(!bundle.exists());
    assert!(base.join("rootfs").is_dir());
    run(&mut pxrun(&["bundle", "remove", text(&place)])).fails();
    assert!(place.is_dir());
}

#[test]
fn what_no_kernel_mounts_is_refused_and_nothing_is_left() {
    let place = place("no-overlay");
    let bundle = place.join("b");
    let mut command = pxrun(&["bundle", "create", "--overlay", "--from"]);
    run(command.arg(&shared().archive).arg(&bundle))
        .fails()
        .says("layers of images are archives");
    assert!(!bundle.exists());
    let odd = place.join("with:colon");
    fs::create_dir(&odd).expect("make a directory");
    let mut command = pxrun(&["bundle", "create", "--overlay", "--from"]);
    let source = format!("dir:{}", text(&odd));
    run(command.arg(source).arg(&bundle).args(["--", "true"]))
        .fails()
        .says("mount options can't hold");
    assert!(!bundle.exists());
    assert_eq!(fs::read_dir(&place).expect("the place").count(), 1);
}
