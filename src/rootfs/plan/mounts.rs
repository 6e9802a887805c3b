//! The entries of `mounts`: what kind each is, and which destinations are out of the question.
//! It must not look at the host: symbolic links are judged when the mount is attached.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use oci_spec::runtime::{Linux, LinuxNamespaceType, Mount, Spec};

use super::Facts;
use crate::rootfs::error::RootfsError;
use crate::rootfs::idmap::Mapping;
use crate::rootfs::options::{Attrs, Options, Scope};
use crate::rootfs::resolve::lexical;

/// One entry of `mounts`.
#[derive(Clone, Debug)]
pub struct PlannedMount {
    pub(in crate::rootfs) index: usize,
    /// Absolute; not yet resolved.
    pub(in crate::rootfs) destination: PathBuf,
    pub(in crate::rootfs) kind: Kind,
    /// Empty for a bind.
    pub(in crate::rootfs) fstype: String,
    pub(in crate::rootfs) source: Option<PathBuf>,
    pub(in crate::rootfs) options: Options,
    pub(in crate::rootfs) mapping: Option<Mapping>,
}

/// How a mount is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From a host path.
    Bind,
    /// A change of what is mounted at the destination.
    Remount,
    /// A fresh procfs.
    Proc,
    /// sysfs, or the host's where the kernel refuses one.
    Sysfs,
    /// A fresh tmpfs.
    Tmpfs,
    /// The unified cgroup hierarchy in a cgroup namespace.
    Cgroup2,
    /// One mount for each hierarchy of cgroup v1.
    Cgroup1,
    /// Anything else.
    Other,
}

impl PlannedMount {
    /// Whether it becomes read-only only after the pivot: things are still put into it.
    pub(in crate::rootfs) fn read_only_late(&self) -> bool {
        self.kind == Kind::Tmpfs
            || (self.kind != Kind::Bind && lexical(&self.destination) == Path::new("/dev"))
    }
}

impl fmt::Display for PlannedMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mounts[{}] `{}`", self.index, self.destination.display())
    }
}

pub(super) fn plan_mounts(
    spec: &Spec,
    linux: &Linux,
    bundle: &Path,
    facts: &Facts,
) -> Result<Vec<PlannedMount>, RootfsError> {
    let fallback = container_mapping(linux);
    let list = spec.mounts().as_deref().unwrap_or_default();
    list.iter()
        .enumerate()
        .map(|(index, mount)| {
            let planned = plan_mount(index, mount, bundle, facts);
            let planned = plan_mapping(planned, mount, fallback.as_ref())?;
            check_destination(&planned)?;
            warn_of_ignored(&planned);
            Ok(planned)
        })
        .collect()
}

/// The container's own mapping, for idmapped mounts that bring none.
fn container_mapping(linux: &Linux) -> Option<Mapping> {
    let list = linux.namespaces().as_ref()?;
    let user = list
        .iter()
        .find(|ns| ns.typ() == LinuxNamespaceType::User)?;
    match user.path() {
        Some(path) if !path.as_os_str().is_empty() => Some(Mapping::Namespace(path.clone())),
        _ => Mapping::from_spec(linux.uid_mappings().as_ref(), linux.gid_mappings().as_ref()),
    }
}

fn plan_mount(index: usize, mount: &Mount, bundle: &Path, facts: &Facts) -> PlannedMount {
    let words = mount.options().as_deref().unwrap_or_default();
    let mut options = Options::parse(words.iter().map(String::as_str));
    let fstype = mount.typ().clone().unwrap_or_default();
    let mut source = mount.source().clone();
    let kind = kind_of(&fstype, &options, facts);
    if kind == Kind::Bind {
        if options.bind.is_none() && fstype.starts_with("cgroup") {
            // A cgroup2 mounted from the host's cgroup namespace would take the host's mount
            // options with it (cgroup_namespaces(7), kernel `apply_cgroup_root_flags`).
            source = Some(PathBuf::from("/sys/fs/cgroup"));
            let scope = if facts.userns {
                Scope::Tree
            } else {
                Scope::Top
            };
            options.bind = Some(scope);
            options.data.clear();
        }
        source = source.map(|path| bundle.join(path));
        options.bind.get_or_insert(Scope::Top);
    }
    PlannedMount {
        index,
        destination: Path::new("/").join(mount.destination()),
        kind,
        fstype,
        source,
        options,
        mapping: None,
    }
}

fn kind_of(fstype: &str, options: &Options, facts: &Facts) -> Kind {
    let unified = facts.unified;
    match fstype {
        _ if options.remount => Kind::Remount,
        _ if options.bind.is_some() => Kind::Bind,
        "bind" => Kind::Bind,
        "proc" => Kind::Proc,
        "sysfs" => Kind::Sysfs,
        "tmpfs" => Kind::Tmpfs,
        "cgroup" | "cgroup2" if unified && !facts.cgroup_ns => Kind::Bind,
        "cgroup" | "cgroup2" if unified => Kind::Cgroup2,
        "cgroup" => Kind::Cgroup1,
        _ => Kind::Other,
    }
}

