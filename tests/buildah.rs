//! buildah drives the runtime under test for real: RUN steps of a Containerfile, each an OCI
//! bundle that is created, started, waited for and deleted by buildah itself, without conmon.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::command::{Output, run, sh};
use common::sandbox::{MARK, Sandbox};
use common::{cgroup, image, runtime, runtime_name, set_default_backend, unique};

const IMAGE: &str = "pxrun.test/box:1";

struct Buildah {
    sandbox: Sandbox,
    flags: Vec<String>,
    conf: PathBuf,
}

fn buildah() -> &'static Buildah {
    static BUILDAH: OnceLock<Buildah> = OnceLock::new();
    BUILDAH.get_or_init(Buildah::set_up)
}

impl Buildah {
    fn set_up() -> Self {
        let sandbox = Sandbox::new("bah", "");
        let conf = sandbox.write("containers.conf", &configuration());
        let driver =
            std::fs::read_to_string("/proc/filesystems").is_ok_and(|f| f.contains("overlay"));
        let driver = if driver { "overlay" } else { "vfs" };
        let path = |name: &str| sandbox.path(name).to_string_lossy().into_owned();
        let flags = [
            "--root",
            &path("root"),
            "--runroot",
            &path("runroot"),
            "--storage-driver",
            driver,
        ];
        let flags = flags.map(String::from).to_vec();
        let this = Self {
            sandbox,
            flags,
            conf,
        };
        let rootfs = this.sandbox.path("rootfs");
        image::rootfs(&rootfs);
        let archive = image::oci_archive(&rootfs, &this.sandbox.path("box"), IMAGE, &["sh"]);
        run(this
            .cmd(&["pull", "--quiet"])
            .arg(format!("oci-archive:{}", archive.display())))
        .ok();
        this
    }

    fn cmd(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd("buildah");
        set_default_backend(&mut command, &self.sandbox);
        command
            .env("CONTAINERS_CONF", &self.conf)
            .args(&self.flags)
            .args(args);
        command
    }
}

/// One test at a time: the last one looks for leftovers of any.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn configuration() -> String {
    let lines = [
        "[containers]",
        // Machines without CAP_SYS_RESOURCE can't raise the limits that buildah wants by default.
        r#"default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]"#,
        "[engine]",
        r#"cgroup_manager = "cgroupfs""#,
    ];
    lines.join("\n")
}

/// Builds a Containerfile with the runtime under test and OCI isolation.
#[track_caller]
fn build(tag: &str, flags: &[&str], steps: &str) -> Output {
    let context = buildah().sandbox.mkdir(&unique("context"));
    std::fs::write(
        context.join("Containerfile"),
        format!("FROM {IMAGE}\n{steps}\n"),
    )
    .expect("write the Containerfile");
    std::fs::write(context.join("input"), "from the context\n").expect("write the input");
    let mut command = buildah().cmd(&[
        "build",
        "--isolation",
        "oci",
        "--network",
        "none",
        "--pull-never",
    ]);
    command
        .arg("--cgroup-parent")
        .arg(format!("/{}", buildah().sandbox.name));
    command
        .arg("--ulimit=nofile=1024:1024")
        .arg("--ulimit=nproc=1024:1024");
    command
        .arg("--runtime")
        .arg(runtime())
        .args(flags)
        .args(["--tag", tag])
        .arg(&context);
    run(&mut command)
}

#[test]
fn run_steps() {
    let _alone = alone();
    let steps = "COPY input /input\nRUN cat /input && echo built >/result && id -u\nUSER user\nWORKDIR /home/user\nENV COLOUR=green\nRUN echo $COLOUR $(id -u) $(pwd) >mark && cat mark";
    let tag = unique("steps");
    let output = build(&tag, &[], steps).ok();
    assert!(output.stdout.contains("from the context\n0\n"), "{output}");
    assert!(
        output.stdout.contains("green 1000 /home/user\n"),
        "{output}"
    );
    // What the steps wrote is in the image.
    let script = "c=$(buildah $FLAGS from --pull-never $0) && m=$(buildah $FLAGS mount $c) && cat $m/result $m/home/user/mark; buildah $FLAGS rm $c >/dev/null";
    let mut command = sh(script);
    command
        .arg(&tag)
        .env("FLAGS", buildah().flags.join(" "))
        .env("CONTAINERS_CONF", &buildah().conf)
        .env(MARK, &buildah().sandbox.dir);
    assert_eq!(
        run(&mut command).ok().stdout,
        "built\ngreen 1000 /home/user\n"
    );
}

