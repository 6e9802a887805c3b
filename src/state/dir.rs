//! The directories that hold the records: `<root>/<id>/`, files 0600, replaced by rename so that a
//! reader sees the old record or the new one and never half of it. Knows nothing of what they say.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{RECORD_VERSION, Record, StateError, inits};

/// The runtime root: `--root`, by default `/run/pxrun`.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
}

/// One container's directory.
#[derive(Debug, Clone)]
pub struct ContainerDir {
    path: PathBuf,
    id: String,
}

/// Holds a lock until it, and every copy of its descriptor in another process, is closed.
pub struct Lock {
    _file: File,
}

impl From<Lock> for std::os::fd::OwnedFd {
    /// The lock as a descriptor: it is held by whoever holds a copy.
    fn from(lock: Lock) -> Self {
        lock._file.into()
    }
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { what, path, source }
}

impl Root {
    /// Names the root; nothing is made yet.
    pub fn new(path: PathBuf) -> Root {
        Root { path }
    }

    /// The root's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a container's directory. Of two calls with one id exactly one succeeds: mkdir(2)
    /// decides.
    ///
    /// # Errors
    /// [`StateError::AlreadyExists`], or the directory can't be made.
    pub fn claim(&self, id: &str) -> Result<ContainerDir, StateError> {
        let path = self.path.join(id);
        let make = || DirBuilder::new().mode(0o700).create(&path);
        let made = make().or_else(|error| match error.kind() {
            ErrorKind::NotFound => {
                DirBuilder::new()
                    .mode(0o700)
                    .recursive(true)
                    .create(&self.path)?;
                make()
            }
            _ => Err(error),
        });
        match made {
            Ok(()) => Ok(self.dir(id)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(StateError::AlreadyExists)
            }
            Err(error) => Err(io("make state directory", &path)(error)),
        }
    }

    /// A container's directory.
    ///
    /// # Errors
    /// [`StateError::NotExist`] when there is none, [`StateError::Foreign`] when another user made
    /// it: a record names processes to signal and directories to remove.
    pub fn find(&self, id: &str) -> Result<ContainerDir, StateError> {
        let dir = self.dir(id);
        match std::fs::symlink_metadata(&dir.path) {
            Ok(meta) if meta.is_dir() && meta.uid() != nix::unistd::geteuid().as_raw() => {
                Err(StateError::Foreign {
                    path: dir.path,
                    uid: meta.uid(),
                })
            }
            Ok(meta) if meta.is_dir() => Ok(dir),
            Ok(_) => Err(StateError::NotExist),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StateError::NotExist),
            Err(error) => Err(io("look up state directory", &dir.path)(error)),
        }
    }

    /// All containers' directories, sorted by id. A root that doesn't exist holds none.
    pub fn all(&self) -> Result<Vec<ContainerDir>, StateError> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("read runtime root", &self.path)(error)),
        };
        let mut dirs: Vec<ContainerDir> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            // Names that no container can have are pxrun's own, such as the filter cache.
            .filter(|name| !name.starts_with('@'))
            .map(|name| self.dir(&name))
            .collect();
        dirs.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(dirs)
    }

    /// The first processes of containers, each with the directory of its container, as far as they
    /// are written down; the record decides whether it is still so. `None` where it has to be asked
    /// of every record.
    pub fn inits(&self) -> Option<Vec<(i32, ContainerDir)>> {
        let known = inits::all(&self.path)?.into_iter();
        Some(known.map(|(pid, id)| (pid, self.dir(&id))).collect())
    }

    fn dir(&self, id: &str) -> ContainerDir {
        ContainerDir {
            path: self.path.join(id),
            id: id.to_owned(),
        }
    }
}

