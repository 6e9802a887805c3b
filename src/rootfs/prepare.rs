//! On the host's side, with the host's rights: turns every host path of the plan into a descriptor,
//! if it can't wait into a detached mount. It must not change any mount of the host.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::mount::MsFlags;
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::cgroups::{Hierarchy, hierarchies};
use super::error::RootfsError;
use super::idmap::UserNamespaces;
use super::kernel;
use super::options::{Attrs, Scope};
use super::plan::{BindChanges, Facts, Kind, Plan, PlannedDevice, PlannedMount, PlannedPath};
use super::propagation::RootPropagation;
use super::resolve::{is_type, lexical};
use super::view::{LockedView, OwnNamespace};
use crate::sys::mounts::{How, openat2};

/// A root file system that needs no host path any more: descriptors, to be inherited over a fork
/// into the container's namespaces and attached there.
#[derive(Debug)]
pub struct Prepared {
    pub(super) facts: Facts,
    pub(super) root: OwnedFd,
    pub(super) root_path: PathBuf,
    pub(super) root_readonly: bool,
    pub(super) propagation: RootPropagation,
    pub(super) mounts: Vec<PreparedMount>,
    pub(super) devices: Option<Vec<PreparedDevice>>,
    pub(super) masked: Vec<PlannedPath>,
    pub(super) readonly: Vec<PlannedPath>,
    pub(super) label: Option<String>,
    /// The host's cgroup v1 hierarchies, when a mount asks for them.
    pub(super) hierarchies: Vec<Hierarchy>,
    /// The user namespaces of idmapped mounts.
    pub(super) userns: UserNamespaces,
    /// Mounts that become read-only in `seal`, with what to call them in an error.
    pub(super) read_only_late: Vec<(String, OwnedFd)>,
    /// Detached mounts that somebody else has made for the container.
    pub(super) given: Vec<(PathBuf, OwnedFd)>,
}

/// A mount and what it is made from.
#[derive(Debug)]
pub(super) struct PreparedMount {
    pub(super) plan: PlannedMount,
    pub(super) source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    /// A file system that the container's side makes.
    New,
    /// A detached mount with its final attributes.
    Tree { fd: OwnedFd, is_dir: bool },
    /// An open path in the container's mount namespace, to be cloned when its turn has come: since
    /// Linux 6.8 mountinfo lists mounts in the order in which they were made, and readers expect
    /// that of the configuration.
    Place { fd: OwnedFd, is_dir: bool },
    /// The text of a symbolic link to make.
    Link(PathBuf),
}

/// A device and, in a user namespace, the host's node to bind.
#[derive(Debug)]
pub(super) struct PreparedDevice {
    pub(super) plan: PlannedDevice,
    pub(super) node: Option<OwnedFd>,
}

impl Plan {
    /// Clones everything, for a container whose mount namespace is another than the command's. The
    /// process must be single-threaded: for a container with a user namespace it enters another
    /// mount namespace for the time of the call.
    ///
    /// # Errors
    /// [`RootfsError`] with the JSON path of the source that can't be opened, cloned or changed.
    pub fn prepare(self) -> Result<Prepared, RootfsError> {
        let view = self.locked_view()?;
        let prepared = self.open_all(&Binds::Now);
        if let Some(view) = view {
            view.leave().map_err(RootfsError::sys(
                "mounts",
                "leave the view of the host's mounts",
            ))?;
        }
        prepared
    }

    /// Opens everything, for a container whose mount namespace the command has made and is in: init
    /// clones the binds. Their paths mean what they mean to the command.
    ///
    /// # Errors
    /// [`RootfsError`] with the JSON path of the source that can't be opened.
    pub fn prepare_in(self, own: &OwnNamespace) -> Result<Prepared, RootfsError> {
        let root = kernel::open_path(&self.root, libc::O_DIRECTORY)
            .and_then(|root| kernel::name_of(root.as_fd()))
            .map_err(RootfsError::sys(
                format_args!("root.path `{}`", self.root.display()),
                "open the root file system",
            ))?;
        self.open_all(&Binds::Later { own, root })
    }

    fn locked_view(&self) -> Result<Option<LockedView>, RootfsError> {
        if !(self.facts.userns && self.facts.mount_ns) {
            return Ok(None);
        }
        LockedView::enter().map_err(RootfsError::sys(
            "mounts",
            "make a view of the host's mounts for the user namespace",
        ))
    }