#[test]
fn a_failing_step_fails_the_build_with_its_code() {
    let _alone = alone();
    let output = build(&unique("fail"), &[], "RUN exit 7").fails();
    assert!(output.stderr.contains("exit status 7"), "{output}");
    let output = build(&unique("missing"), &[], "RUN [\"no-such-command\"]").fails();
    assert!(output.stderr.contains("not found"), "{output}");
}

#[test]
fn steps_as_a_pipe_and_large_output() {
    let _alone = alone();
    let output = build(
        &unique("large"),
        &[],
        "RUN head -c 3000000 /dev/zero | tr '\\0' x && echo && echo end",
    )
    .ok();
    assert!(
        output.stdout.matches('x').count() >= 3_000_000,
        "{} bytes",
        output.stdout.len()
    );
    assert!(output.stdout.contains("\nend\n"));
}

#[test]
fn volumes_secrets_and_capabilities() {
    let _alone = alone();
    let dir = buildah().sandbox.mkdir(&unique("volume"));
    std::fs::write(dir.join("file"), "mounted\n").unwrap();
    let secret = buildah().sandbox.write(&unique("secret"), "hush\n");
    let volume = format!("--volume={}:/data:ro", dir.display());
    let secret = format!("--secret=id=s,src={}", secret.display());
    let steps = "RUN cat /data/file\nRUN --mount=type=secret,id=s cat /run/secrets/s\nRUN grep CapEff /proc/self/status";
    let output = build(
        &unique("volumes"),
        &[&volume, &secret, "--cap-drop", "CAP_CHOWN"],
        steps,
    )
    .ok();
    assert!(
        output.stdout.contains("mounted\n") && output.stdout.contains("hush\n"),
        "{output}"
    );
    let line = output
        .stdout
        .lines()
        .find(|l| l.starts_with("CapEff"))
        .expect("the capabilities");
    let bits = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
    assert_eq!(bits & 1, 0, "CAP_CHOWN is still there");
}

#[test]
fn buildah_run_in_a_working_container() {
    let _alone = alone();
    let name = run(buildah().cmd(&["from", "--pull-never"]).arg(IMAGE))
        .ok()
        .out()
        .to_owned();
    let mut command = buildah().cmd(&[
        "run",
        "--isolation",
        "oci",
        "--network",
        "none",
        "--runtime",
    ]);
    let output = run(command
        .arg(runtime())
        .args([&name, "--", "sh", "-c", "echo ran; exit 5"]));
    let _ = run(buildah().cmd(&["rm"]).arg(&name));
    assert_eq!(output.exits(5).out(), "ran");
}

#[test]
fn nothing_stays() {
    let _alone = alone();
    // buildah gives no root: the host's default one may hold what isn't this test's.
    let known = || {
        let list = run(common::command::cmd(runtime()).args(["list", "-q"]));
        let ids = list.stdout.lines().filter(|id| id.contains("buildah-"));
        ids.map(String::from).collect::<Vec<_>>()
    };
    let before = known();
    build(&unique("clean"), &[], "RUN true").ok();
    let after = known();
    assert_eq!(before, after, "what {} knows has changed", runtime_name());
    let name = &buildah().sandbox.name;
    let stay: Vec<_> = cgroup::all_with(name)
        .into_iter()
        .filter(|c| c.to_string_lossy().contains("buildah-"))
        .collect();
    assert!(stay.is_empty(), "{stay:?}");
}
