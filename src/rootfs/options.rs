//! The table of mount options and the parser that folds a mount's options into what to do.
//! It must not touch the host: a list of words in, a value out.

use libcontainer::syscall::linux as k;
use nix::mount::MsFlags;

/// `MOUNT_ATTR_IDMAP` of mount_setattr(2), which libcontainer doesn't list.
pub const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Whether an option concerns one mount or also the mounts below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Scope {
    /// The mount itself.
    Top,
    /// The mount and everything mounted below it.
    Tree,
}

/// What one mount option means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Says what holds anyway.
    Nothing,
    /// Attribute bits of mount_setattr(2) to set and to clear.
    Attr(Scope, u64, u64),
    /// Takes back an access-time mode: the kernel's default (relatime) holds again.
    NotAtime(Scope, u64),
    /// A flag of the super block on or off; only a new file system has one to set.
    Super(MsFlags, bool),
    /// The propagation type of mount_namespaces(7).
    Propagation(Scope, MsFlags),
    /// A bind mount of a file or directory, or of a tree.
    Bind(Scope),
    /// A change of a mount that is already there.
    Remount,
    /// Ownership as seen through a user namespace.
    Idmap(Scope),
    /// A tmpfs that starts with a copy of what it covers.
    CopyUp,
    /// A source that is a symbolic link is copied instead of mounted.
    CopySymlink,
    /// The last component of the source is not followed.
    SourceNoFollow,
    /// The last component of the destination is not followed.
    DestinationNoFollow,
}

use Meaning::*;
use Scope::{Top, Tree};

const ATIME: u64 = k::MOUNT_ATTR__ATIME;

/// Every option with a meaning of its own, sorted by name. Any other word is data for the file system.
/// Sources: mount(8), runtime-spec `config.md` "Linux mount options", crun(1) for the `*nofollow` and
/// `copy-symlink` options.
pub const TABLE: &[(&str, Meaning)] = &[
    ("acl", Super(MsFlags::MS_POSIXACL, true)),
    ("async", Super(MsFlags::MS_SYNCHRONOUS, false)),
    ("atime", NotAtime(Top, k::MOUNT_ATTR_NOATIME)),
    ("bind", Bind(Top)),
    ("copy-symlink", CopySymlink),
    ("defaults", Nothing),
    ("dest-nofollow", DestinationNoFollow),
    ("dev", Attr(Top, 0, k::MOUNT_ATTR_NODEV)),
    ("diratime", Attr(Top, 0, k::MOUNT_ATTR_NODIRATIME)),
    ("dirsync", Super(MsFlags::MS_DIRSYNC, true)),
    ("exec", Attr(Top, 0, k::MOUNT_ATTR_NOEXEC)),
    ("idmap", Idmap(Top)),
    ("iversion", Super(MsFlags::MS_I_VERSION, true)),
    ("lazytime", Super(MsFlags::MS_LAZYTIME, true)),
    ("loud", Super(MsFlags::MS_SILENT, false)),
    ("mand", Super(MsFlags::MS_MANDLOCK, true)),
    ("noacl", Super(MsFlags::MS_POSIXACL, false)),
    ("noatime", Attr(Top, k::MOUNT_ATTR_NOATIME, ATIME)),
    ("nodev", Attr(Top, k::MOUNT_ATTR_NODEV, 0)),
    ("nodiratime", Attr(Top, k::MOUNT_ATTR_NODIRATIME, 0)),
    ("noexec", Attr(Top, k::MOUNT_ATTR_NOEXEC, 0)),
    ("noiversion", Super(MsFlags::MS_I_VERSION, false)),
    ("nolazytime", Super(MsFlags::MS_LAZYTIME, false)),
    ("nomand", Super(MsFlags::MS_MANDLOCK, false)),
    ("norelatime", NotAtime(Top, k::MOUNT_ATTR_RELATIME)),
    ("nostrictatime", NotAtime(Top, k::MOUNT_ATTR_STRICTATIME)),
    ("nosuid", Attr(Top, k::MOUNT_ATTR_NOSUID, 0)),
    ("nosymfollow", Attr(Top, k::MOUNT_ATTR_NOSYMFOLLOW, 0)),
    ("private", Propagation(Top, MsFlags::MS_PRIVATE)),
    ("ratime", NotAtime(Tree, k::MOUNT_ATTR_NOATIME)),
    ("rbind", Bind(Tree)),
    ("rdev", Attr(Tree, 0, k::MOUNT_ATTR_NODEV)),
    ("rdiratime", Attr(Tree, 0, k::MOUNT_ATTR_NODIRATIME)),
    ("relatime", Attr(Top, k::MOUNT_ATTR_RELATIME, ATIME)),
    ("remount", Remount),
    ("rexec", Attr(Tree, 0, k::MOUNT_ATTR_NOEXEC)),
    ("ridmap", Idmap(Tree)),
    ("rnoatime", Attr(Tree, k::MOUNT_ATTR_NOATIME, ATIME)),
    ("rnodev", Attr(Tree, k::MOUNT_ATTR_NODEV, 0)),
    ("rnodiratime", Attr(Tree, k::MOUNT_ATTR_NODIRATIME, 0)),
    ("rnoexec", Attr(Tree, k::MOUNT_ATTR_NOEXEC, 0)),
    ("rnorelatime", NotAtime(Tree, k::MOUNT_ATTR_RELATIME)),
    ("rnostrictatime", NotAtime(Tree, k::MOUNT_ATTR_STRICTATIME)),
    ("rnosuid", Attr(Tree, k::MOUNT_ATTR_NOSUID, 0)),
    ("rnosymfollow", Attr(Tree, k::MOUNT_ATTR_NOSYMFOLLOW, 0)),
    ("ro", Attr(Top, k::MOUNT_ATTR_RDONLY, 0)),
    ("rprivate", Propagation(Tree, MsFlags::MS_PRIVATE)),
    ("rrelatime", Attr(Tree, k::MOUNT_ATTR_RELATIME, ATIME)),
    ("rro", Attr(Tree, k::MOUNT_ATTR_RDONLY, 0)),
    ("rrw", Attr(Tree, 0, k::MOUNT_ATTR_RDONLY)),
    ("rshared", Propagation(Tree, MsFlags::MS_SHARED)),
    ("rslave", Propagation(Tree, MsFlags::MS_SLAVE)),
    ("rstrictatime", Attr(Tree, k::MOUNT_ATTR_STRICTATIME, ATIME)),
    ("rsuid", Attr(Tree, 0, k::MOUNT_ATTR_NOSUID)),
    ("rsymfollow", Attr(Tree, 0, k::MOUNT_ATTR_NOSYMFOLLOW)),
    ("runbindable", Propagation(Tree, MsFlags::MS_UNBINDABLE)),
    ("rw", Attr(Top, 0, k::MOUNT_ATTR_RDONLY)),
    ("shared", Propagation(Top, MsFlags::MS_SHARED)),
    ("silent", Super(MsFlags::MS_SILENT, true)),
    ("slave", Propagation(Top, MsFlags::MS_SLAVE)),
    ("src-nofollow", SourceNoFollow),
    ("strictatime", Attr(Top, k::MOUNT_ATTR_STRICTATIME, ATIME)),
    ("suid", Attr(Top, 0, k::MOUNT_ATTR_NOSUID)),
    ("symfollow", Attr(Top, 0, k::MOUNT_ATTR_NOSYMFOLLOW)),
    ("sync", Super(MsFlags::MS_SYNCHRONOUS, true)),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagation(Top, MsFlags::MS_UNBINDABLE)),
];