    fn open_all(self, binds: &Binds<'_>) -> Result<Prepared, RootfsError> {
        let root = self.open_root()?;
        let mut userns = UserNamespaces::default();
        let host = self.propagation.of_clones();
        let hierarchies = match self.mounts.iter().find(|m| m.kind == Kind::Cgroup1) {
            Some(mount) => hierarchies(mount)?,
            None => Vec::new(),
        };
        let mounts = self
            .mounts
            .into_iter()
            .map(|mount| prepare_mount(mount, host, binds, &mut userns))
            .collect::<Result<_, _>>()?;
        let bind_devices = self.facts.userns;
        let devices = self
            .devices
            .map(|list| {
                list.into_iter()
                    .map(|device| prepare_device(device, bind_devices))
                    .collect::<Result<_, _>>()
            })
            .transpose()?;
        Ok(Prepared {
            facts: self.facts,
            root,
            root_path: self.root,
            root_readonly: self.root_readonly,
            propagation: self.propagation,
            mounts,
            devices,
            masked: self.masked,
            readonly: self.readonly,
            label: self.label,
            hierarchies,
            userns,
            read_only_late: Vec::new(),
            given: Vec::new(),
        })
    }

    fn open_root(&self) -> Result<OwnedFd, RootfsError> {
        let at = format!("root.path `{}`", self.root.display());
        let failed = |what| RootfsError::sys(&at, what);
        let root = kernel::clone_path(&self.root, Scope::Tree, false)
            .map_err(failed("open the root file system"))?;
        if !is_type(root.as_fd(), SFlag::S_IFDIR).map_err(failed("stat"))? {
            return Err(RootfsError::refused(at, "is not a directory"));
        }
        let set = |scope, flag| {
            kernel::set_propagation(root.as_fd(), scope, flag)
                .map_err(failed("set the propagation"))
        };
        if let Some(flag) = self.propagation.of_clones() {
            set(Scope::Tree, flag)?;
        }
        // A shared top would carry the container's mounts to the host, and pivot_root(2) refuses it.
        if self.propagation.leaves_shared() {
            set(Scope::Top, MsFlags::MS_PRIVATE)?;
        }
        Ok(root)
    }
}

/// When binds are cloned.
enum Binds<'v> {
    /// While preparing.
    Now,
    /// By init, if nothing speaks against it.
    Later {
        own: &'v OwnNamespace,
        root: PathBuf,
    },
}

fn prepare_mount(
    plan: PlannedMount,
    host: Option<MsFlags>,
    binds: &Binds<'_>,
    userns: &mut UserNamespaces,
) -> Result<PreparedMount, RootfsError> {
    let source = match plan.source.as_deref() {
        Some(path) if plan.kind == Kind::Bind => open_source(&plan, path, host, binds, userns)?,
        _ => Source::New,
    };
    Ok(PreparedMount { plan, source })
}

