//! Reads a caller's file, works out what becomes of it, and replaces it in one step with a copy of
//! what was there beside it. It must not know what the text means.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::{SetupError, Target, Wanted};

/// Ending of the copy that `--undo` goes back to.
const SAVED: &str = ".before-pxrun";

/// Where the files of callers are: `/`, or a directory that stands for it.
#[derive(Debug, Clone)]
pub struct Place {
    prefix: PathBuf,
}

/// What becomes of a file. Nothing has happened yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// What it holds; `None` if it isn't there.
    pub old: Option<String>,
    /// What it will hold; `None` if it goes away.
    pub new: Option<String>,
    copy: Copy,
}

/// What becomes of the copy of the old file.
#[derive(Debug, PartialEq, Eq)]
enum Copy {
    Make,
    Keep,
    Remove,
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was as it should be.
    Nothing,
    /// It was written; the old one is kept at the path.
    Written(Option<PathBuf>),
    /// It holds again what it held before, or what was added to it since.
    Restored,
    /// It was removed.
    Removed,
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SetupError {
    let path = path.to_owned();
    move |source| SetupError::Io { what, path, source }
}

impl Place {
    /// Files are looked for below `prefix`.
    #[must_use]
    pub fn new(prefix: PathBuf) -> Self {
        Self { prefix }
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.prefix.join(absolute.trim_start_matches('/'))
    }

    /// What makes the target's file name the runtime.
    ///
    /// # Errors
    /// The file can't be read, or can't be changed without a guess.
    pub fn setup(&self, target: &Target, binary: &Path) -> Result<Change, SetupError> {
        let path = self.path(target.file);
        let old = read(&path)?;
        let others = self.others(target, &path)?;
        let wanted = Wanted {
            binary,
            others: &others,
        };
        let new = (target.apply)(old.as_deref(), &wanted)?;
        // A file without our entry is what a later undo has to bring back, whatever copy lies
        // around from earlier.
        let stranger = old.as_deref().is_some_and(|text| !(target.present)(text));
        let copy = match stranger || (old.is_some() && !saved(&path).exists()) {
            true => Copy::Make,
            false => Copy::Keep,
        };
        Ok(Change {
            path,
            old,
            new: Some(new),
            copy,
        })
    }

    /// What takes the runtime out of the target's file: the old file, byte for byte, unless it was
    /// edited since; else our entry goes and the rest stays.
    ///
    /// # Errors
    /// As [`Place::setup`].
    pub fn undo(&self, target: &Target, binary: &Path) -> Result<Change, SetupError> {
        let path = self.path(target.file);
        let old = read(&path)?;
        let Some(text) = old.clone().filter(|text| (target.present)(text)) else {
            return Ok(Change {
                path,
                new: old.clone(),
                old,
                copy: Copy::Keep,
            });
        };
        let others = self.others(target, &path)?;
        let wanted = Wanted {
            binary,
            others: &others,
        };
        let before = read(&saved(&path))?.filter(|text| !(target.present)(text));
        let ours = |before: Option<&str>| (target.apply)(before, &wanted).is_ok_and(|t| t == text);
        let new = match before {
            Some(before) if ours(Some(&before)) => Some(before),
            None if ours(None) => None,
            _ => (target.remove)(&text)?,
        };
        Ok(Change {
            path,
            old,
            new,
            copy: Copy::Remove,
        })
    }

    /// The texts of the files that the caller reads beside the target, in its order.
    fn others(&self, target: &Target, own: &Path) -> Result<Vec<String>, SetupError> {
        let mut texts = Vec::new();
        for place in target.beside {
            let path = self.path(place);
            let paths = match fs::read_dir(&path) {
                Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
                Err(_) => vec![path],
            };
            let conf = |path: &PathBuf| path.extension().is_some_and(|e| e == "conf");
            let mut paths: Vec<_> = paths.into_iter().filter(|p| conf(p) && p != own).collect();
            paths.sort();
            for path in paths {
                match fs::read_to_string(&path) {
                    Ok(text) => texts.push(text),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(io("read", &path)(error)),
                }
            }
        }
        Ok(texts)
    }
}

impl Change {
    /// Makes it so.
    ///
    /// # Errors
    /// The kernel's; the file is then as it was.
    pub fn commit(&self) -> Result<Outcome, SetupError> {
        let copy = saved(&self.path);
        if self.old == self.new {
            return Ok(Outcome::Nothing);
        }
        if let (Copy::Make, Some(old)) = (&self.copy, &self.old) {
            replace(&copy, old, &self.path)?;
        }
        match &self.new {
            Some(new) => replace(&self.path, new, &self.path)?,
            None => fs::remove_file(&self.path).map_err(io("remove", &self.path))?,
        }
        if self.copy != Copy::Remove {
            return Ok(Outcome::Written(copy.exists().then_some(copy)));
        }
        match fs::remove_file(&copy) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", &copy)(error)),
            _ if self.new.is_none() => Ok(Outcome::Removed),
            _ => Ok(Outcome::Restored),
        }
    }
}

fn saved(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(SAVED);
    name.into()
}

/// The text of a plain file. A link is refused: replacing it would cut it from what it is made
/// from, and writing through it might write anywhere.
fn read(path: &Path) -> Result<Option<String>, SetupError> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", path)(error)),
    };
    let strange = |kind| SetupError::NotAFile {
        path: path.to_owned(),
        kind,
    };
    if meta.is_symlink() {
        return Err(strange("a symbolic link"));
    }
    if !meta.is_file() {
        return Err(strange("no plain file"));
    }
    let bytes = fs::read(path).map_err(io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|_| SetupError::NotText(path.to_owned()))?;
    Ok(Some(text))
}

/// Writes under a temporary name and renames, so that a reader finds the old text or the new one
/// also after a crash. Owner and mode are those of `like`; callers' users have to read a new file.
fn replace(path: &Path, text: &str, like: &Path) -> Result<(), SetupError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(io("make directory", dir))?;
    let mut temporary = OsString::from(path);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let meta = fs::metadata(like).ok();
    let written = (|| {
        let mode = meta.as_ref().map_or(0o644, |meta| meta.mode() & 0o7777);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & 0o600)
            .open(&temporary)?;
        if let Some(meta) = &meta {
            fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
        }
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(io("write", path))
}

#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;
