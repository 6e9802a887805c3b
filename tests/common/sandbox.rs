//! A private place for a caller and its daemons, cleaned up however the test process ends.
//! It must not end a process or remove anything that doesn't carry its own name.
//!
//! libtest offers no end of all tests, and a killed test process runs no destructor. So a small
//! shell, the janitor, waits on a pipe whose other end is this process's: end of file means that
//! the tests are over, by success, panic or SIGKILL. It then ends every process that was started
//! with `PXRUN_TEST_DIR` set to this place or that is in a cgroup with its name, unmounts what
//! hangs below it, and removes its cgroups and files.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::command::cmd;

/// Marks each process that belongs to a sandbox.
pub const MARK: &str = "PXRUN_TEST_DIR";

const JANITOR: &str = r#"
read -r dir
read -r name
read -r last_words
cat >/dev/null
mine() {
  {
    grep -lsaF "PXRUN_TEST_DIR=$dir" /proc/[0-9]*/environ
    grep -lsaF "$dir/" /proc/[0-9]*/environ
    grep -lsF "/$name" /proc/[0-9]*/cgroup
  } | cut -d/ -f3 | sort -u
}
sh -c "$last_words" >"$dir/last-words" 2>&1
for round in 1 2 3 4 5 6; do
  pids=$(mine)
  [ -n "$pids" ] || break
  for c in $(find /sys/fs/cgroup -path "*/$name*" -name freezer.state 2>/dev/null); do echo THAWED >"$c"; done
  kill -9 $pids 2>/dev/null
  sleep 0.1
done
awk '{print $5}' /proc/self/mountinfo | grep -F "$dir/" | sort -r | while read -r m; do umount -l "$m"; done
for round in 1 2 3; do
  find /sys/fs/cgroup -depth -type d -path "*/$name*" 2>/dev/null | while read -r c; do rmdir "$c" 2>/dev/null; done
done
rm -rf --one-file-system "$dir" || echo "janitor: $dir stays" >&2
"#;

/// A directory under `/tmp` with a janitor.
#[derive(Debug)]
pub struct Sandbox {
    /// Short, since socket paths may have 107 bytes only (unix(7)).
    pub dir: PathBuf,
    /// Last part of [`Self::dir`]; cgroups that belong here begin with it.
    pub name: String,
    /// Its standard input is the pipe, closed when this process ends.
    _janitor: Child,
}

impl Sandbox {
    /// Makes the place; `last_words` is a shell line run before anything is killed.
    pub fn new(kind: &str, last_words: &str) -> Self {
        let prefix = format!("pxt-{kind}-");
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in("/tmp");
        let dir = dir.expect("make a directory in /tmp").keep();
        // Containers in a user namespace pass through it.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&dir, open).expect("open the directory");
        let name = dir
            .file_name()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        let last_words = last_words.replace("{dir}", &dir.to_string_lossy());
        // The directory comes through the pipe: in its arguments or its environment it would be
        // a mark, and the janitor would end itself.
        let mut janitor = Command::new("/bin/sh");
        janitor
            .args(["-c", JANITOR])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut janitor = janitor.spawn().expect("start the janitor");
        let pipe = janitor.stdin.as_mut().expect("its stdin is a pipe");
        writeln!(pipe, "{}\n{name}\n{last_words}", dir.display()).expect("tell the janitor");
        Self {
            dir,
            name,
            _janitor: janitor,
        }
    }

    /// A path inside.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.join(relative)
    }

    /// Writes a file inside.
    pub fn write(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("inside the sandbox"))
            .expect("make a directory");
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    }

    /// Makes a directory inside.
    pub fn mkdir(&self, relative: &str) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        path
    }

    /// A command that carries the mark, so that it and its children are found. It works in the
    /// sandbox: conmon leaves a file `oom` where it was started (`oom.c`).
    pub fn cmd(&self, program: &str) -> Command {
        let mut command = cmd(program);
        command.env(MARK, &self.dir).current_dir(&self.dir);
        command
    }
}

/// Mount points below `dir` in this mount namespace.
pub fn mounts_below(dir: &Path) -> Vec<String> {
    let info = std::fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    let points = info.lines().filter_map(|l| l.split(' ').nth(4));
    points
        .filter(|p| Path::new(p).starts_with(dir))
        .map(String::from)
        .collect()
}