fn open_source(
    plan: &PlannedMount,
    path: &Path,
    host: Option<MsFlags>,
    binds: &Binds<'_>,
    userns: &mut UserNamespaces,
) -> Result<Source, RootfsError> {
    let failed =
        |errno| RootfsError::sys(plan, format_args!("open source `{}`", path.display()))(errno);
    if plan.options.copy_symlink {
        match readlinkat(None, path) {
            Ok(text) => return Ok(Source::Link(text.into())),
            Err(Errno::EINVAL) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    let fd = match binds {
        Binds::Now => clone_source(plan, path),
        Binds::Later { own, root } => match open_place(plan, path) {
            // Behind a magic link, such as `/proc/PID/root` or `/proc/self/fd/N`, there may be a
            // mount of another namespace: it can be cloned only where it belongs.
            Err(Errno::ELOOP) => own.outside(|| clone_source(plan, path)).flatten(),
            Ok((fd, is_dir)) if !holds(fd.as_fd(), plan, root).map_err(failed)? => {
                check_source(plan, fd.as_fd())?;
                if let Some(mapping) = &plan.mapping {
                    userns.get(mapping).map_err(failed_userns(plan))?;
                }
                return Ok(Source::Place { fd, is_dir });
            }
            // What init attaches would appear in its own source.
            Ok((fd, _)) => kernel::clone_fd(fd.as_fd(), Scope::Tree),
            Err(errno) => Err(errno),
        },
    };
    let fd = fd.map_err(failed)?;
    check_source(plan, fd.as_fd())?;
    change_source(plan, fd.as_fd(), host, userns)?;
    let is_dir = is_type(fd.as_fd(), SFlag::S_IFDIR).map_err(RootfsError::sys(plan, "stat"))?;
    Ok(Source::Tree { fd, is_dir })
}

fn clone_source(plan: &PlannedMount, path: &Path) -> Result<OwnedFd, Errno> {
    let scope = plan.options.bind.unwrap_or(Scope::Top);
    kernel::clone_path(path, scope, plan.options.source_nofollow)
}

/// The source without magic links, and whether it is a directory. An automount is triggered, as
/// open_tree(2) does it.
fn open_place(plan: &PlannedMount, path: &Path) -> Result<(OwnedFd, bool), Errno> {
    let nofollow = match plan.options.source_nofollow {
        true => libc::O_NOFOLLOW,
        false => 0,
    };
    let open = |flags| {
        let how = How {
            flags: libc::O_PATH | nofollow | flags,
            resolve: libc::RESOLVE_NO_MAGICLINKS,
            ..How::default()
        };
        openat2(None, path, how)
    };
    match open(libc::O_DIRECTORY) {
        Err(Errno::ENOTDIR) => Ok((open(0)?, false)),
        dir => Ok((dir?, true)),
    }
}

/// Whether a recursive bind of `source` takes the place of the root with it.
fn holds(source: BorrowedFd<'_>, plan: &PlannedMount, root: &Path) -> Result<bool, Errno> {
    let recursive = plan.options.bind == Some(Scope::Tree);
    Ok(recursive && root.starts_with(kernel::name_of(source)?))
}

fn check_source(plan: &PlannedMount, fd: BorrowedFd<'_>) -> Result<(), RootfsError> {
    if lexical(&plan.destination) == Path::new("/proc") && !is_procfs(plan, fd)? {
        return Err(RootfsError::refused(
            plan,
            "only procfs may be mounted on /proc",
        ));
    }
    Ok(())
}

fn is_procfs(plan: &PlannedMount, fd: BorrowedFd<'_>) -> Result<bool, RootfsError> {
    let stat = fstatfs(fd).map_err(RootfsError::sys(plan, "statfs"))?;
    Ok(stat.filesystem_type() == PROC_SUPER_MAGIC)
}

/// The final attributes of a clone.
pub(super) fn change_source(
    plan: &PlannedMount,
    fd: BorrowedFd<'_>,
    host: Option<MsFlags>,
    userns: &mut UserNamespaces,
) -> Result<(), RootfsError> {
    let changes = BindChanges::new(&plan.options, host);
    let userns = plan
        .mapping
        .as_ref()
        .map(|mapping| userns.get(mapping))
        .transpose()
        .map_err(failed_userns(plan))?;
    let (tree_userns, top_userns) = match plan.options.idmap {
        Some(Scope::Tree) => (userns, None),
        _ => (None, userns),
    };
    let apply = |scope, attrs: Attrs, propagation, userns: Option<BorrowedFd<'_>>| {
        let what = if userns.is_some() {
            "idmap"
        } else {
            "set the attributes"
        };
        kernel::set_attrs(fd, scope, attrs, propagation, userns)
            .map_err(RootfsError::sys(plan, what))
    };
    apply(
        Scope::Tree,
        changes.tree,
        changes.tree_propagation,
        tree_userns,
    )?;
    apply(Scope::Top, changes.top, None, top_userns)?;
    for (scope, flag) in changes.rest {
        apply(scope, Attrs::default(), Some(flag), None)?;
    }
    Ok(())
}

fn failed_userns(plan: &PlannedMount) -> impl FnOnce(Errno) -> RootfsError {
    RootfsError::sys(plan, "make the user namespace of the idmap")
}

fn prepare_device(plan: PlannedDevice, bind: bool) -> Result<PreparedDevice, RootfsError> {
    let node = if bind && plan.is_driver() {
        Some(clone_node(&plan)?)
    } else {
        None
    };
    Ok(PreparedDevice { plan, node })
}

/// A detached mount of the host's node at the device's path, which must be that device.
pub(super) fn clone_node(plan: &PlannedDevice) -> Result<OwnedFd, RootfsError> {
    let node = kernel::clone_path(&plan.path, Scope::Top, true)
        .map_err(RootfsError::sys(plan, "open the host's node"))?;
    let stat = fstat(node.as_raw_fd()).map_err(RootfsError::sys(plan, "stat the host's node"))?;
    if !plan.is(&stat) {
        return Err(RootfsError::refused(
            plan,
            "the host's node is another device",
        ));
    }
    Ok(node)
}
