//! Trees with everything that a file system keeps, and their comparison.
//! It must not know who made a tree.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::common::command::{cmd, run};

/// Adds hard links, modes, owners, times, attributes, ACLs, pipes, devices, holes and long names.
pub fn decorate(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("odd/deep/er")).expect("make directories");
    fs::write(at("odd/file"), "content\n").expect("write a file");
    fs::hard_link(at("odd/file"), at("odd/deep/hard")).expect("link a file");
    symlink("../../../outside", at("odd/link")).expect("make a link");
    fs::write(at("odd").join("n".repeat(180)), "long").expect("write a file");
    fs::write(at("odd/setuid"), "s").expect("write a file");
    chown(at("odd/setuid"), Some(1000), Some(70_000)).expect("change an owner");
    fs::set_permissions(at("odd/setuid"), fs::Permissions::from_mode(0o6751)).expect("set a mode");
    let sparse = fs::File::create(at("odd/sparse")).expect("write a file");
    sparse.set_len(64 << 20).expect("make a hole");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (32 << 20) + 5).expect("write");
    run(cmd("mkfifo").arg(at("odd/fifo"))).ok();
    run(cmd("setfattr")
        .args(["-n", "user.note", "-v", "a\nb"])
        .arg(at("odd/file")))
    .ok();
    let capability = "0x0100000200200000000000000000000000000000";
    run(cmd("setfattr")
        .args(["-n", "security.capability", "-v", capability])
        .arg(at("odd/file")))
    .ok();
    run(cmd("touch")
        .args(["-d", "2001-02-03 04:05:06.789"])
        .arg(at("odd/file")))
    .ok();
    run(cmd("touch")
        .args(["-d", "1999-01-01 00:00:00"])
        .arg(at("odd/deep")))
    .ok();
}

/// What images lose on their way through buildah, and Proxmox's tar keeps.
pub fn decorate_more(root: &Path) {
    let at = |name: &str| root.join(name);
    run(cmd("mknod").arg(at("odd/null")).args(["c", "1", "3"])).ok();
    run(cmd("mknod").arg(at("odd/loop")).args(["b", "7", "300"])).ok();
    run(cmd("setfacl")
        .args(["-m", "u:1000:rw,g:5:r"])
        .arg(at("odd/setuid")))
    .ok();
    run(cmd("setfacl")
        .args(["-d", "-m", "u:1000:rwx"])
        .arg(at("odd/deep")))
    .ok();
    run(cmd("touch")
        .args(["-d", "1999-01-01 00:00:00"])
        .arg(at("odd/deep")))
    .ok();
}

/// Every path with all that is compared of it.
pub fn facts(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut first = BTreeMap::new();
    walk(root, root, &mut all, &mut first);
    all
}

fn walk(
    path: &Path,
    root: &Path,
    all: &mut BTreeMap<String, String>,
    first: &mut BTreeMap<u64, String>,
) {
    let name = path.strip_prefix(root).expect("below the root");
    let name = name.to_string_lossy().into_owned();
    let meta = fs::symlink_metadata(path).expect("look at a file");
    let kind = meta.file_type();
    let mut fact = format!(
        "{:o} {}:{} {}.{}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec()
    );
    fact += &xattrs(path);
    if kind.is_file() {
        let bytes = fs::read(path).expect("read a file");
        let sum = Sha256::digest(&bytes);
        let holes = meta.blocks() * 512 < meta.len();
        fact += &format!(" {} {holes} {:02x?}", meta.len(), &sum[..8]);
    } else if kind.is_symlink() {
        fact += &format!(
            " -> {}",
            fs::read_link(path).expect("read a link").display()
        );
    } else if kind.is_char_device() || kind.is_block_device() {
        fact += &format!(" {:x}", meta.rdev());
    }
    if !kind.is_dir() && meta.nlink() > 1 {
        let same = first.entry(meta.ino()).or_insert_with(|| name.clone());
        fact += &format!(" same as {same}");
    }
    all.insert(name, fact);
    if kind.is_dir() {
        let entries = fs::read_dir(path).expect("read a directory");
        let mut paths: Vec<_> = entries
            .map(|e| e.expect("read a directory").path())
            .collect();
        paths.sort();
        for path in paths {
            walk(&path, root, all, first);
        }
    }
}

fn xattrs(path: &Path) -> String {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL byte");
    let output = run(cmd("getfattr")
        .args(["-h", "-d", "-m", "-", "-e", "hex", "--absolute-names"])
        .arg(std::ffi::OsStr::from_bytes(path.as_bytes())))
    .ok();
    output
        .stdout
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
        .map(|l| format!(" [{l}]"))
        .collect()
}

/// Panics with the paths that differ.
#[track_caller]
pub fn assert_same(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) {
    let mut differences = Vec::new();
    for name in left.keys().chain(right.keys()) {
        let pair = (left.get(name), right.get(name));
        if pair.0 != pair.1 && differences.len() < 20 {
            differences.push(format!("{name}: {pair:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
