//! Compiled programs kept on disk, so that only the first container of a profile pays libseccomp.
//! It must not fail anything: whatever is wrong with the cache, the program is compiled.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use libseccomp::ScmpVersion;
use nix::sys::utsname::uname;
use nix::unistd::geteuid;
use oci_spec::runtime::LinuxSeccomp;
use sha2::{Digest, Sha256};

use super::{Program, SeccompError};
use crate::sys::seccomp::INSTRUCTION;

/// First bytes of an entry; the digit is the version of this format and of what compiling means.
const MAGIC: &[u8; 8] = b"pxrunsc1";
/// Magic, flags, notify, length, checksum.
const HEADER: usize = 8 + 4 + 4 + 8 + 32;
/// More entries than this, and the oldest go. An entry is about 10 KB.
const ENTRIES: usize = 64;
/// No program is longer: 4096 instructions.
const MAX_LENGTH: usize = 4096 * INSTRUCTION;

/// See [`Program::load_or_compile`].
pub fn load_or_compile(seccomp: &LinuxSeccomp, directory: &Path) -> Result<Program, SeccompError> {
    let Some(key) = key(seccomp) else {
        return super::Program::compile(seccomp);
    };
    let path = directory.join(&key);
    match read(&path) {
        Ok(program) => return Ok(program),
        Err(error) => tracing::debug!(%error, path = %path.display(), "seccomp cache"),
    }
    let program = Program::compile(seccomp)?;
    if let Err(error) = write(directory, &key, &program) {
        tracing::debug!(%error, directory = %directory.display(), "seccomp cache not written");
    }
    Ok(program)
}

/// Everything that the program depends on. The listener is not part of it.
fn key(seccomp: &LinuxSeccomp) -> Option<String> {
    let mut plain = seccomp.clone();
    plain.set_listener_path(None).set_listener_metadata(None);
    let profile = serde_json::to_vec(&plain).ok()?;
    let host = uname().ok()?;
    let library = ScmpVersion::current().ok()?.to_string();
    let mut hash = Sha256::new();
    for part in [
        MAGIC,
        library.as_bytes(),
        os(&host),
        std::env::consts::ARCH.as_bytes(),
        &profile,
    ] {
        // With its length, so that no two lists of parts read alike.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Some(hex(&hash.finalize()))
}

fn os(host: &nix::sys::utsname::UtsName) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    host.release().as_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> io::Result<Program> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() || facts.uid() != geteuid().as_raw() || facts.mode() & 0o777 != 0o600 {
        return Err(io::Error::other("not a file of ours"));
    }
    let mut bytes = Vec::with_capacity(facts.size().min((HEADER + MAX_LENGTH) as u64) as usize);
    file.take((HEADER + MAX_LENGTH + 1) as u64)
        .read_to_end(&mut bytes)?;
    decode(&bytes).ok_or_else(|| io::Error::other("broken entry"))
}

fn decode(bytes: &[u8]) -> Option<Program> {
    let (header, bpf) = bytes.split_at_checked(HEADER)?;
    let (magic, rest) = header.split_first_chunk::<8>()?;
    let (flags, rest) = rest.split_first_chunk::<4>()?;
    let (notify, rest) = rest.split_first_chunk::<4>()?;
    let (length, checksum) = rest.split_first_chunk::<8>()?;
    let whole = u64::from_le_bytes(*length) == bpf.len() as u64
        && !bpf.is_empty()
        && bpf.len() % INSTRUCTION == 0
        && bpf.len() <= MAX_LENGTH;
    let program = Program {
        bpf: bpf.to_vec(),
        flags: u32::from_le_bytes(*flags),
        notify: u32::from_le_bytes(*notify) == 1,
    };
    (magic == MAGIC && whole && checksum == sum(&program).as_slice()).then_some(program)
}

fn encode(program: &Program) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + program.bpf.len());
    bytes.extend(MAGIC);
    bytes.extend(program.flags.to_le_bytes());
    bytes.extend(u32::from(program.notify).to_le_bytes());
    bytes.extend((program.bpf.len() as u64).to_le_bytes());
    bytes.extend(sum(program));
    bytes.extend(&program.bpf);
    bytes
}

fn sum(program: &Program) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(program.flags.to_le_bytes());
    hash.update([u8::from(program.notify)]);
    hash.update(&program.bpf);
    hash.finalize().into()
}

