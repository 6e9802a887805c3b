//! `/proc` and what is written or masked there: labels, sysctls, masked and read-only paths.

use crate::*;

/// CVE-2019-16884: an image with a volume at `/proc` swallowed the AppArmor label. Nothing but
/// procfs may be mounted there; and a label that can't be applied is an error, not a wish.
#[test]
fn cve_2019_16884_nothing_but_procfs_lies_on_proc() {
    let trap = Trap::new("label");
    let volume = |destination: &str| {
        let mount = json!({"destination": destination, "type": "bind", "source": trap.outside, "options": ["rbind"]});
        move |config: &mut Value| config["mounts"].as_array_mut().unwrap().push(mount)
    };
    // By hand: the volume is there where it may be.
    let seen = trap.run("mnt", &["cat", "/mnt/canary"], volume("/mnt"));
    assert_eq!(seen.ok().out(), "untouched");
    for destination in [
        "/proc",
        "/proc/",
        "/proc/self",
        "/proc/self/attr",
        "/mnt/../proc/sys",
    ] {
        let output = trap.run("bad", &["true"], volume(destination)).fails();
        assert!(output.all().contains("proc"), "{destination}: {output}");
    }
    if Path::new("/sys/kernel/security/apparmor").exists() {
        println!("NOT RUN HERE: a label without its module, since this kernel has AppArmor");
        return;
    }
    let output = trap.run("label", &["true"], |config| {
        config["process"]["apparmorProfile"] = json!("strict");
    });
    output.fails().says("apparmor");
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: with `/proc` or `/sys` as a link of the image
/// the file system lies elsewhere, and what is masked by its path is open there. By hand: on an
/// ordinary directory the same configuration masks.
#[test]
fn cve_2023_27561_proc_and_sys_are_no_links() {
    let trap = Trap::new("proclink");
    let masked = "cat /proc/keys | wc -c";
    let output = trap.run("good", &["sh", "-c", masked], nothing);
    assert_eq!(output.ok().out(), "0", "the file is masked");
    for path in ["/proc", "/sys"] {
        for target in ["/mnt", "mnt", "../mnt", "/nowhere", "/proc/../mnt", "/"] {
            let trap = Trap::new("proclink");
            trap.link(path, target);
            let output = trap.run("bad", &["sh", "-c", masked], nothing).fails();
            assert!(
                output.all().contains("ordinary directory"),
                "{path} -> {target}: {output}"
            );
        }
    }
}

/// CVE-2025-31133: the runtime masks a file with the container's `/dev/null`, which the image has
/// replaced. Here it is made sure that it is the null device. By hand: with a true one it masks.
#[test]
fn cve_2025_31133_masks_are_the_null_device() {
    let run_with = |trap: &Trap| {
        let dev = trap.inside("/dev");
        trap.run("c", &["sh", "-c", "cat /proc/keys | wc -c"], move |config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
            // A /dev that the caller brings is left as it is: no node is made in it.
            mounts.push(json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"]}));
        })
    };
    let trap = Trap::new("null");
    nix::sys::stat::mknod(
        &trap.inside("/dev/null"),
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::from_bits_truncate(0o666),
        nix::sys::stat::makedev(1, 3),
    )
    .expect("make the null device");
    assert_eq!(run_with(&trap).ok().out(), "0", "the file is masked");
    for target in [
        Path::new("/proc/sys/kernel/core_pattern"),
        &trap.outside.join("canary"),
        Path::new("/etc/hosts"),
        Path::new("zero"),
    ] {
        let trap = Trap::new("null");
        trap.link("/dev/null", target);
        let before = trap.look();
        let output = run_with(&trap).fails();
        assert!(
            output.all().contains("/dev/null"),
            "{}: {output}",
            target.display()
        );
        assert_eq!(trap.look(), before);
    }
    let trap = Trap::new("null");
    fs::write(trap.inside("/dev/null"), "a file").expect("write a file");
    run_with(&trap).fails().says("is not the null device");
}

/// The image's `/dev`, in which nodes are made: whatever lies at a node's place stays unfollowed.
#[test]
fn device_nodes_are_made_through_no_link() {
    for name in [
        "null", "zero", "tty", "urandom", "ptmx", "fd", "stdin", "core",
    ] {
        let trap = Trap::new("nodes");
        trap.link(&format!("/dev/{name}"), trap.outside.join("made"));
        let before = trap.look();
        trap.run(name, &["true"], |config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|m| m["destination"] != "/dev");
        });
        assert_eq!(trap.look(), before, "{name}");
    }
    // By hand: whoever follows such a link makes the file.
    let trap = Trap::new("nodes");
    trap.link("/dev/null", trap.outside.join("made"));
    let before = trap.look();
    fs::write(trap.inside("/dev/null"), "").expect("follow the link");
    assert_ne!(trap.look(), before);
}

/// CVE-2025-52881: writes meant for `/proc` land in what the image has put there. Sysctls are
/// written through the host's procfs before the root changes. By hand: with procfs mounted the
/// value is found.
#[test]
fn cve_2025_52881_sysctls_are_written_to_the_kernel() {
    let trap = Trap::new("sysctl");
    let set = |config: &mut Value| {
        config["linux"]["sysctl"] = json!({"kernel.shm_rmid_forced": "1"});
    };
    let file = "/proc/sys/kernel/shm_rmid_forced";
    assert_eq!(trap.run("good", &["cat", file], set).ok().out(), "1");
    // An image with a /proc of its own, and a configuration that mounts none.
    fs::write(trap.outside.join("value"), "0").expect("write the bait");
    trap.link(file, trap.outside.join("value"));
    let before = trap.look();
    let output = trap.run("bad", &["readlink", file], |config| {
        set(config);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| m["destination"] != "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    assert_eq!(
        output.ok().out(),
        trap.outside.join("value").to_string_lossy()
    );
    assert_eq!(trap.look(), before);
}