fn plan_mapping(
    mut planned: PlannedMount,
    mount: &Mount,
    fallback: Option<&Mapping>,
) -> Result<PlannedMount, RootfsError> {
    let given = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let (uids, gids) = (mount.uid_mappings(), mount.gid_mappings());
    if planned.options.idmap.is_none() && !given(uids) && !given(gids) {
        return Ok(planned);
    }
    let refuse = |why| Err(RootfsError::refused(&planned, why));
    if planned.kind != Kind::Bind {
        return refuse("only a bind mount can be idmapped");
    }
    if given(uids) != given(gids) {
        return refuse("uidMappings and gidMappings need each other");
    }
    let own = Mapping::from_spec(uids.as_ref(), gids.as_ref());
    let Some(mapping) = own.or_else(|| fallback.cloned()) else {
        return refuse("idmap needs uidMappings and gidMappings, or a user namespace");
    };
    planned.mapping = Some(mapping);
    planned.options.idmap.get_or_insert(Scope::Top);
    Ok(planned)
}

/// What lxcfs and the like may put over files of `/proc`, the list of runc's `checkProcMount`.
const OVER_PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Whether a mount inside procfs is allowed at this destination, judged by its text.
pub(in crate::rootfs) fn may_cover_proc(destination: &Path) -> bool {
    let clean = lexical(destination);
    OVER_PROC.iter().any(|allowed| clean == Path::new(allowed))
}

fn check_destination(mount: &PlannedMount) -> Result<(), RootfsError> {
    let refuse = |why| Err(RootfsError::refused(mount, why));
    let clean = lexical(&mount.destination);
    let proc = Path::new("/proc");
    if mount.kind == Kind::Remount {
        return Ok(());
    }
    if clean == Path::new("/") {
        return refuse("the root itself can't be mounted over");
    }
    if clean == proc && !matches!(mount.kind, Kind::Proc | Kind::Bind) {
        return refuse("only procfs may be mounted on /proc");
    }
    if clean != proc && clean.starts_with(proc) && !may_cover_proc(&clean) {
        return refuse("lies inside /proc");
    }
    if mount.kind == Kind::Bind && mount.source.is_none() {
        return refuse("a bind mount needs a source");
    }
    if mount.kind == Kind::Other && mount.fstype.is_empty() {
        return refuse("type is missing");
    }
    if mount.options.copy_up && mount.kind != Kind::Tmpfs {
        return refuse("tmpcopyup is only for tmpfs");
    }
    Ok(())
}

/// What runc takes without a word and without effect, and pxrun with a word.
pub const WARNED: &[(&str, &str)] = &[
    (
        "mounts[].options: data on a bind mount",
        "mount(2) ignores the data of a bind, and callers pass options of their own",
    ),
    (
        "mounts[].options: flags of the super block on a bind mount",
        "they belong to the file system, which a bind doesn't own",
    ),
];

fn warn_of_ignored(mount: &PlannedMount) {
    if mount.kind != Kind::Bind {
        return;
    }
    if !mount.options.data.is_empty() {
        let data = mount.options.data.join(",");
        tracing::warn!("{mount}: options `{data}` have no effect: {}", WARNED[0].1);
    }
    if !mount.options.super_flags.is_empty() {
        tracing::warn!("{mount}: flags have no effect: {}", WARNED[1].1);
    }
}

/// How a bind's clone is changed: one mount_setattr(2) for the tree, one for its top, then what is
/// left of its propagation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindChanges {
    pub(in crate::rootfs) tree: Attrs,
    pub(in crate::rootfs) tree_propagation: Option<MsFlags>,
    pub(in crate::rootfs) top: Attrs,
    pub(in crate::rootfs) rest: Vec<(Scope, MsFlags)>,
}

