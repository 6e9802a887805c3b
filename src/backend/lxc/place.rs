//! A container's directory for LXC, which a mapped root can reach too: configuration, log, sockets,
//! mount points. Must not know what goes into the files.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The `lxcpath` of all containers: `lxc-ls -P` and `lxc-info -P` find them here.
pub const BASE: &str = "/run/pxrun-lxc";

/// Passed through by anyone who knows a name, listed by root alone.
const DIR_MODE: u32 = 0o711;

/// What LXC makes in `/dev`, which a mapped root couldn't.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// One container's directory.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

/// A name for LXC: readable, and not to be guessed, since the directory may be passed through.
pub fn new_name(id: &str) -> anyhow::Result<String> {
    use std::io::Read;
    let mut random = [0u8; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("read `/dev/urandom`")?;
    // LXC's command socket is an abstract one of at most 107 bytes.
    let readable: String = id.chars().take(40).collect();
    Ok(format!("{readable}.{:016x}", u64::from_ne_bytes(random)))
}

impl Place {
    /// The directory of the container with this name.
    pub fn of(name: &str) -> Place {
        Place(Path::new(BASE).join(name))
    }

    /// Makes the directory, which mustn't be there.
    pub fn make(&self) -> anyhow::Result<()> {
        let dir = |path: &Path| std::fs::DirBuilder::new().mode(DIR_MODE).create(path);
        match dir(Path::new(BASE)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => check_base()?,
            made => made.with_context(|| format!("make `{BASE}`"))?,
        }
        for path in self.dirs() {
            dir(&path).with_context(|| format!("make `{}`", path.display()))?;
        }
        for (name, target) in LINKS {
            std::os::unix::fs::symlink(target, self.root().join("dev").join(name))
                .context("make the first root's links")?;
        }
        Ok(())
    }

    /// In the order of making.
    fn dirs(&self) -> [PathBuf; 5] {
        let root = self.root();
        let below = ["dev", "proc"].map(|name| root.join(name));
        let [dev, proc] = below;
        [self.0.clone(), root, dev, proc, self.mount()]
    }

    /// Removes it with all that pxrun and LXC have put there.
    pub fn remove(&self) -> anyhow::Result<()> {
        let mut files = vec![self.config(), self.log(), self.hook_socket()];
        files.extend(LINKS.map(|(name, _)| self.root().join("dev").join(name)));
        files.extend(self.unfinished());
        remove_empty(&self.root(), DEPTH);
        let dirs = self.dirs();
        let results = files
            .iter()
            .map(|path| (path, std::fs::remove_file(path)))
            .chain(
                dirs.iter()
                    .rev()
                    .map(|path| (path, std::fs::remove_dir(path))),
            );
        for (path, result) in results {
            match result {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove `{}`", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Files that a killed `create` was about to rename.
    fn unfinished(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "tmp"))
            .collect()
    }

    /// Where LXC looks for the configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("config")
    }

    /// LXC's log.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Where the mount hook knocks.
    pub fn hook_socket(&self) -> PathBuf {
        self.0.join("hook.sock")
    }

    /// The root that LXC gets: empty, and left as soon as the first process runs. So whatever LXC
    /// does to a root, the bundle's never sees it.
    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// Where LXC mounts the root.
    pub fn mount(&self) -> PathBuf {
        self.0.join("mount")
    }
}

/// Further down no mount point is looked for.
const DEPTH: u32 = 32;

/// Removes directories that are places of mounts, made by whoever mounted; never what is in one.
fn remove_empty(dir: &Path, depth: u32) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if depth > 0 {
            remove_empty(&entry.path(), depth - 1);
        }
        let _ = std::fs::remove_dir(entry.path());
    }
}

/// `/run` belongs to root, but a directory there may be older than this program's care for it.
fn check_base() -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::symlink_metadata(BASE).with_context(|| format!("stat `{BASE}`"))?;
    let others_write = meta.permissions().mode() & 0o022 != 0;
    if !meta.is_dir() || meta.uid() != 0 || others_write {
        anyhow::bail!("`{BASE}` is not root's own directory");
    }
    Ok(())
}
