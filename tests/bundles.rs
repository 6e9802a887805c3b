//! Bundles and templates with real producers and readers: buildah, podman and skopeo write images,
//! umoci and GNU tar unpack the same for comparison, the runtime runs what comes out.

mod common;

#[path = "bundles/create.rs"]
mod create;
#[path = "bundles/hostile.rs"]
mod hostile;
#[path = "bundles/overlay.rs"]
mod overlay;
#[path = "bundles/templates.rs"]
mod templates;
#[path = "bundles/tree.rs"]
mod tree;
#[path = "bundles/validate.rs"]
mod validate;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::command::{Output, cmd, run};
use common::sandbox::Sandbox;
use common::{image, runtime, unique};

/// What the tests share: an image of two layers from buildah, as layout and as archive.
pub struct Shared {
    pub sandbox: Sandbox,
    pub layout: PathBuf,
    pub archive: PathBuf,
}

pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let sandbox = Sandbox::new("bnd", "");
        let (layout, archive) = (sandbox.path("layout"), sandbox.path("image.tar"));
        build(&sandbox, &layout, &archive);
        Shared {
            sandbox,
            layout,
            archive,
        }
    })
}

/// A bundle made of the archive that the tests share.
#[track_caller]
fn bundle_of_shared(bundle: &Path) {
    create_from(&shared().archive, bundle).ok();
}

/// A fresh directory.
pub fn place(test: &str) -> PathBuf {
    shared().sandbox.mkdir(&unique(test))
}

/// The runtime with these arguments.
pub fn pxrun(args: &[&str]) -> Command {
    let mut command = cmd(runtime());
    command.args(args);
    command
}

/// `bundle create --from SOURCE BUNDLE`.
#[track_caller]
pub fn create_from(source: &Path, bundle: &Path) -> Output {
    run(&mut pxrun(&[
        "bundle",
        "create",
        "--from",
        text(source),
        text(bundle),
    ]))
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

const CONTAINERFILE: &str = r#"FROM scratch
COPY rootfs /
COPY changes /
USER user
ENV A=1
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["id -u; cat /data/volume; pwd"]
VOLUME /data
LABEL maker=test
STOPSIGNAL SIGINT
WORKDIR /srv/here
"#;

fn build(sandbox: &Sandbox, layout: &Path, archive: &Path) {
    let context = sandbox.mkdir("context");
    image::rootfs(&context.join("rootfs"));
    tree::decorate(&context.join("rootfs"));
    let changes = context.join("changes");
    std::fs::create_dir_all(changes.join("data")).expect("make a directory");
    std::fs::write(changes.join("data/volume"), "in the volume\n").expect("write a file");
    std::fs::write(context.join("Containerfile"), CONTAINERFILE).expect("write a file");
    let storage = |name: &str| sandbox.path(name).to_string_lossy().into_owned();
    let (root, runroot) = (storage("root"), storage("runroot"));
    let buildah = || {
        let mut command = sandbox.cmd("buildah");
        command.args([
            "--root",
            &root,
            "--runroot",
            &runroot,
            "--storage-driver",
            "vfs",
        ]);
        command
    };
    let mut build = buildah();
    build.args([
        "bud",
        "--isolation",
        "chroot",
        "--layers",
        "--quiet",
        "--tag",
        "box:1",
    ]);
    run(build.arg(&context)).ok();
    for (transport, path) in [("oci", layout), ("oci-archive", archive)] {
        let target = format!("{transport}:{}:box", path.display());
        run(buildah().args(["push", "--quiet", "box:1", &target])).ok();
    }
}
