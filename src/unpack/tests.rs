//! Archives made here, by this project's own writer or byte by byte, into a scratch root.

use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::archive::writer::Writer;
use crate::archive::{Piece, Time, acl};

/// An entry and its content.
type Made = (Entry, Vec<u8>);

struct Scratch {
    temp: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("root")).unwrap();
        fs::write(temp.path().join("outside"), "untouched").unwrap();
        Self { temp }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.temp.path().join("root").join(path)
    }

    fn root(&self) -> OwnedFd {
        File::open(self.at("")).unwrap().into()
    }

    /// Unpacks archives on top of each other.
    fn unpack(&self, layers: &[Vec<u8>], meaning: Meaning) -> Result<(), UnpackError> {
        self.unpack_with(layers, meaning, Limits::default())
    }

    fn unpack_with(
        &self,
        layers: &[Vec<u8>],
        meaning: Meaning,
        limits: Limits,
    ) -> Result<(), UnpackError> {
        let never = || false;
        let mut unpacker = Unpacker::new(self.root(), limits, &never);
        for layer in layers {
            unpacker.add(BufReader::new(Cursor::new(layer)), meaning)?;
        }
        unpacker.finish()
    }

    /// Nothing happened outside of the root.
    fn is_clean_outside(&self) -> bool {
        let names: Vec<_> = fs::read_dir(self.temp.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.len() == 2 && fs::read(self.temp.path().join("outside")).unwrap() == b"untouched"
    }
}

fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time {
            seconds: 1000,
            nanos: 5,
        },
        xattrs: Vec::new(),
    }
}

fn file(path: &str, content: &str) -> Made {
    let kind = Kind::File {
        size: content.len() as u64,
        map: None,
    };
    (entry(path, kind), content.into())
}

fn plain(path: &str, kind: Kind) -> Made {
    (entry(path, kind), Vec::new())
}

fn dir(path: &str) -> Made {
    plain(path, Kind::Dir)
}

fn link(path: &str, target: &str) -> Made {
    plain(path, Kind::Symlink(target.into()))
}

fn hard(path: &str, target: &str) -> Made {
    plain(path, Kind::HardLink(target.into()))
}

fn archive(entries: &[Made]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.entry(entry).unwrap();
        if !content.is_empty() {
            writer.data(content).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn listing(root: &Path) -> Vec<String> {
    fn walk(dir: &Path, root: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap();
            into.push(name.to_string_lossy().into_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                walk(&path, root, into);
            }
        }
    }
    let mut all = Vec::new();
    walk(root, root, &mut all);
    all.sort();
    all
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("LEFT OUT: owners and devices take root");
    }
    root
}

