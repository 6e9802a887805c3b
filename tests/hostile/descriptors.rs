//! Descriptors of the host that are open when the container's paths are looked up, and terminals.

use crate::*;

/// Numbers that a leaked descriptor may have.
const NUMBERS: std::ops::Range<u32> = 3..24;

/// The runtime with the host's root open as descriptor 3 and, leaked, as 9.
fn leaking(trap: &Trap, args: &str) -> Output {
    run(&mut sh(&format!(
        "exec 3</ 9</; exec {} --root {} {args}",
        runtime().display(),
        trap.place.root.display()
    )))
}

/// CVE-2024-21626: a leaked directory of the host as `process.cwd` or as the way to
/// `process.args[0]`. By hand: the same words lead to the host when the caller wants them to, with
/// `--preserve-fds`.
#[test]
fn cve_2024_21626_no_leaked_directory_can_be_named() {
    let trap = Trap::new("leak");
    let program = host_program(&trap);
    let program = format!("{UP}{}", program.display());
    let attack = |n: u32, fds: u32| {
        let bundle = trap.bundle(
            &format!("args{n}-{fds}"),
            &[&format!("/proc/self/fd/{n}/{program}"), "echo", "escaped"],
            nothing,
        );
        let id = format!("--preserve-fds {fds} args{n}-{fds}");
        leaking(
            &trap,
            &format!("run --bundle {} {id}", bundle.dir.display()),
        )
    };
    let wanted = attack(3, 1);
    assert_eq!(wanted.out(), "escaped", "the attack by hand: {wanted}");
    for n in NUMBERS {
        let output = attack(n, 0).fails();
        assert!(
            !output.all().contains("escaped"),
            "descriptor {n}: {output}"
        );
        let bundle = trap.bundle(&format!("cwd{n}"), &["pwd"], |config| {
            config["process"]["cwd"] = json!(format!("/proc/self/fd/{n}"));
        });
        leaking(
            &trap,
            &format!("run --bundle {} cwd{n}", bundle.dir.display()),
        )
        .fails();
    }
}

/// The same for `exec`, which enters with descriptors of its own (the cgroup's directory, the
/// container's root): lxc-attach once left one open to the container (CVE-2016-8649).
#[test]
fn cve_2016_8649_exec_opens_no_way_out() {
    let trap = Trap::new("leakexec");
    let program = host_program(&trap);
    let program = format!("{UP}{}", program.display());
    let bundle = trap.bundle("c", &["sleep", "300"], nothing);
    let c = trap.place.create_in("c", &bundle);
    c.start();
    let attack = |n: u32, fds: u32| {
        let path = format!("/proc/self/fd/{n}/{program}");
        leaking(
            &trap,
            &format!("exec --preserve-fds {fds} c {path} echo escaped"),
        )
    };
    let wanted = attack(3, 1);
    assert_eq!(wanted.out(), "escaped", "the attack by hand: {wanted}");
    for n in NUMBERS {
        let output = attack(n, 0).fails();
        assert!(
            !output.all().contains("escaped"),
            "descriptor {n}: {output}"
        );
        leaking(&trap, &format!("exec --cwd /proc/self/fd/{n} c pwd")).fails();
    }
    c.remove();
}

/// What the waiting init holds: a lock, sockets, its stdio, and no directory at all.
#[test]
fn the_waiting_init_holds_no_directory() {
    let trap = Trap::new("initfds");
    let bundle = trap.bundle("c", &["sleep", "300"], nothing);
    let c = trap.place.create_in("c", &bundle);
    let directories = |pid: u32| -> Vec<PathBuf> {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("read the descriptors");
        let paths = fds.flatten().map(|fd| fd.path());
        paths
            .filter(|fd| fs::metadata(fd).is_ok_and(|m| m.is_dir()))
            .collect()
    };
    let held = fs::File::open("/").expect("open a directory");
    assert!(
        !directories(std::process::id()).is_empty(),
        "one is seen where it is"
    );
    drop(held);
    // Not the keeper that LXC's containers have: it executes nothing, and can't be looked into
    // (PR_SET_DUMPABLE).
    assert_eq!(directories(c.init() as u32), Vec::<PathBuf>::new());
    c.remove();
}

/// CVE-2025-52565 (and the console part of CVE-2025-31133): `/dev/console` is a link of the image,
/// and the terminal is bound over whatever it leads to. By hand: where it is a file, the terminal
/// is there.
#[test]
fn cve_2025_52565_the_console_goes_through_no_link() {
    let own_dev = |trap: &Trap| {
        let rootfs = trap.rootfs.clone();
        move |config: &mut Value| {
            config["process"]["terminal"] = json!(true);
            // The image's own /dev, with devices made in it.
            drop_mount(config, "/dev");
            config["root"]["path"] = json!(rootfs);
        }
    };
    let trap = Trap::new("console");
    let output = trap.run_at_terminal(
        "good",
        &["sh", "-c", "test -c /dev/console && echo bound"],
        own_dev(&trap),
    );
    // The terminal echoes what script(1) ends its input with, before or after.
    let output = output.ok();
    assert!(
        output.out().lines().any(|line| line.ends_with("bound")),
        "{output}"
    );
    for target in [
        "/proc/sys/kernel/core_pattern",
        "/proc/1/attr/exec",
        "/etc/hosts",
        "../canary",
    ] {
        let trap = Trap::new("console");
        trap.link("/dev/console", target);
        let before = trap.look();
        let output = trap.run_at_terminal("bad", &["true"], own_dev(&trap));
        let output = output.fails();
        assert!(output.all().contains("/dev/console"), "{target}: {output}");
        assert_eq!(trap.look(), before, "{target}");
    }
}

/// Takes the mount at `destination` and all below it out of a configuration.
fn drop_mount(config: &mut Value, destination: &str) {
    let mounts = config["mounts"].as_array_mut().expect("a list of mounts");
    let below =
        |m: &Value| Path::new(m["destination"].as_str().unwrap_or("")).starts_with(destination);
    mounts.retain(|m| !below(m) || m["type"] == "devpts");
}
