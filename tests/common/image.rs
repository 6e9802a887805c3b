//! A small root filesystem from busybox-static, and the archives that callers import.
//! It must not need a network or a registry.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::command::{cmd, run};

/// Digest of the layer and its size, as OCI spells them.
struct Blob {
    digest: String,
    size: u64,
}

/// Makes the root filesystem in `dir` (idempotent per directory: it must not exist yet).
pub fn rootfs(dir: &Path) {
    build(dir).unwrap_or_else(|e| panic!("make a rootfs in {}: {e}", dir.display()));
}

/// Copies an executable by a process of its own: a descriptor open for writing, inherited by what
/// another test starts meanwhile, would make the file busy for execve(2).
pub fn copy_program(from: &Path, to: &Path) {
    run(cmd("cp").arg(from).arg(to)).ok();
}

fn build(dir: &Path) -> io::Result<()> {
    let tree = [
        "bin",
        "etc",
        "tmp",
        "root",
        "proc",
        "sys",
        "dev",
        "var/lib",
        "run",
        "home/user",
        "mnt",
        "copyup",
    ];
    for name in tree {
        fs::create_dir_all(dir.join(name))?;
    }
    let mode =
        |name: &str, mode| fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode));
    copy_program("/bin/busybox".as_ref(), &dir.join("bin/busybox"));
    let applets = run(cmd("/bin/busybox").arg("--list")).ok().stdout;
    for applet in applets.lines().filter(|a| *a != "busybox") {
        symlink("busybox", dir.join("bin").join(applet))?;
    }
    fs::write(
        dir.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )?;
    fs::write(
        dir.join("etc/group"),
        "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n",
    )?;
    fs::write(dir.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    fs::write(dir.join("bin/not-executable"), "#!/bin/sh\necho never\n")?;
    mode("bin/not-executable", 0o644)?;
    // A tmpfs over it is a copy with owners and modes, where tmpcopyup is asked for.
    fs::write(dir.join("copyup/file"), "copied up\n")?;
    mode("copyup/file", 0o640)?;
    chown(dir.join("copyup/file"), Some(1000), Some(1000))?;
    chown(dir.join("home/user"), Some(1000), Some(1000))?;
    mode("tmp", 0o1777)?;
    mode("root", 0o700)
}

/// Packs a directory as a plain tar, what `podman import` and `docker import` read.
pub fn tar(dir: &Path, file: &Path) {
    run(cmd("tar").arg("-C").arg(dir).arg("-cf").arg(file).arg(".")).ok();
}

/// Makes an OCI image archive named `name` that runs `command`, from a directory: what `ctr image import` reads.
/// Layout: <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>
pub fn oci_archive(rootfs: &Path, work: &Path, name: &str, command: &[&str]) -> PathBuf {
    let blobs = work.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("make the blob directory");
    let layer_file = work.join("layer");
    tar(rootfs, &layer_file);
    let layer = put(&blobs, &fs::read(&layer_file).expect("read the layer"));
    fs::remove_file(&layer_file).expect("remove the layer's first copy");
    let config = put_json(&blobs, &image_config(&layer, command));
    let manifest = put_json(&blobs, &manifest(&config, &layer));
    fs::write(work.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .expect("write oci-layout");
    let mut entry = descriptor(&manifest, "application/vnd.oci.image.manifest.v1+json");
    entry["annotations"] =
        json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(work.join("index.json"), index.to_string()).expect("write index.json");
    let archive = work.with_extension("tar");
    tar(work, &archive);
    archive
}

fn image_config(layer: &Blob, command: &[&str]) -> Value {
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    })
}

fn manifest(config: &Blob, layer: &Blob) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
    })
}

fn descriptor(blob: &Blob, media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.size})
}

fn put_json(blobs: &Path, value: &Value) -> Blob {
    put(blobs, value.to_string().as_bytes())
}

fn put(blobs: &Path, bytes: &[u8]) -> Blob {
    let hex = sha256(bytes);
    fs::write(blobs.join(&hex), bytes).expect("write a blob");
    Blob {
        digest: format!("sha256:{hex}"),
        size: bytes.len() as u64,
    }
}

/// The SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
