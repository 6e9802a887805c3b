//! What every caller's test shares: the runtime under test, a private place that is cleaned up
//! however the test ends, commands with a time limit, a small image, a view of the cgroups.
//! It must not know any caller: what belongs to podman or containerd stands in its own test file.
//!
//! These variables choose what is tested; the tests are the same for all of it.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `PXRUN_BIN` | the runtime under test | the `pxrun` that cargo built for this test |
//! | `PXRUN_BACKEND` | asked for by the annotation `dev.pxrun.backend`; callers that pass none get a configuration file that makes it the default | none |
//! | `PXRUN_CONFIG` | the runtime's own configuration file, which then has to choose the backend itself | none |

#![allow(dead_code, reason = "each test crate uses its own part of this")]

pub mod bundle;
pub mod cgroup;
pub mod command;
pub mod cri;
pub mod image;
pub mod lacks;
pub mod oci;
pub mod sandbox;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sandbox::Sandbox;

/// The annotation by which a container asks pxrun for a backend.
pub const BACKEND_ANNOTATION: &str = "dev.pxrun.backend";

/// The runtime under test, absolute.
pub fn runtime() -> PathBuf {
    let chosen = std::env::var_os("PXRUN_BIN").map(PathBuf::from);
    let path = chosen.unwrap_or_else(|| env!("CARGO_BIN_EXE_pxrun").into());
    path.canonicalize()
        .unwrap_or_else(|e| panic!("runtime under test {}: {e}", path.display()))
}

/// The name by which callers know the runtime: its file name.
pub fn runtime_name() -> String {
    let path = runtime();
    let name = path.file_name().expect("the runtime has a file name");
    name.to_string_lossy().into_owned()
}

/// Has this build's `setup` name the runtime under test to `caller`, whose files are below the
/// sandbox as they would be below `/`.
#[track_caller]
pub fn setup(caller: &str, sandbox: &sandbox::Sandbox) -> command::Output {
    let mut command = command::cmd(env!("CARGO_BIN_EXE_pxrun"));
    command
        .args(["setup", caller, "--prefix"])
        .arg(&sandbox.dir);
    command::run(command.arg("--binary").arg(runtime())).ok()
}

/// The backend that `PXRUN_BACKEND` asks for.
pub fn backend() -> Option<String> {
    std::env::var("PXRUN_BACKEND")
        .ok()
        .filter(|b| !b.is_empty())
}

/// Whether the pid that callers are told is a keeper's: its pid and user namespace are the host's,
/// its program is pxrun.
pub fn has_keeper() -> bool {
    backend().is_some_and(|backend| ["lxc", "proxmox"].contains(&backend.as_str()))
}

/// The container's first process, given the pid that callers are told: that pid itself, or behind a
/// keeper the oldest process of its mount namespace that isn't the keeper.
#[track_caller]
pub fn init_of(pid: i32) -> i32 {
    if !has_keeper() {
        return pid;
    }
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let wanted = namespace(pid).expect("the keeper lives");
    let entries = std::fs::read_dir("/proc")
        .expect("list processes")
        .flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|other| *other != pid && namespace(*other).as_ref() == Some(&wanted))
        .min_by_key(|other| started(*other))
        .expect("the container has processes")
}

/// When a process was started, in clock ticks after boot: field 22 of proc_pid_stat(5).
fn started(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let field = fields.split(' ').nth(19).and_then(|f| f.parse().ok());
    field.unwrap_or(u64::MAX)
}

/// How many processes a container's cgroup counts beside the container's own: its keeper.
pub fn keepers() -> usize {
    usize::from(has_keeper())
}

/// `--annotation dev.pxrun.backend=…` for callers that spell it so; empty without a wish.
pub fn backend_flags() -> Vec<String> {
    match backend() {
        Some(b) => vec!["--annotation".into(), format!("{BACKEND_ANNOTATION}={b}")],
        None => Vec::new(),
    }
}

/// Makes the backend under test the runtime's default, for callers that pass no annotation. The
/// runtime inherits the variable through `command` and its daemons.
pub fn set_default_backend(command: &mut Command, sandbox: &Sandbox) {
    let Some(backend) = backend() else { return };
    if std::env::var_os("PXRUN_CONFIG").is_none() {
        let text = format!("[default]\nbackend = {backend:?}\n");
        command.env("PXRUN_CONFIG", sandbox.write("pxrun.toml", &text));
    }
}

/// True when runc 1.1 does the work, called directly or by pxrun's delegation. It is the yardstick
/// but not in every point right: prints what it does differently, and the caller leaves that point
/// out.
pub fn runc_differs(what: &str) -> bool {
    static RUNC: OnceLock<bool> = OnceLock::new();
    let runc = *RUNC.get_or_init(|| is_done_by("runc version 1.1"));
    if runc {
        println!("LEFT OUT: runc 1.1 differs: {what}");
    }
    runc
}

/// Whether the runtime under test, or the one that it delegates to, has such a version.
fn is_done_by(version: &str) -> bool {
    let program = match backend().as_deref() {
        Some(name @ ("crun" | "runc")) => PathBuf::from(name),
        _ => runtime(),
    };
    let told = command::run(command::cmd(program).arg("--version"));
    told.stdout.starts_with(version)
}

/// Waits until `done` answers true; panics with `what` after ten seconds.
#[track_caller]
pub fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_at_most(Duration::from_secs(10), what, done);
}

/// Waits until `done` answers true; panics with `what` after `limit`.
#[track_caller]
pub fn wait_at_most(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(
            Instant::now() < end,
            "still waiting after {limit:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the process is there and no zombie.
pub fn alive(pid: i32) -> bool {
    // proc_pid_stat(5): the state letter follows the last parenthesis.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|s| s.rsplit(") ").next().map(|rest| !rest.starts_with('Z')))
        .unwrap_or(false)
}

/// A name that no other test of this machine uses.
pub fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{n}", std::process::id())
}