impl ContainerDir {
    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`StateError::NotExist`] when the directory has gone meanwhile; [`StateError::NoRecord`];
    /// damaged records; other versions.
    pub fn load(&self) -> Result<Record, StateError> {
        let path = self.path.join("state.json");
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound if self.path.exists() => StateError::NoRecord(self.path.clone()),
            ErrorKind::NotFound => StateError::NotExist,
            _ => io("read state record", &path)(error),
        })?;
        // The version first: another one may have other members.
        match parse::<Version>(&path, &bytes)?.version {
            RECORD_VERSION => parse(&path, &bytes),
            found => Err(StateError::Version { path, found }),
        }
    }

    /// Reads the record of another version, for a forced delete: members keep their meaning for
    /// ever, so what reads as a record of ours names the same processes and directories.
    ///
    /// # Errors
    /// [`StateError::Damaged`] when members are missing or have other types.
    pub fn load_any_version(&self) -> Result<Record, StateError> {
        let path = self.path.join("state.json");
        let bytes = std::fs::read(&path).map_err(io("read state record", &path))?;
        parse(&path, &bytes)
    }

    /// Writes the record in one step.
    pub fn save(&self, record: &Record) -> Result<(), StateError> {
        let path = self.path.join("state.json");
        let bytes = serde_json::to_vec(record).map_err(|source| StateError::Damaged {
            path: path.clone(),
            source,
        })?;
        self.replace("state.json", &bytes)?;
        // After the record, which alone says what is to be forgotten: nothing is left of a command
        // that is killed in between.
        if let (Some(init), Some(root)) = (record.init, self.path.parent()) {
            inits::add(root, init.pid, &self.id).map_err(io("note first process", root))?;
        }
        Ok(())
    }

    /// Keeps the bundle's config.json as `create` saw it: later edits of the bundle change nothing
    /// for a container that runs.
    pub fn save_config(&self, raw: &[u8]) -> Result<(), StateError> {
        self.replace("config.json", raw)
    }

    /// The config.json that `create` saw.
    pub fn load_config(&self) -> Result<serde_json::Value, StateError> {
        let path = self.path.join("config.json");
        let bytes = std::fs::read(&path).map_err(io("read kept configuration", &path))?;
        parse(&path, &bytes)
    }

    /// Takes the container's lock, waiting for who holds it. `state` and `list` never take it. The
    /// directory itself is locked: on a full or read-only file system there would be no lock file,
    /// and a container must be deletable there too.
    ///
    /// # Errors
    /// [`StateError::NotExist`] when the container was deleted while we waited.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let file = File::open(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StateError::NotExist,
            _ => io("open state directory", &self.path)(error),
        })?;
        file.lock().map_err(io("take lock", &self.path))?;
        // The holder may have removed the directory, and another create made a new one.
        let same = std::fs::metadata(&self.path).is_ok_and(|meta| {
            file.metadata()
                .is_ok_and(|held| held.ino() == meta.ino() && held.dev() == meta.dev())
        });
        if same {
            Ok(Lock { _file: file })
        } else {
            Err(StateError::NotExist)
        }
    }

    /// The lock that a waiting init holds until its execve closes it: who finds it held knows that
    /// the user's process doesn't run yet, whatever was killed in between.
    pub fn hold_waiting_lock(&self) -> Result<Lock, StateError> {
        let path = self.path.join("waiting");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io("open waiting lock", &path))?;
        file.try_lock()
            .map_err(|error| io("take waiting lock", &path)(error.into()))?;
        Ok(Lock { _file: file })
    }

    /// The file of the waiting lock, for [`may_go_on`]; the lock isn't taken.
    ///
    /// # Errors
    /// There is none yet, or none any more.
    pub fn waiting_file(&self) -> Result<File, StateError> {
        let path = self.path.join("waiting");
        File::open(&path).map_err(io("open waiting lock", &path))
    }

    /// `create` is done: one write says it to whoever asks for the state and to the init that waits,
    /// which looks with [`may_go_on`] when it hears nothing more of the command. So there is no
    /// instant at which one of them takes the container for created and the other doesn't.
    ///
    /// # Errors
    /// The container has been deleted meanwhile, or there is no space for one byte.
    pub fn let_go(&self) -> Result<(), StateError> {
        let path = self.path.join("waiting");
        let mut options = OpenOptions::new();
        let written = options.write(true).open(&path);
        let written = written.and_then(|mut file| file.write_all(b"+"));
        written.map_err(io("write", &path))
    }

    /// Whether all of `create` is done.
    pub fn is_ready(&self, record: &Record) -> bool {
        record.ready || self.waiting_file().is_ok_and(|file| may_go_on(&file))
    }

    /// Whether an init still waits for `start`.
    pub fn is_waiting(&self) -> bool {
        let Ok(file) = self.waiting_file() else {
            return false;
        };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Waits until the init that held the waiting lock has let it go.
    ///
    /// A knock's end of the stream and the lock go with the same execve(2), but the kernel lets go
    /// of descriptors one after the other, and the caller may be told before the lock is free.
    pub fn await_start(&self) -> Result<(), StateError> {
        let path = self.path.join("waiting");
        let file = self.waiting_file()?;
        loop {
            match file.lock_shared() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other.map_err(io("await waiting lock", &path)),
            }
        }
    }

    /// Removes the directory with all that is in it. Gone already is fine.
    pub fn remove(&self) -> Result<(), StateError> {
        let init = self.load_any_version().ok().and_then(|record| record.init);
        if let (Some(init), Some(root)) = (init, self.path.parent()) {
            inits::remove(root, init.pid, &self.id);
        }
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(io("remove state directory", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        write_atomically(&self.path.join(name), bytes, 0o600)
            .map_err(io("write", &self.path.join(name)))
    }
}

/// What every version of the record has.
#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|source| StateError::Damaged {
        path: path.to_owned(),
        source,
    })
}

