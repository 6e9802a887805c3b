//! Compiled filters kept as files: compiling is nearly half of a container's creation. Must not
//! believe a file that isn't whole and the owner's own.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use oci_spec::runtime::LinuxSeccomp;
use sha2::{Digest, Sha256};

/// Goes into the key: a change of the form, or of how programs are made, makes old files unseen.
const FORMAT: &str = "pxrun filter 1";
/// Length of a SHA-256, which stands in front of the program.
const DIGEST: usize = 32;
/// A BPF program has at most 4096 instructions (BPF_MAXINSNS).
const LONGEST: u64 = 4096 * 8 + DIGEST as u64;
/// More entries than this are of profiles that change all the time; the oldest go.
const MOST_ENTRIES: usize = 64;

/// Where one filter's program is kept.
pub struct Entry {
    path: PathBuf,
}

impl Entry {
    /// Names the file by everything that the program depends on; `None` when that can't be told.
    pub fn new(dir: &Path, filter: &LinuxSeccomp) -> Option<Entry> {
        let version = libseccomp::ScmpVersion::current().ok()?;
        let kernel = nix::sys::utsname::uname().ok()?;
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(format!("{}.{}.{}", version.major, version.minor, version.micro));
        hash.update([0]);
        hash.update(kernel.release().as_encoded_bytes());
        hash.update([0]);
        hash.update(kernel.machine().as_encoded_bytes());
        hash.update([0]);
        hash.update(serde_json::to_vec(filter).ok()?);
        let mut name = String::new();
        for byte in hash.finalize() {
            let _ = write!(name, "{byte:02x}");
        }
        Some(Entry {
            path: dir.join(name),
        })
    }

    /// The program, if the file is there, ours, and whole.
    pub fn load(&self) -> Option<Vec<u8>> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)
            .ok()?;
        if !is_trustworthy(&file) {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let (digest, program) = bytes.split_at_checked(DIGEST)?;
        let whole = Sha256::digest(program).as_slice() == digest && program.len().is_multiple_of(8);
        (whole && !program.is_empty()).then(|| program.to_vec())
    }

    /// Leaves a program for the next container.
    pub fn store(&self, program: &[u8]) -> std::io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        match DirBuilder::new().mode(0o700).recursive(true).create(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        make_room(dir);
        let mut bytes = Sha256::digest(program).to_vec();
        bytes.extend_from_slice(program);
        let temporary = self.path.with_extension(std::process::id().to_string());
        let written = std::fs::write(&temporary, &bytes)
            .and_then(|()| {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))
            })
            .and_then(|()| std::fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }
}

fn is_trustworthy(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| {
        meta.is_file()
            && meta.uid() == nix::unistd::geteuid().as_raw()
            && meta.mode() & 0o022 == 0
            && meta.len() <= LONGEST
    })
}

fn make_room(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    let mut files: Vec<(i64, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.metadata().ok()?.mtime(), entry.path())))
        .collect();
    files.sort();
    for (_, path) in files.iter().rev().skip(MOST_ENTRIES - 1) {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::Program;

    fn filter(name: &str) -> LinuxSeccomp {
        serde_json::from_value(serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO"}],
        }))
        .unwrap()
    }

    #[test]
    fn the_second_container_gets_the_first_ones_program() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("@filters");
        let first = Program::load_or_compile(&filter("mkdir"), Some(&dir)).unwrap();
        let entry = Entry::new(&dir, &filter("mkdir")).unwrap();
        assert_eq!(entry.load().as_deref(), Some(first.bpf.as_slice()));
        assert!(Entry::new(&dir, &filter("rmdir")).unwrap().load().is_none());
        assert_eq!(std::fs::metadata(&entry.path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_not_whole_or_not_ours_alone_is_compiled_again() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let expected = Program::load_or_compile(&filter("mkdir"), Some(dir.path())).unwrap();
        let entry = Entry::new(dir.path(), &filter("mkdir")).unwrap();
        let good = std::fs::read(&entry.path).unwrap();
        let mut flipped = good.clone();
        flipped[40] ^= 1;
        for bad in [&good[..good.len() - 1], &good[..10], b"", &flipped] {
            std::fs::write(&entry.path, bad).unwrap();
            assert!(entry.load().is_none());
            let again = Program::load_or_compile(&filter("mkdir"), Some(dir.path())).unwrap();
            assert_eq!(again, expected);
        }
        let open = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&entry.path, open).unwrap();
        assert!(entry.load().is_none());
    }

    #[test]
    fn the_cache_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..100 {
            std::fs::write(dir.path().join(n.to_string()), b"").unwrap();
        }
        Program::load_or_compile(&filter("mkdir"), Some(dir.path())).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), MOST_ENTRIES);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_obstacle() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let below = file.path().join("dir");
        assert!(Program::load_or_compile(&filter("mkdir"), Some(&below)).is_ok());
    }
}