/// Attribute bits for mount_setattr(2), which clears before it sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear first.
    pub clear: u64,
}

impl Attrs {
    /// Whether there is nothing to change.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn apply(&mut self, set: u64, clear: u64) {
        self.set = (self.set & !clear) | set;
        self.clear |= clear;
    }

    /// Takes `mode` back. Another access-time mode that was asked for stays.
    fn not_atime(&mut self, mode: u64) {
        let asked = self.clear & ATIME != 0;
        if !asked || self.set & ATIME == mode {
            self.apply(k::MOUNT_ATTR_RELATIME, ATIME);
        }
    }
}

/// The options of one mount, folded; of two that contradict each other the later one holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// For the mount itself.
    pub top: Attrs,
    /// For the mount and all below it.
    pub tree: Attrs,
    /// Super block flags that are on.
    pub super_flags: MsFlags,
    /// Propagation types in the order to apply them.
    pub propagation: Vec<(Scope, MsFlags)>,
    /// Set for a bind mount.
    pub bind: Option<Scope>,
    /// Set for an idmapped mount.
    pub idmap: Option<Scope>,
    /// `remount`.
    pub remount: bool,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `copy-symlink`.
    pub copy_symlink: bool,
    /// `src-nofollow`.
    pub source_nofollow: bool,
    /// `dest-nofollow`.
    pub destination_nofollow: bool,
    /// Options of the file system: `key` or `key=value`.
    pub data: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            top: Attrs::default(),
            tree: Attrs::default(),
            super_flags: MsFlags::empty(),
            propagation: Vec::new(),
            bind: None,
            idmap: None,
            remount: false,
            copy_up: false,
            copy_symlink: false,
            source_nofollow: false,
            destination_nofollow: false,
            data: Vec::new(),
        }
    }
}