/// Whether the holder of the waiting lock has been let go by [`ContainerDir::let_go`].
pub fn may_go_on(waiting: &File) -> bool {
    waiting.metadata().is_ok_and(|meta| meta.len() > 0)
}

/// Writes `bytes` under a temporary name in the same directory and renames it, so that a reader
/// finds the whole file or none.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut file = create_new(&temporary, mode)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// A file that nobody else has open: in a directory of everybody's, one that is there already may
/// be somebody's who would change what is written.
fn create_new(path: &Path, mode: u32) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    match options.open(path) {
        // Left by a process of this pid that was killed.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            options.open(path)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_claims_one_wins() {
        let root = tempfile::tempdir().unwrap();
        let root = Root::new(root.path().join("deep/er"));
        let winners: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| root.claim("c").is_ok() as usize))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(winners, 1);
        assert!(matches!(root.claim("c"), Err(StateError::AlreadyExists)));
    }

    #[test]
    fn the_waiting_lock_tells_whether_its_holder_lives() {
        let root = tempfile::tempdir().unwrap();
        let dir = Root::new(root.path().into()).claim("c").unwrap();
        assert!(!dir.is_waiting());
        let held = dir.hold_waiting_lock().unwrap();
        assert!(dir.is_waiting());
        let waiter = {
            let dir = dir.clone();
            std::thread::spawn(move || dir.await_start().map(|()| dir.is_waiting()))
        };
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waiter.is_finished());
        drop(held);
        assert!(!dir.is_waiting());
        assert!(matches!(waiter.join().unwrap(), Ok(false)));
    }

    #[test]
    fn the_holder_of_the_lock_learns_that_it_may_go_on() {
        let root = tempfile::tempdir().unwrap();
        let dir = Root::new(root.path().into()).claim("c").unwrap();
        assert!(matches!(dir.let_go(), Err(StateError::Io { .. })));
        let held = File::from(std::os::fd::OwnedFd::from(dir.hold_waiting_lock().unwrap()));
        assert!(!may_go_on(&held));
        dir.let_go().unwrap();
        assert!(may_go_on(&held));
    }

    #[test]
    fn a_lock_on_a_deleted_container_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let root = Root::new(root.path().into());
        let dir = root.claim("c").unwrap();
        let held = dir.lock().unwrap();
        let waiter = {
            let dir = dir.clone();
            std::thread::spawn(move || dir.lock().map(|_| ()))
        };
        std::thread::sleep(std::time::Duration::from_millis(100));
        dir.remove().unwrap();
        drop(held);
        assert!(matches!(waiter.join().unwrap(), Err(StateError::NotExist)));
    }

    #[test]
    fn names_of_our_own_are_no_containers_and_a_missing_root_is_empty() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::new(tmp.path().join("r"));
        assert!(root.all().unwrap().is_empty());
        root.claim("b").unwrap();
        root.claim("a").unwrap();
        std::fs::create_dir(root.path().join("@filters")).unwrap();
        let ids: Vec<String> = root.all().unwrap().iter().map(|d| d.id().into()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert!(matches!(root.find("z"), Err(StateError::NotExist)));
    }

    #[test]
    fn files_are_for_the_owner_alone_and_replaced_whole() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("f");
        write_atomically(&path, b"one", 0o600).unwrap();
        write_atomically(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 1);
    }
}
