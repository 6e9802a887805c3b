//! Volumes and what mounts do through them.

use crate::*;

#[test]
fn volumes() {
    let sandbox = &podman().sandbox;
    let dir = sandbox.mkdir(&unique("volume"));
    fs::write(dir.join("file"), "content\n").unwrap();
    let at = |options: &str| format!("{}:/data{options}", dir.display());
    let output = once(
        &["--volume", &at(":ro")],
        &["sh", "-c", "cat /data/file; touch /data/no"],
    )
    .fails();
    assert!(
        output.stdout == "content\n" && output.stderr.contains("Read-only"),
        "{output}"
    );
    for options in [
        "",
        ":rw",
        ":Z",
        ":z",
        ":rprivate",
        ":rslave",
        ":nosuid,nodev,noexec",
    ] {
        let name = unique("file");
        once(
            &["--volume", &at(options)],
            &["touch", &format!("/data/{name}")],
        )
        .ok();
        assert!(dir.join(&name).exists(), "{options}");
    }
    let output = once(
        &["--volume", &at(":noexec,nodev")],
        &["grep", " /data ", "/proc/mounts"],
    )
    .ok();
    assert!(
        output.stdout.contains("noexec") && output.stdout.contains("nodev"),
        "{output}"
    );
    let file = format!("{}:/etc/one-file:ro", dir.join("file").display());
    assert_eq!(
        once(&["--volume", &file], &["cat", "/etc/one-file"])
            .ok()
            .out(),
        "content"
    );
}

#[test]
fn a_shared_volume_shows_the_containers_mounts_to_the_host() {
    let sandbox = &podman().sandbox;
    let dir = sandbox.mkdir(&unique("shared"));
    run(sh("mount --bind \"$0\" \"$0\" && mount --make-rshared \"$0\"").arg(&dir)).ok();
    let volume = format!("{}:/data:rshared", dir.display());
    fs::create_dir(dir.join("sub")).unwrap();
    let mount = [
        "sh",
        "-c",
        "mount -t tmpfs inner /data/sub && echo seen >/data/sub/file",
    ];
    once(
        &[
            "--volume",
            &volume,
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
        ],
        &mount,
    )
    .ok();
    let seen = fs::read_to_string(dir.join("sub/file"));
    run(sh("umount -l \"$0/sub\" 2>/dev/null; umount -l \"$0\"").arg(&dir)).ok();
    assert_eq!(seen.expect("the mount reached the host"), "seen\n");
}

#[test]
fn private_volumes_keep_mounts_inside() {
    let sandbox = &podman().sandbox;
    let dir = sandbox.mkdir(&unique("private"));
    fs::create_dir(dir.join("sub")).unwrap();
    let volume = format!("{}:/data:rprivate", dir.display());
    let mount = [
        "sh",
        "-c",
        "mount -t tmpfs inner /data/sub && echo seen >/data/sub/file",
    ];
    once(
        &[
            "--volume",
            &volume,
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
        ],
        &mount,
    )
    .ok();
    assert!(!dir.join("sub/file").exists());
}

#[test]
fn idmapped_volume() {
    // Option `idmap` without mappings of its own: those of the user namespace (config.md, mounts).
    if runc_differs("the mount option `idmap` is taken for data and dropped without a word") {
        return;
    }
    let dir = podman().sandbox.mkdir(&unique("idmap"));
    fs::write(dir.join("file"), "").unwrap();
    let volume = format!("{}:/data:idmap", dir.display());
    let flags = [
        "--uidmap",
        "0:100000:65536",
        "--gidmap",
        "0:100000:65536",
        "--volume",
        volume.as_str(),
    ];
    assert_eq!(
        once(&flags, &["stat", "-c", "%u", "/data/file"]).ok().out(),
        "0"
    );
}

#[test]
fn named_and_anonymous_volumes_are_copied_up() {
    let name = unique("vol");
    let volume = format!("{name}:/copyup");
    once(
        &["--volume", &volume],
        &[
            "sh",
            "-c",
            "stat -c %U /copyup/file; echo more >/copyup/more",
        ],
    )
    .ok()
    .says("user");
    assert_eq!(
        once(&["--volume", &volume], &["cat", "/copyup/more"])
            .ok()
            .out(),
        "more"
    );
    call(&["volume", "rm", &name]).ok();
}
