//! Templates: exact round trips, the same bytes every time, read by the tar that Proxmox calls.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::common::command::{cmd, run};
use super::{create_from, image, place, pxrun, shared, text, tree};

fn create(args: &[&str]) -> PathBuf {
    let mut command = pxrun(&["template", "create"]);
    let output = run(command.args(args)).ok();
    PathBuf::from(output.stdout.trim_end())
}

fn bundle(from: &Path, to: &Path) {
    create_from(from, to).ok();
}

#[test]
fn image_bundle_template_bundle_is_exact() {
    let place = place("round");
    let (first, second) = (place.join("first"), place.join("second"));
    bundle(&shared().archive, &first);
    let template = create(&["--from", text(&first), "--dir", text(&place)]);
    let mut command = pxrun(&["bundle", "create", "--hostname", "first", "--from-template"]);
    run(command.args([text(&template), text(&second)])).ok();
    tree::assert_same(
        &tree::facts(&first.join("rootfs")),
        &tree::facts(&second.join("rootfs")),
    );
    let config = |bundle: &Path| fs::read_to_string(bundle.join("config.json")).expect("read");
    assert_eq!(config(&first), config(&second));
    // From the image at once: the same files but for the working directory that bundles add.
    let direct = create(&[
        "--from",
        text(&shared().archive),
        "--output",
        text(&place.join("d.tar.zst")),
    ]);
    let third = place.join("third");
    bundle(&direct, &third);
    tree::assert_same(
        &tree::facts(&first.join("rootfs")),
        &tree::facts(&third.join("rootfs")),
    );
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    let place = place("bytes");
    let sources: [&[&str]; 2] = [&["--kind", "vztmpl"], &["--kind", "oci"]];
    for kind in sources {
        let files = ["one", "two"].map(|name| place.join(format!("{name}-{}", kind[1])));
        for file in &files {
            create(
                &[
                    &["--from", text(&shared().archive), "--output", text(file)],
                    kind,
                ]
                .concat(),
            );
        }
        assert!(
            fs::read(&files[0]).expect("read") == fs::read(&files[1]).expect("read"),
            "{kind:?}"
        );
        let mut one = cmd("taskset");
        one.args(["-c", "0"])
            .arg(super::runtime())
            .args(["template", "create", "--force"]);
        run(one
            .args([
                "--from",
                text(&shared().archive),
                "--output",
                text(&files[1]),
            ])
            .args(kind))
        .ok();
        assert!(
            fs::read(&files[0]).expect("read") == fs::read(&files[1]).expect("read"),
            "one processor, {kind:?}"
        );
    }
}

#[test]
fn proxmoxs_tar_reads_all_of_it() {
    let place = place("tar");
    let rootfs = place.join("rootfs");
    image::rootfs(&rootfs);
    tree::decorate(&rootfs);
    tree::decorate_more(&rootfs);
    run(cmd("mknod")
        .arg(rootfs.join("dev/kmsg"))
        .args(["c", "1", "11"]))
    .ok();
    let template = create(&[
        "--from",
        text(&rootfs),
        "--dir",
        text(&place),
        "--name",
        "own",
    ]);
    let out = place.join("out");
    fs::create_dir(&out).expect("make a directory");
    // The options of pve-container's restore, with all attributes.
    let mut tar = cmd("tar");
    tar.args(["xpf"])
        .arg(&template)
        .args(["--zstd", "--totals", "--one-file-system", "-p"]);
    tar.args([
        "--sparse",
        "--numeric-owner",
        "--acls",
        "--xattrs",
        "--xattrs-include=user.*",
    ]);
    tar.args([
        "--xattrs-include=security.capability",
        "--warning=no-xattr-write",
        "-C",
    ]);
    let output = run(tar.arg(&out).args(["--anchored", "--exclude", "./dev/*"])).ok();
    assert!(!output.stderr.contains("Ignoring"), "{}", output.stderr);
    let mut expected = tree::facts(&rootfs);
    assert!(expected.remove("dev/kmsg").is_some());
    tree::assert_same(&tree::facts(&out), &expected);
    let names = run(cmd("tar").arg("tf").arg(&template)).ok().stdout;
    assert!(!names.contains("kmsg"));
    assert!(names.lines().all(|name| name.starts_with("./")));
}

