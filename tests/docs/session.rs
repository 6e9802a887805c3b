//! One shell in a place where a reader's machine is imitated: root's home, the callers installed,
//! pxrun in /usr/local/bin, the images that the documents name already pulled.
//! It must not change the machine: its directories are covered in a mount namespace of its own.

use crate::common::command::{Output, run};
use crate::common::sandbox::Sandbox;
use crate::common::{image, runtime};

use super::fences::{Block, Command, Kind, alike};

/// Images that are there without a registry.
const IMAGES: [&str; 2] = [
    "docker.io/library/alpine:latest",
    "docker.io/library/busybox:latest",
];

/// Covers the machine's directories, then types what comes on standard input.
const PRELUDE: &str = r#"
set -e
here=$1
for dir in etc usr var root opt srv; do
    mkdir -p "$here/over/$dir/upper" "$here/over/$dir/work"
    mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$here/over/$dir/upper,workdir=$here/over/$dir/work" "/$dir"
done
mount -t tmpfs -o mode=755 tmpfs /run
cp "$here/pxrun" /usr/local/bin/pxrun
mkdir -p /etc/containers
cp "$here/containers.conf" "$here/storage.conf" /etc/containers/
rm -rf /etc/docker /etc/containerd /etc/crio /etc/pxrun
for image in $2; do podman import --quiet --change CMD=/bin/sh "$here/image.tar" "$image" >/dev/null; done
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset XDG_RUNTIME_DIR
cd
set +e
. "$here/typed"
for id in $(pxrun list --quiet); do pxrun delete --force "$id"; done
podman rm --all --force --time 0
"#;

/// A reader's machine.
pub struct Session {
    sandbox: Sandbox,
}

impl Session {
    pub fn new() -> Self {
        let sandbox = Sandbox::new("docs", "");
        let rootfs = sandbox.path("rootfs");
        image::rootfs(&rootfs);
        image::tar(&rootfs, &sandbox.path("image.tar"));
        std::fs::copy(runtime(), sandbox.path("pxrun")).expect("copy the runtime");
        // A reader's machine can raise limits and may have systemd; those that the tests run on can't.
        sandbox.write(
            "containers.conf",
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             log_driver = \"k8s-file\"\nnetns = \"none\"\n[engine]\ncgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\nlock_type = \"file\"\n",
        );
        sandbox.write("storage.conf", "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/containers/storage\"\ngraphroot = \"/var/lib/containers/docs\"\n");
        Self { sandbox }
    }

    /// Types the commands of all blocks, one after another; what wasn't as the document says.
    pub fn type_all(&self, blocks: &[&Block]) -> Vec<String> {
        let commands = || {
            blocks
                .iter()
                .flat_map(|b| b.commands.iter().map(|c| (&b.kind, c)))
        };
        let session = self.run(commands().map(|(_, c)| script(c)).collect());
        let judged = commands().filter_map(|(kind, command)| {
            let line = command.line;
            let Some((printed, status)) = self.printed(command) else {
                return Some(format!("{line}: not typed: {session}"));
            };
            fault(kind, command, &printed, &status).map(|fault| format!("{line}: {fault}"))
        });
        judged.collect()
    }

    fn run(&self, typed: String) -> Output {
        self.sandbox.write("typed", &typed);
        self.sandbox.mkdir("out");
        let prelude = self.sandbox.write("prelude", PRELUDE);
        let mut shell = self.sandbox.cmd("unshare");
        shell
            .args(["--mount", "--propagation", "private", "bash"])
            .arg(prelude);
        run(shell.arg(&self.sandbox.dir).arg(IMAGES.join(" ")))
    }

    /// What a command printed, and its exit status.
    pub fn printed(&self, command: &Command) -> Option<(String, String)> {
        let read = |name: String| std::fs::read_to_string(self.sandbox.path(name)).ok();
        let printed = read(format!("out/{}", command.line))?;
        let status = read(format!("out/{}.status", command.line))?;
        Some((printed.trim_end().to_owned(), status.trim().to_owned()))
    }
}

/// The command, its output and its status in files: a container that lives on holds no pipe.
fn script(command: &Command) -> String {
    let (line, text) = (command.line, &command.text);
    format!(
        "{{ {text}\n}} </dev/null >\"$here/out/{line}\" 2>&1\necho $? >\"$here/out/{line}.status\"\n"
    )
}

fn fault(kind: &Kind, command: &Command, printed: &str, status: &str) -> Option<String> {
    let text = &command.text;
    match (kind, status == "0") {
        (Kind::Fails, true) => return Some(format!("`{text}` succeeds: {printed}")),
        (Kind::Works, false) => return Some(format!("`{text}` ends with {status}: {printed}")),
        _ => {}
    }
    let shown = command.output.join("\n");
    let shown: Vec<_> = shown.trim_end().lines().map(str::to_owned).collect();
    let lines: Vec<_> = printed.lines().collect();
    let differs = !shown.is_empty() && !alike(&shown, &lines);
    differs.then(|| format!("`{text}` prints\n{printed}\nand not\n{}", shown.join("\n")))
}
