//! The simulated Proxmox node itself: its answers against the facts in `golden/pct-facts.txt`, and
//! its cluster file system against pmxcfs's rules. Nothing of pxrun is tried here.

mod node_dir;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use node_dir::{DIR, Node};

fn errno(result: std::io::Result<()>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn its_answers_are_those_of_a_real_node() {
    let done = Command::new(format!("{DIR}/check")).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(told.contains("questions, 0 wrong answers"), "{told}");
}

#[test]
fn a_number_is_used_once_in_the_cluster() {
    let node = Node::start(&["--others", "pve2"]);
    node.control(&["guest", "105", "--node", "pve2", "--qemu"]);
    let list = fs::read_to_string(node.path("etc/pve/.vmlist")).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["ids"]["105"]["node"], "pve2");
    assert_eq!(list["ids"]["105"]["type"], "qemu");

    let taken = fs::write(node.path("etc/pve/lxc/105.conf"), "memory: 64\n");
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
    fs::write(node.path("etc/pve/lxc/105.conf.tmp.1"), "memory: 64\n").unwrap();
    let renamed = fs::rename(
        node.path("etc/pve/lxc/105.conf.tmp.1"),
        node.path("etc/pve/lxc/105.conf"),
    );
    assert_eq!(renamed.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn links_modes_and_owners_are_fixed() {
    let node = Node::start(&[]);
    let file = node.path("etc/pve/lxc/100.conf");
    fs::write(&file, "memory: 64\n").unwrap();
    assert_eq!(
        errno(symlink("a", node.path("etc/pve/b"))),
        Some(libc::ENOSYS)
    );
    let linked = fs::hard_link(&file, node.path("etc/pve/b"));
    assert_eq!(errno(linked), Some(libc::EPERM));
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode));
    assert_eq!(errno(mode(0o600)), Some(libc::EPERM));
    mode(0o640).unwrap();
}

#[test]
fn a_lock_is_a_directory_and_no_quorum_is_no_writing() {
    let node = Node::start(&[]);
    let lock = node.path("etc/pve/priv/lock/file-test");
    fs::create_dir(&lock).unwrap();
    let second = fs::create_dir(&lock).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AlreadyExists);
    // A lock that is held can't be asked away, nor renamed.
    let old = fs::File::open(&lock).unwrap();
    let epoch = std::time::UNIX_EPOCH;
    let times = fs::FileTimes::new().set_accessed(epoch).set_modified(epoch);
    let asked = old.set_times(times);
    assert_eq!(errno(asked), Some(libc::EACCES));
    assert!(fs::rename(&lock, node.path("etc/pve/priv/lock/other")).is_err());
    fs::remove_dir(&lock).unwrap();

    node.control(&["fault", "no-quorum"]);
    assert_eq!(errno(fs::create_dir(&lock)), Some(libc::EACCES));
    assert_eq!(
        errno(fs::write(node.path("etc/pve/lxc/100.conf"), "x")),
        Some(libc::EACCES)
    );
    node.control(&["heal"]);
    fs::create_dir(&lock).unwrap();
}

#[test]
fn faults_happen_once_where_they_were_set() {
    let node = Node::start(&[]);
    let pct = |args: &[&str]| node.tool("pct").args(args).output().unwrap();
    node.control(&[
        "fault",
        "pct list:before",
        "--at",
        "fail",
        "--text",
        "no luck",
        "--rc",
        "3",
    ]);
    let first = pct(&["list"]);
    assert_eq!(first.status.code(), Some(3));
    assert_eq!(first.stderr, b"no luck\n");
    assert!(pct(&["list"]).status.success());

    node.control(&["fault", "rival", "--times", "1"]);
    // Alone in its cluster, a node has no rivals.
    fs::write(node.path("etc/pve/lxc/100.conf"), "memory: 64\n").unwrap();
    node.control(&["fault", "slow", "--text", r#"{"pct list": 0.3}"#]);
    let begun = std::time::Instant::now();
    pct(&["list"]);
    assert!(begun.elapsed().as_millis() >= 300);
}