impl Options {
    /// Folds the words of `mounts[].options`.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut options = Self::default();
        for word in words {
            match lookup(word) {
                Some(meaning) => options.apply(meaning),
                None => options.data.extend(split_data(word)),
            }
        }
        options
    }

    /// Whether the mount ends up read-only.
    pub fn read_only(&self) -> bool {
        (self.top.set | self.tree.set) & k::MOUNT_ATTR_RDONLY != 0
    }

    fn apply(&mut self, meaning: Meaning) {
        match meaning {
            Nothing => {}
            Attr(scope, set, clear) => self.attrs(scope).apply(set, clear),
            NotAtime(scope, mode) => self.attrs(scope).not_atime(mode),
            Super(flag, on) => self.super_flags.set(flag, on),
            Propagation(scope, flag) => self.propagation.push((scope, flag)),
            Bind(scope) => self.bind = Some(scope),
            Idmap(scope) => self.idmap = Some(scope),
            Remount => self.remount = true,
            CopyUp => self.copy_up = true,
            CopySymlink => self.copy_symlink = true,
            SourceNoFollow => self.source_nofollow = true,
            DestinationNoFollow => self.destination_nofollow = true,
        }
    }

    fn attrs(&mut self, scope: Scope) -> &mut Attrs {
        match scope {
            Top => &mut self.top,
            Tree => &mut self.tree,
        }
    }
}

/// The meaning of `word`, `None` when it is data for the file system.
pub fn lookup(word: &str) -> Option<Meaning> {
    TABLE
        .binary_search_by(|(name, _)| (*name).cmp(word))
        .ok()
        .map(|at| TABLE[at].1)
}

/// Splits one word at its commas, as mount(2) does with its data; commas in double quotes stay,
/// because SELinux contexts hold them.
fn split_data(word: &str) -> Vec<String> {
    let mut quoted = false;
    word.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .filter(|part| !part.is_empty())
    .map(|part| part.replace('"', ""))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Options {
        Options::parse(words.iter().copied())
    }

    #[test]
    fn table_is_sorted_and_without_duplicates() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} before {}", pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn table_holds_all_of_runc() {
        // `runc features` of 1.1.5.
        let runc = "acl async atime bind defaults dev diratime dirsync exec iversion lazytime loud \
            mand noacl noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime \
            nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount \
            rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid \
            rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow \
            runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";
        for name in runc.split_whitespace() {
            assert!(lookup(name).is_some(), "{name}");
        }
    }

    #[test]
    fn attributes_fold_and_the_later_holds() {
        let ro = k::MOUNT_ATTR_RDONLY;
        let cases: &[(&[&str], Attrs, Attrs)] = &[
            (&["ro"], Attrs { set: ro, clear: 0 }, Attrs::default()),
            (&["rw"], Attrs { set: 0, clear: ro }, Attrs::default()),
            (&["ro", "rw"], Attrs { set: 0, clear: ro }, Attrs::default()),
            (
                &["rw", "ro"],
                Attrs { set: ro, clear: ro },
                Attrs::default(),
            ),
            (&["rro"], Attrs::default(), Attrs { set: ro, clear: 0 }),
            (
                &["noatime"],
                Attrs {
                    set: k::MOUNT_ATTR_NOATIME,
                    clear: ATIME,
                },
                Attrs::default(),
            ),
            (
                &["noatime", "strictatime"],
                Attrs {
                    set: k::MOUNT_ATTR_STRICTATIME,
                    clear: ATIME,
                },
                Attrs::default(),
            ),
            (
                &["atime"],
                Attrs {
                    set: 0,
                    clear: ATIME,
                },
                Attrs::default(),
            ),
            (
                &["noatime", "atime"],
                Attrs {
                    set: 0,
                    clear: ATIME,
                },
                Attrs::default(),
            ),
            (
                &["noatime", "nostrictatime"],
                Attrs {
                    set: k::MOUNT_ATTR_NOATIME,
                    clear: ATIME,
                },
                Attrs::default(),
            ),
            (
                &["ratime"],
                Attrs::default(),
                Attrs {
                    set: 0,
                    clear: ATIME,
                },
            ),
        ];
        for (words, top, tree) in cases {
            let options = parse(words);
            assert_eq!((options.top, options.tree), (*top, *tree), "{words:?}");
        }
    }

    #[test]
    fn everything_else_folds() {
        let options = parse(&[
            "rbind",
            "rprivate",
            "shared",
            "ridmap",
            "sync",
            "tmpcopyup",
            "mode=755",
            "size=1k",
        ]);
        assert_eq!(options.bind, Some(Tree));
        assert_eq!(
            options.propagation,
            [(Tree, MsFlags::MS_PRIVATE), (Top, MsFlags::MS_SHARED)]
        );
        assert_eq!(options.idmap, Some(Tree));
        assert_eq!(options.super_flags, MsFlags::MS_SYNCHRONOUS);
        assert!(options.copy_up && !options.remount && !options.read_only());
        assert_eq!(options.data, ["mode=755", "size=1k"]);
        assert!(parse(&["sync", "async"]).super_flags.is_empty());
    }

    #[test]
    fn data_splits_like_mount() {
        let cases: &[(&str, &[&str])] = &[
            ("a=b,c", &["a=b", "c"]),
            ("lowerdir=/a:/b", &["lowerdir=/a:/b"]),
            ("context=\"x:s0:c1,c2\",d", &["context=x:s0:c1,c2", "d"]),
            ("", &[]),
        ];
        for (word, parts) in cases {
            assert_eq!(split_data(word), *parts, "{word}");
        }
    }
}