#[test]
fn everything_that_a_file_has_arrives() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let long = format!("d/{}", "n".repeat(200));
    let mut setuid = file("d/setuid", "s");
    setuid.0.mode = 0o4755;
    (setuid.0.uid, setuid.0.gid) = (7, 3_000_000);
    let capability = [1, 0, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    setuid.0.xattrs = vec![
        (b"security.capability".to_vec(), capability.to_vec()),
        (b"user.note".to_vec(), b"a\nb\0c=d".to_vec()),
    ];
    let acl_text = "user::rwx,user:5:r--,group::r-x,mask::r-x,other::r-x";
    let attribute = acl::from_text(acl_text, &|_, _| None).unwrap();
    let mut with_acl = dir("d");
    with_acl.0.xattrs = vec![
        (acl::ACCESS.to_vec(), attribute.clone()),
        (acl::DEFAULT.to_vec(), attribute.clone()),
    ];
    let sparse = Kind::File {
        size: 1 << 30,
        map: Some(vec![
            Piece {
                offset: 0,
                length: 4096,
            },
            Piece {
                offset: 1 << 29,
                length: 4096,
            },
        ]),
    };
    let entries = [
        with_acl,
        file(&long, "long"),
        setuid,
        (entry("d/sparse", sparse), vec![7; 8192]),
        hard("d/hard", &long),
        link("d/link", "../../../../etc/passwd"),
        plain("d/char", Kind::Char(1, 3)),
        plain("d/block", Kind::Block(7, 300)),
        plain("d/fifo", Kind::Fifo),
    ];
    scratch.unpack(&[archive(&entries)], Meaning::Tree).unwrap();
    let meta = |path: &str| fs::symlink_metadata(scratch.at(path)).unwrap();
    let setuid = meta("d/setuid");
    assert_eq!(setuid.permissions().mode() & 0o7777, 0o4755);
    assert_eq!((setuid.uid(), setuid.gid()), (7, 3_000_000));
    assert_eq!((setuid.mtime(), setuid.mtime_nsec()), (1000, 5));
    let open = File::open(scratch.at("d/setuid")).unwrap();
    let xattr = |file: &File, name| crate::sys::files::get_xattr(file.as_fd(), name).unwrap();
    use std::os::fd::AsFd;
    assert_eq!(xattr(&open, c"security.capability"), capability);
    assert_eq!(xattr(&open, c"user.note"), b"a\nb\0c=d");
    // The default ACL of the directory was not inherited by what was unpacked into it.
    let names = crate::sys::files::list_xattrs(open.as_fd()).unwrap();
    assert!(!String::from_utf8(names).unwrap().contains("posix_acl"));
    let d = File::open(scratch.at("d")).unwrap();
    assert_eq!(xattr(&d, c"system.posix_acl_access"), attribute);
    assert_eq!(xattr(&d, c"system.posix_acl_default"), attribute);
    assert_eq!(meta("d").mtime(), 1000);
    let sparse = meta("d/sparse");
    assert_eq!(sparse.len(), 1 << 30);
    assert!(sparse.blocks() <= 64, "{}", sparse.blocks());
    let mut read = vec![0; (1 << 29) + 4097];
    File::open(scratch.at("d/sparse"))
        .unwrap()
        .read_exact(&mut read)
        .unwrap();
    assert_eq!(read.iter().filter(|byte| **byte == 7).count(), 8192);
    assert_eq!(read[(1 << 29) - 1..=1 << 29], [0, 7]);
    assert_eq!(meta("d/hard").ino(), meta(&long).ino());
    assert_eq!(
        fs::read_link(scratch.at("d/link")).unwrap(),
        Path::new("../../../../etc/passwd")
    );
    assert!(meta("d/char").file_type().is_char_device());
    assert_eq!(meta("d/block").rdev(), nix::sys::stat::makedev(7, 300));
    assert!(meta("d/fifo").file_type().is_fifo());
    assert!(scratch.is_clean_outside());
}

#[test]
fn no_archive_gets_out() {
    // (entries, what is refused: `None` when it is taken, but inside)
    let outside = "../outside";
    let cases: [(Vec<Made>, Option<&str>); 21] = [
        (vec![file("../outside", "x")], Some("`..`")),
        (vec![file("a/../../outside", "x")], Some("`..`")),
        (vec![file("/outside", "x")], None),
        (vec![file("//..//outside", "x")], Some("`..`")),
        (vec![link("l", ".."), file("l/outside", "x")], None),
        (vec![link("l", "/"), file("l/outside", "x")], None),
        (vec![link("l", outside), file("l", "x")], None),
        (
            vec![link("l", outside), hard("h", "l"), file("h", "x")],
            None,
        ),
        (vec![hard("h", "../outside")], Some("`..`")),
        (vec![hard("h", "/outside")], Some("make hard link")),
        (
            vec![link("l", ".."), hard("h", "l/outside")],
            Some("make hard link"),
        ),
        (
            vec![link("l", ".."), dir("l"), file("l/outside", "x")],
            None,
        ),
        (
            vec![link("a", "b"), link("b", "a"), file("a/x", "x")],
            Some("open directory"),
        ),
        (vec![dir("d"), link("d/l", "../.."), dir("d/l/new")], None),
        (
            vec![link("l", "/proc/self/root"), file("l/outside", "x")],
            None,
        ),
        (
            vec![file("f", "x"), file("f/below", "x")],
            Some("open directory"),
        ),
        (vec![plain("", Kind::Fifo)], Some("root is no directory")),
        (vec![link(".", "/etc")], Some("root is no directory")),
        (vec![hard("h", ".")], Some("hard link to the root")),
        (vec![file(&"n".repeat(256), "x")], Some("255")),
        (
            vec![file(&"d/".repeat(2048).repeat(2), "x")],
            Some("bytes in a path"),
        ),
    ];
    for (number, (entries, refused)) in cases.into_iter().enumerate() {
        for meaning in [Meaning::Tree, Meaning::Layer] {
            let scratch = Scratch::new();
            let done = scratch.unpack(&[archive(&entries)], meaning);
            match (done, refused) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => {
                    assert!(error.to_string().contains(text), "{number}: {error}");
                }
                (done, _) => panic!("{number}: {done:?}"),
            }
            assert!(scratch.is_clean_outside(), "{number}");
        }
    }
}