/// A temporary name and a rename: a reader sees a whole entry or none.
fn write(directory: &Path, key: &str, program: &Program) -> io::Result<()> {
    make(directory)?;
    let temporary = directory.join(format!(".{key}.{}", std::process::id()));
    // What a killed process with our id has left behind.
    let _ = fs::remove_file(&temporary);
    let mut options = OpenOptions::new();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC)
        .open(&temporary)
        .and_then(|mut file: File| file.write_all(&encode(program)))
        .and_then(|()| fs::rename(&temporary, directory.join(key)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    trim(directory)
}

fn make(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    let facts = fs::symlink_metadata(directory)?;
    let private = facts.is_dir() && facts.uid() == geteuid().as_raw() && facts.mode() & 0o022 == 0;
    private
        .then_some(())
        .ok_or_else(|| io::Error::other("directory isn't ours alone"))
}

/// Temporary files count too, so that those of killed processes go in their turn.
fn trim(directory: &Path) -> io::Result<()> {
    let mut entries: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        entries.push((entry.metadata()?.modified()?, entry.path()));
    }
    entries.sort_unstable();
    let excess = entries.len().saturating_sub(ENTRIES);
    for (_, path) in &entries[..excess] {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn profile(errno: u32) -> LinuxSeccomp {
        serde_json::from_value(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno}))
            .unwrap()
    }

    fn entries(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn the_second_container_reads_what_the_first_one_wrote() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join(".seccomp");
        let compiled = load_or_compile(&profile(1), &directory).unwrap();
        let files = entries(&directory);
        assert_eq!(files.len(), 1);
        assert_eq!(fs::metadata(&files[0]).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(read(&files[0]).unwrap(), compiled);
        assert_eq!(load_or_compile(&profile(1), &directory).unwrap(), compiled);
        assert_eq!(entries(&directory).len(), 1);
    }

    #[test]
    fn the_key_follows_the_program_and_not_the_listener() {
        let mut other = profile(1);
        other.set_listener_path(Some("/x".into()));
        other.set_listener_metadata(Some("m".into()));
        assert_eq!(key(&profile(1)), key(&other));
        assert_ne!(key(&profile(1)), key(&profile(2)));
        let mut flags = profile(1);
        flags.set_flags(Some(Vec::new()));
        assert_ne!(key(&profile(1)), key(&flags));
    }

    #[test]
    fn a_broken_entry_is_compiled_again() {
        let root = tempfile::tempdir().unwrap();
        let compiled = load_or_compile(&profile(1), root.path()).unwrap();
        let file = entries(root.path()).remove(0);
        let good = fs::read(&file).unwrap();
        let mut spoilt: Vec<Vec<u8>> = vec![Vec::new(), good[..good.len() - 8].to_vec()];
        for place in [0, 8, 12, 16, 24, HEADER, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[place] ^= 1;
            spoilt.push(bytes);
        }
        spoilt.push([good.clone(), vec![0; 8]].concat());
        for bytes in spoilt {
            fs::write(&file, &bytes).unwrap();
            assert!(read(&file).is_err());
            assert_eq!(load_or_compile(&profile(1), root.path()).unwrap(), compiled);
            assert_eq!(fs::read(&file).unwrap(), good, "it is mended on the way");
        }
    }

    #[test]
    fn entries_of_others_are_not_trusted() {
        let root = tempfile::tempdir().unwrap();
        load_or_compile(&profile(1), root.path()).unwrap();
        let file = entries(root.path()).remove(0);
        let open = |mode| fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        open(0o666);
        assert!(read(&file).is_err(), "anybody may have written it");
        open(0o600);
        assert!(read(&file).is_ok());
        if geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(1000), None).unwrap();
            assert!(read(&file).is_err(), "somebody else owns it");
            std::os::unix::fs::chown(&file, Some(0), None).unwrap();
        }
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read(&link).is_err(), "a link leads anywhere");
    }

    #[test]
    fn a_directory_that_cannot_be_used_only_costs_time() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let open = root.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        for directory in [
            file.clone(),
            file.join("below"),
            open.clone(),
            "/proc/nothing".into(),
        ] {
            assert!(load_or_compile(&profile(1), &directory).is_ok());
        }
        assert_eq!(entries(&open), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_oldest_entries_go() {
        let root = tempfile::tempdir().unwrap();
        for errno in 1..=(ENTRIES as u32 + 3) {
            load_or_compile(&profile(errno), root.path()).unwrap();
        }
        let left = entries(root.path());
        assert_eq!(left.len(), ENTRIES);
        let name = |errno| root.path().join(key(&profile(errno)).unwrap());
        assert!(!left.contains(&name(1)), "the oldest");
        assert!(left.contains(&name(ENTRIES as u32 + 3)), "the newest");
    }
}