#[test]
fn an_oci_template_is_an_image_for_others() {
    let place = place("oci");
    // An image as it is, with its digest.
    let copied = create(&[
        "--kind",
        "oci",
        "--from",
        text(&shared().archive),
        "--dir",
        text(&place),
    ]);
    let inspect = |file: &Path| -> Value {
        let reference = format!("oci-archive:{}", text(file));
        run(cmd("skopeo").args(["inspect", &reference])).ok().json()
    };
    assert_eq!(
        inspect(&copied)["Digest"],
        inspect(&shared().archive)["Digest"]
    );
    // A tree with one layer.
    let bundled = place.join("bundle");
    bundle(&shared().archive, &bundled);
    let made = create(&[
        "--kind",
        "oci",
        "--from",
        text(&bundled),
        "--output",
        text(&place.join("made.tar")),
    ]);
    assert_eq!(
        inspect(&made)["Layers"].as_array().expect("a list").len(),
        1
    );
    let again = place.join("again");
    bundle(&made, &again);
    tree::assert_same(
        &tree::facts(&bundled.join("rootfs")),
        &tree::facts(&again.join("rootfs")),
    );
}

#[test]
fn templates_are_listed_and_pruned() {
    let place = place("prune");
    let storage = place.join("vz/template/cache");
    fs::create_dir_all(&storage).expect("make directories");
    let config = place.join("storage.cfg");
    let content = format!("dir: local\n\tpath {}/vz\n\tcontent vztmpl\n", text(&place));
    fs::write(&config, content).expect("write a file");
    let here = ["--storage", "local", "--storage-config", text(&config)];
    let made = create(&[&["--from", text(&shared().archive)], &here[..]].concat());
    assert_eq!(made.parent(), Some(storage.as_path()));
    let name = made
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    assert!(
        name.starts_with("box_sha256-") && name.ends_with("64.tar.zst"),
        "{name}"
    );
    // What others put there is none of ours.
    fs::write(storage.join("debian-12-standard_12.2-1_amd64.tar.zst"), "x").expect("write");
    fs::write(storage.join("fake_sha256-0123456789ab_amd64.tar.zst"), "x").expect("write");
    let list = |args: &[&str]| run(pxrun(&["template", "list"]).args(here).args(args)).ok();
    let listed = list(&["--format", "json"]).json();
    assert_eq!(listed.as_array().expect("a list").len(), 1);
    assert_eq!(listed[0]["image"], "box");
    assert_eq!(listed[0]["file"], name.as_str());
    let pve = place.join("pve");
    fs::create_dir_all(pve.join("nodes/n/lxc")).expect("make directories");
    let guest = pve.join("nodes/n/lxc/100.conf");
    fs::write(
        &guest,
        format!("#made from local%3Avztmpl/{name}\narch: amd64\n"),
    )
    .expect("write");
    let root = place.join("root");
    let prune = |args: &[&str]| {
        let mut command = pxrun(&[
            "--root",
            text(&root),
            "template",
            "prune",
            "--pve",
            text(&pve),
        ]);
        run(command.args(here).args(args))
    };
    assert!(!prune(&[]).status.success());
    assert_eq!(prune(&["--unused", "--yes"]).ok().stdout, "");
    fs::remove_file(&guest).expect("remove");
    assert!(prune(&["--unused"]).ok().stdout.contains("would remove"));
    assert!(made.exists());
    assert!(
        prune(&["--unused", "--yes"])
            .ok()
            .stdout
            .contains("removed")
    );
    assert!(!made.exists());
    assert_eq!(fs::read_dir(&storage).expect("read").count(), 2);
}

/// pct, as far as it is needed here: it mounts nothing, it says where.
#[test]
fn a_stopped_guest_is_a_source() {
    use std::os::unix::fs::PermissionsExt;
    let place = place("guest");
    let rootfs = place.join("lxc/rootfs");
    image::rootfs(&rootfs);
    let (bin, log) = (place.join("bin"), place.join("log"));
    fs::create_dir(&bin).expect("make a directory");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>{0}\ncase $1 in\nstatus) cat {1}/state;;\nmount) echo \"mounted CT $2 in '{2}'\";;\nesac\n",
        text(&log),
        text(&place),
        text(&rootfs)
    );
    fs::write(bin.join("pct"), script).expect("write");
    fs::set_permissions(bin.join("pct"), fs::Permissions::from_mode(0o755)).expect("set a mode");
    let create = |to: &str| {
        let mut command = pxrun(&[
            "bundle",
            "create",
            "--pct-dir",
            text(&bin),
            "--from-guest",
            "101",
        ]);
        run(command.args([text(&place.join(to)), "--", "true"]))
    };
    fs::write(place.join("state"), "status: running\n").expect("write");
    let failed = create("no");
    assert!(failed.stderr.contains("not stopped"), "{}", failed.stderr);
    fs::write(place.join("state"), "status: stopped\n").expect("write");
    create("yes").ok();
    tree::assert_same(
        &tree::facts(&place.join("yes/rootfs")),
        &tree::facts(&rootfs),
    );
    let calls = fs::read_to_string(&log).expect("read the log");
    assert_eq!(calls, "status 101\nstatus 101\nmount 101\nunmount 101\n");
}