#[test]
fn links_that_were_there_lead_nowhere_either() {
    let scratch = Scratch::new();
    symlink(scratch.temp.path(), scratch.at("out")).unwrap();
    symlink(scratch.temp.path().join("outside"), scratch.at("file")).unwrap();
    let entries = [file("out/outside", "x"), file("file", "y")];
    scratch
        .unpack(&[archive(&entries)], Meaning::Layer)
        .unwrap();
    assert!(scratch.is_clean_outside());
    assert_eq!(fs::read(scratch.at("file")).unwrap(), b"y");
}

#[test]
fn an_existing_file_is_replaced_and_never_opened() {
    let scratch = Scratch::new();
    nix::unistd::mkfifo(&scratch.at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir_all(scratch.at("dir/below")).unwrap();
    fs::write(scratch.at("file"), "old and longer").unwrap();
    fs::hard_link(scratch.at("file"), scratch.at("other")).unwrap();
    let entries = [
        file("pipe", "p"),
        file("dir", "d"),
        file("file", "f"),
        dir("other"),
    ];
    scratch.unpack(&[archive(&entries)], Meaning::Tree).unwrap();
    for name in ["pipe", "dir", "file"] {
        assert_eq!(
            fs::read_to_string(scratch.at(name)).unwrap(),
            name[..1],
            "{name}"
        );
    }
    assert!(scratch.at("other").is_dir());
}

#[test]
fn limits_hold_before_anything_is_written() {
    let limits = Limits {
        bytes: 1000,
        entries: 3,
    };
    let scratch = Scratch::new();
    let unpack = |layers: &[Vec<u8>]| scratch.unpack_with(layers, Meaning::Layer, limits);
    let error = |layers: &[Vec<u8>]| unpack(layers).unwrap_err().to_string();
    let big = Kind::File {
        size: 1 << 50,
        map: Some(Vec::new()),
    };
    assert!(error(&[archive(&[plain("bomb", big)])]).contains("1000 bytes of files"));
    assert!(!scratch.at("bomb").exists());
    let many: Vec<_> = (0..4).map(|n| file(&n.to_string(), "")).collect();
    assert!(error(&[archive(&many)]).contains("3 entries"));
    let half = archive(&[file("half", &"x".repeat(600))]);
    assert!(unpack(std::slice::from_ref(&half)).is_ok());
    assert!(error(&[half.clone(), half]).contains("bytes of files"));
    // A header that promises a terabyte of name.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    assert!(error(&[header.as_bytes().to_vec()]).contains("extended header"));
}

#[test]
fn what_is_no_archive_is_an_error_and_no_panic() {
    let good = archive(&[file("a", "content"), dir("d"), file("d/b", "more")]);
    // A changed byte anywhere: an answer, whatever it is.
    for at in (0..good.len()).step_by(13) {
        let scratch = Scratch::new();
        let mut broken = good.clone();
        broken[at] = broken[at].wrapping_add(0x55);
        let _ = scratch.unpack(&[broken], Meaning::Layer);
        assert!(scratch.is_clean_outside());
    }
}

#[test]
fn an_archive_may_end_after_an_entry_and_nowhere_else() {
    // With its times each entry has three blocks before its content.
    let good = archive(&[file("a", "content"), dir("d")]);
    let ends = [0, 2048, 3584, 4096, 4608];
    assert_eq!(good.len(), 4608);
    for at in (0..good.len())
        .step_by(37)
        .chain(ends)
        .chain([512, 1024, 2560])
    {
        let scratch = Scratch::new();
        let done = scratch.unpack(&[good[..at].to_vec()], Meaning::Layer);
        assert_eq!(done.is_ok(), ends.contains(&at) || at > 4096, "{at}");
    }
}

/// (lower, upper, what is left)
#[test]
fn whiteouts_remove_what_is_below_and_only_that() {
    let lower = || {
        vec![
            dir("d"),
            file("d/a", "1"),
            file("d/b", "1"),
            dir("d/s"),
            file("d/s/x", "1"),
            file("f", "1"),
        ]
    };
    let rows: Vec<(Vec<Made>, &[&str])> = vec![
        (
            vec![file("d/.wh.a", "")],
            &["d", "d/b", "d/s", "d/s/x", "f"],
        ),
        (vec![file(".wh.d", "")], &["f"]),
        (
            vec![file(".wh.none", ""), file("none/.wh.x", "")],
            &["d", "d/a", "d/b", "d/s", "d/s/x", "f"],
        ),
        (
            vec![dir("d"), file("d/.wh..wh..opq", ""), file("d/new", "2")],
            &["d", "d/new", "f"],
        ),
        // The order within a layer doesn't matter.
        (
            vec![dir("d"), file("d/new", "2"), file("d/.wh..wh..opq", "")],
            &["d", "d/new", "f"],
        ),
        (
            vec![
                dir("d"),
                dir("d/s"),
                file("d/s/y", "2"),
                file("d/.wh..wh..opq", ""),
            ],
            &["d", "d/s", "d/s/y", "f"],
        ),
        (
            vec![file("d/a", "2"), file("d/.wh.a", "")],
            &["d", "d/a", "d/b", "d/s", "d/s/x", "f"],
        ),
        (
            vec![dir("d/s"), file("d/s/y", "2"), file("d/.wh.s", "")],
            &["d", "d/a", "d/b", "d/s", "d/s/y", "f"],
        ),
        (
            vec![file("d/.wh..wh.plnk", "")],
            &["d", "d/a", "d/b", "d/s", "d/s/x", "f"],
        ),
        (vec![file(".wh..wh..opq", ""), file("g", "2")], &["g"]),
    ];
    for (number, (upper, left)) in rows.into_iter().enumerate() {
        let scratch = Scratch::new();
        let layers = [archive(&lower()), archive(&upper)];
        scratch.unpack(&layers, Meaning::Layer).unwrap();
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        assert_eq!(listing(&scratch.at("")), left, "{number}");
    }
    for bad in [".wh.", ".wh...", "d/.wh.."] {
        let scratch = Scratch::new();
        let layers = [archive(&lower()), archive(&[file(bad, "")])];
        assert!(scratch.unpack(&layers, Meaning::Layer).is_err(), "{bad}");
    }
}

#[test]
fn whiteouts_follow_no_link_out() {
    let scratch = Scratch::new();
    let lower = archive(&[link("l", "..")]);
    let upper = archive(&[file("l/.wh.outside", "")]);
    scratch
        .unpack(&[lower.clone(), upper], Meaning::Layer)
        .unwrap();
    assert!(scratch.is_clean_outside());
    let upper = archive(&[file("l/.wh..wh..opq", "")]);
    scratch.unpack(&[lower, upper], Meaning::Layer).unwrap();
    assert!(scratch.is_clean_outside());
}

#[test]
fn a_directory_that_changes_loses_what_it_had() {
    let scratch = Scratch::new();
    let mut first = dir("d");
    first.0.xattrs = vec![(b"user.old".to_vec(), b"1".to_vec())];
    let mut second = dir("d");
    second.0.mode = 0o700;
    second.0.xattrs = vec![(b"user.new".to_vec(), b"2".to_vec())];
    scratch
        .unpack(&[archive(&[first]), archive(&[second])], Meaning::Layer)
        .unwrap();
    use std::os::fd::AsFd;
    let d = File::open(scratch.at("d")).unwrap();
    assert_eq!(
        crate::sys::files::list_xattrs(d.as_fd()).unwrap(),
        b"user.new\0"
    );
    assert_eq!(d.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn overlays_own_attributes_are_not_taken() {
    let scratch = Scratch::new();
    let mut opaque = dir("d");
    opaque.0.xattrs = vec![
        (b"trusted.overlay.redirect".to_vec(), b"/".to_vec()),
        (b"user.overlay.opaque".to_vec(), b"y".to_vec()),
    ];
    scratch
        .unpack(&[archive(&[opaque])], Meaning::Layer)
        .unwrap();
    use std::os::fd::AsFd;
    let d = File::open(scratch.at("d")).unwrap();
    assert_eq!(crate::sys::files::list_xattrs(d.as_fd()).unwrap(), b"");
}

#[test]
fn stops_when_it_is_told_to() {
    let scratch = Scratch::new();
    let stop = || true;
    let mut unpacker = Unpacker::new(scratch.root(), Limits::default(), &stop);
    let layer = archive(&[file("a", "1")]);
    let stopped = unpacker.add(BufReader::new(Cursor::new(layer)), Meaning::Layer);
    assert!(matches!(stopped, Err(UnpackError::Interrupted)));
    assert!(!scratch.at("a").exists());
}