impl BindChanges {
    /// For a mount with these options, after `host` (what the clone takes over from the host).
    pub(in crate::rootfs) fn new(options: &Options, host: Option<MsFlags>) -> Self {
        let mut rest = options.propagation.clone();
        let mut tree_propagation = host;
        // A recursive type that doesn't build on the one before replaces it in the same call.
        if let Some(&(Scope::Tree, flag)) = rest.first() {
            let replaces = flag == MsFlags::MS_PRIVATE || Some(flag) == host || host.is_none();
            if replaces {
                tree_propagation = Some(flag);
                rest.remove(0);
            }
        }
        Self {
            tree: options.tree,
            tree_propagation,
            top: options.top,
            rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn plan(mount: Value, unified: bool, cgroup_ns: bool) -> Result<PlannedMount, String> {
        let spec: Spec = serde_json::from_value(json!({
            "ociVersion": "1.2.0", "root": {"path": "r"}, "mounts": [mount],
            "linux": {"namespaces": [{"type": "user", "path": "/ns/user"}]},
        }))
        .unwrap();
        let facts = Facts {
            userns: false,
            mount_ns: true,
            cgroup_ns,
            unified,
            selinux: false,
            own_cgroup: None,
        };
        let linux = spec.linux().as_ref().unwrap();
        plan_mounts(&spec, linux, Path::new("/b"), &facts)
            .map(|mut list| list.remove(0))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn kinds() {
        let cases = [
            (json!({"type": "bind", "source": "s"}), Kind::Bind),
            (
                json!({"type": "none", "source": "s", "options": ["rbind"]}),
                Kind::Bind,
            ),
            (
                json!({"type": "ext4", "options": ["remount"]}),
                Kind::Remount,
            ),
            (json!({"type": "proc"}), Kind::Proc),
            (json!({"type": "sysfs"}), Kind::Sysfs),
            (json!({"type": "tmpfs"}), Kind::Tmpfs),
            (json!({"type": "devpts"}), Kind::Other),
        ];
        for (mut mount, kind) in cases {
            mount["destination"] = json!("d");
            let planned = plan(mount.clone(), false, false).unwrap();
            assert_eq!(planned.kind, kind, "{mount}");
            assert_eq!(planned.destination, Path::new("/d"));
            let absolute = planned.source.is_none_or(|path| path == Path::new("/b/s"));
            assert!(absolute, "{mount}");
        }
        let cgroup = json!({"destination": "/c", "type": "cgroup", "source": "cgroup"});
        for (unified, namespaced, kind) in [
            (true, true, Kind::Cgroup2),
            (true, false, Kind::Bind),
            (false, true, Kind::Cgroup1),
            (false, false, Kind::Cgroup1),
        ] {
            let planned = plan(cgroup.clone(), unified, namespaced).unwrap();
            assert_eq!(planned.kind, kind);
            if kind == Kind::Bind {
                assert_eq!(planned.source.as_deref(), Some(Path::new("/sys/fs/cgroup")));
            }
        }
    }

    #[test]
    fn mappings() {
        let ids = json!([{"containerID": 1, "hostID": 2, "size": 3}]);
        let bind = |extra: Value| {
            let mut mount = json!({"destination": "/d", "type": "bind", "source": "/s"});
            for (key, value) in extra.as_object().unwrap() {
                mount[key] = value.clone();
            }
            plan(mount, false, false)
        };
        let lines = Mapping::Lines {
            uids: "1 2 3\n".into(),
            gids: "1 2 3\n".into(),
        };
        let own = bind(json!({"uidMappings": ids, "gidMappings": ids})).unwrap();
        assert_eq!(
            (own.mapping, own.options.idmap),
            (Some(lines), Some(Scope::Top))
        );
        let joined = bind(json!({"options": ["ridmap"]})).unwrap();
        let namespace = Mapping::Namespace("/ns/user".into());
        assert_eq!(
            (joined.mapping, joined.options.idmap),
            (Some(namespace), Some(Scope::Tree))
        );
        assert_eq!(
            bind(json!({"uidMappings": ids})).unwrap_err(),
            "mounts[0] `/d`: uidMappings and gidMappings need each other"
        );
        assert_eq!(
            bind(json!({"type": "tmpfs", "options": ["idmap"]})).unwrap_err(),
            "mounts[0] `/d`: only a bind mount can be idmapped"
        );
    }

    #[test]
    fn a_bind_changes_in_as_few_calls_as_it_can() {
        let (slave, private, shared) = (MsFlags::MS_SLAVE, MsFlags::MS_PRIVATE, MsFlags::MS_SHARED);
        // (own options, of the host, in the first call, afterwards)
        type Case<'a> = (&'a [&'a str], Option<MsFlags>, Option<MsFlags>, usize);
        let cases: &[Case] = &[
            (&[], Some(slave), Some(slave), 0),
            (&["rprivate"], Some(slave), Some(private), 0),
            (&["rslave"], Some(slave), Some(slave), 0),
            (&["rshared"], Some(slave), Some(slave), 1),
            (&["private"], Some(slave), Some(slave), 1),
            (&["rshared"], None, Some(shared), 0),
        ];
        for (words, host, first, rest) in cases {
            let changes = BindChanges::new(&Options::parse(words.iter().copied()), *host);
            assert_eq!(
                (changes.tree_propagation, changes.rest.len()),
                (*first, *rest),
                "{words:?}"
            );
        }
    }
}
