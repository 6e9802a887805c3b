//! `pxrun setup` as a person calls it, and podman run on what it wrote. containerd's and Docker's
//! own suites are configured by it.

mod common;

use std::fs;
use std::process::Command;

use common::command::{Output, cmd, run, sh};
use common::sandbox::Sandbox;
use common::{image, runtime, setup};

/// `pxrun setup ARGS` with the sandbox in the place of `/`.
fn call(sandbox: &Sandbox, args: &str) -> Output {
    let mut command = cmd(env!("CARGO_BIN_EXE_pxrun"));
    command.arg("setup").args(args.split(' '));
    run(command.arg("--prefix").arg(&sandbox.dir))
}

#[test]
fn shows_makes_and_takes_back() {
    let sandbox = Sandbox::new("setup", "");
    let old = "{\"debug\":true}";
    let file = sandbox.write("etc/docker/daemon.json", old);
    let text = || fs::read_to_string(&file).expect("read the file");
    let path = file.display();

    let shown = call(&sandbox, "docker --dry-run --binary /usr/bin/pxrun").ok();
    let want = format!(
        "--- {path}\n+++ {path}\n@@ -1,1 +1,8 @@\n-{{\"debug\":true}}\n+{{\n+    \"debug\": true,\n\
         +    \"runtimes\": {{\n+        \"pxrun\": {{\n+            \"path\": \"/usr/bin/pxrun\"\n\
         +        }}\n+    }}\n+}}\n"
    );
    assert_eq!(shown.stdout, want);
    assert_eq!(text(), old);

    call(&sandbox, "docker")
        .ok()
        .says(&format!("the old one is `{path}.before-pxrun`"));
    // The command names itself by what /proc/self/exe says, whatever links led to it.
    let own = fs::canonicalize(env!("CARGO_BIN_EXE_pxrun")).expect("find the binary");
    assert!(text().contains(&*own.to_string_lossy()), "{}", text());
    call(&sandbox, "docker").ok().says("stays as it is");
    call(&sandbox, "docker --undo --dry-run")
        .ok()
        .says("+{\"debug\":true}");
    call(&sandbox, "docker --undo").ok().says("restored");
    assert_eq!(text(), old);
    call(&sandbox, "docker --undo").ok().says("stays as it is");
}

#[test]
fn refuses_in_one_line() {
    let sandbox = Sandbox::new("setup", "");
    sandbox.write("etc/containerd/config.toml", "version = 2\n[plugins\n");
    let failed = call(&sandbox, "containerd").fails();
    assert_eq!(failed.stderr.lines().count(), 1, "{failed}");
    failed.says("set up `/etc/containerd/config.toml`: not understood, so left alone");
    call(&sandbox, "crio --binary pxrun")
        .fails()
        .says("has to be an absolute path");
    call(&sandbox, "kubernetes --undo")
        .fails()
        .says("kubectl delete");
    call(&sandbox, "nobody")
        .fails()
        .says("expected one of podman, containerd");
}

#[test]
fn kubernetes_objects_name_the_handler_that_containerd_gets() {
    let sandbox = Sandbox::new("setup", "");
    let objects = call(&sandbox, "kubernetes").ok().stdout;
    let field = |name: &str| {
        let line = objects.lines().find_map(|l| l.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {objects}"))
            .trim()
            .to_owned()
    };
    setup("containerd", &sandbox);
    let config = fs::read_to_string(sandbox.path("etc/containerd/config.toml"));
    let handler = format!("runtimes.{}]", field("handler:"));
    assert!(config.expect("setup wrote it").contains(&handler));
    assert_eq!(field("runtimeClassName:"), field("name:"));
}

/// podman with the sandbox's `/etc/containers` as the machine's.
fn podman(sandbox: &Sandbox, args: &str) -> Command {
    let dir = sandbox.dir.display();
    let flags = format!(
        "--root {dir}/root --runroot {dir}/runroot --tmpdir {dir}/tmp --storage-driver vfs \
         --cgroup-manager cgroupfs --events-backend file"
    );
    let line =
        format!("mount --bind {dir}/etc/containers /etc/containers && exec podman {flags} {args}");
    let mut command = sandbox.cmd("unshare");
    command.args(["--mount", "sh", "-c", &line]);
    command
}

#[test]
fn podman_knows_the_runtime_by_its_name() {
    let sandbox = Sandbox::new("setup", "");
    image::rootfs(&sandbox.path("rootfs"));
    // Semaphores in shared memory would be those of the machine's own podman; without
    // CAP_SYS_RESOURCE nobody can raise the limits that podman wants by default.
    let own = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
               log_driver = \"k8s-file\"\n[engine]\nlock_type = \"file\"\n";
    sandbox.write("etc/containers/containers.conf", own);
    sandbox.write(
        "etc/containers/policy.json",
        r#"{"default": [{"type": "reject"}]}"#,
    );
    setup("podman", &sandbox);
    let rootfs = sandbox.path("rootfs");
    let container = |flags: &str, command: &str| {
        let rootfs = rootfs.display();
        let args =
            format!("--runtime pxrun run --rm --network none {flags} --rootfs {rootfs} {command}");
        run(&mut podman(&sandbox, &args))
    };
    assert_eq!(container("", "echo hello").ok().out(), "hello");
    // Only with our name in `runtime_supports_json` podman learns which failure it is.
    container("", "no-such-command").exits(127);
    let info = "info --format '{{.Host.OCIRuntime.Path}}'";
    let with = run(&mut podman(&sandbox, &format!("--runtime pxrun {info}"))).ok();
    assert_eq!(with.out(), runtime().to_string_lossy());
    // The runtimes that podman knew before are still there.
    let without = run(&mut podman(&sandbox, &format!("--runtime crun {info}"))).ok();
    assert_eq!(without.out(), "/usr/bin/crun");

    let made = sandbox.path("etc/containers/containers.conf.d");
    call(&sandbox, "podman --undo").ok().says("removed");
    assert_eq!(fs::read_dir(made).expect("the directory").count(), 0);
    container("", "true").fails();
    let mounts = run(&mut sh(&format!(
        "grep -c {} /proc/self/mountinfo",
        sandbox.name
    )));
    assert_eq!(mounts.out(), "0");
}
