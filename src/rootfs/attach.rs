//! On the container's side, before the pivot: puts the prepared mounts where they belong.
//! It must not open host paths by name, nor follow a path of the root without `resolve`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, umask};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::symlinkat;

use super::cgroups;
use super::error::RootfsError;
use super::kernel;
use super::newfs;
use super::options::{Attrs, Scope};
use super::plan::{Kind, PlannedMount, may_cover_proc};
use super::prepare::{Prepared, PreparedMount, Source, change_source};
use super::resolve::{self, Links, Target, Want, is_type, lexical};

impl Prepared {
    /// Gives the new mount namespace its propagation and attaches the root at its own path, or over
    /// `/` where a user namespace can't reach that path. Without a mount namespace the root is
    /// attached in the host's, and the caller detaches it when the container is gone.
    ///
    /// # Errors
    /// [`RootfsError`] at `linux.rootfsPropagation` or `root.path`.
    pub fn enter(&self) -> Result<(), RootfsError> {
        if self.facts.mount_ns {
            self.set_namespace_propagation()?;
        }
        let at = format!("root.path `{}`", self.root_path.display());
        let place = match kernel::open_path(&self.root_path, libc::O_DIRECTORY) {
            Err(Errno::EACCES) if self.facts.mount_ns => {
                kernel::open_path(Path::new("/"), libc::O_DIRECTORY)
            }
            place => place,
        };
        let place = place.map_err(RootfsError::sys(&at, "open the place of the root"))?;
        kernel::attach(self.root.as_fd(), place.as_fd())
            .map_err(RootfsError::sys(&at, "attach the root"))
    }

    fn set_namespace_propagation(&self) -> Result<(), RootfsError> {
        let at = "linux.rootfsPropagation";
        if let Some(flag) = self.propagation.of_namespace() {
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                flag | MsFlags::MS_REC,
                None::<&str>,
            )
            .map_err(RootfsError::sys(at, "set the propagation of `/`"))?;
        }
        if self.propagation.leaves_shared() {
            make_parent_private(&self.root_path).map_err(RootfsError::sys(
                at,
                "make the mount below the root private",
            ))?;
        }
        Ok(())
    }

    /// Makes all mounts, then devices and links in `/dev`, in the order of the specification.
    ///
    /// The process must be in its final cgroup already (cgroup v1 without a cgroup namespace shows
    /// the one it is in), and `/proc` must still be the host's.
    ///
    /// # Errors
    /// [`RootfsError`] at the mount or device that failed.
    pub fn mount_all(&mut self) -> Result<(), RootfsError> {
        let old = umask(Mode::empty());
        let done = self
            .attach_given()
            .and_then(|()| self.mount_each())
            .and_then(|()| self.make_devices());
        umask(old);
        done
    }

    fn mount_each(&mut self) -> Result<(), RootfsError> {
        for mount in std::mem::take(&mut self.mounts) {
            let PreparedMount { plan, source } = &mount;
            let made = match source {
                Source::Tree { fd, is_dir } => {
                    // Cloned once more where the kernel can (Linux 6.15), so that mountinfo keeps
                    // the order of the configuration.
                    let fresh = kernel::clone_fd(fd.as_fd(), Scope::Tree).ok();
                    let tree = fresh.as_ref().map_or(fd.as_fd(), AsFd::as_fd);
                    self.attach_tree(plan, tree, *is_dir)
                }
                Source::Place { fd, is_dir } => self
                    .clone_place(plan, fd.as_fd())
                    .and_then(|tree| self.attach_tree(plan, tree.as_fd(), *is_dir)),
                Source::Link(text) => self.make_link(plan, text),
                Source::New => self.mount_new(plan),
            };
            made?;
        }
        Ok(())
    }

    fn clone_place(
        &mut self,
        plan: &PlannedMount,
        place: BorrowedFd<'_>,
    ) -> Result<OwnedFd, RootfsError> {
        let scope = plan.options.bind.unwrap_or(Scope::Top);
        let tree =
            kernel::clone_fd(place, scope).map_err(RootfsError::sys(plan, "clone source"))?;
        let host = self.propagation.of_clones();
        change_source(plan, tree.as_fd(), host, &mut self.userns)?;
        Ok(tree)
    }

    fn attach_tree(
        &self,
        plan: &PlannedMount,
        fd: BorrowedFd<'_>,
        is_dir: bool,
    ) -> Result<(), RootfsError> {
        let want = if is_dir { Want::Dir } else { Want::File };
        let target = self.target(plan, want)?;
        match kernel::attach(fd, target.fd.as_fd()) {
            // The kernel's word for a directory on a file and the other way round.
            Err(Errno::EINVAL) if is_dir != self::is_dir(plan, target.fd.as_fd())? => {
                let what = "attach a directory on a file or a file on a directory";
                Err(RootfsError::sys(plan, what)(Errno::ENOTDIR))
            }
            done => done.map_err(RootfsError::sys(plan, "attach")),
        }
    }

    fn mount_new(&mut self, plan: &PlannedMount) -> Result<(), RootfsError> {
        if plan.kind == Kind::Remount {
            return self.remount(plan);
        }
        let target = self.target(plan, Want::Dir)?;
        let mount = match plan.kind {
            Kind::Cgroup1 => cgroups::mount_v1(self, plan, target.fd.as_fd())?,
            Kind::Cgroup2 => {
                let mount = cgroups::mount_unified(self, plan)?;
                attach_new(plan, mount, &target)?
            }
            _ => match newfs::make(self, plan, &target)? {
                Some(mount) => attach_new(plan, mount, &target)?,
                None => self.mount_by_path(plan, &target)?,
            },
        };
        set_own_propagation(plan, mount.as_fd())?;
        if plan.read_only_late() && plan.options.read_only() {
            self.read_only_late.push((plan.to_string(), mount));
        }
        Ok(())
    }

    /// mount(2), and a descriptor of what it made.
    fn mount_by_path(&self, plan: &PlannedMount, target: &Target) -> Result<OwnedFd, RootfsError> {
        newfs::mount_classic(self, plan, target, MsFlags::empty())?;
        resolve::open(self.root.as_fd(), &plan.destination, links(plan))
            .map_err(RootfsError::sys(plan, "open what was mounted"))
    }

    /// `remount`: attributes of a mount that is there, and options of its file system if there are
    /// any.
    fn remount(&self, plan: &PlannedMount) -> Result<(), RootfsError> {
        let fd = resolve::open(self.root.as_fd(), &plan.destination, links(plan))
            .map_err(RootfsError::sys(plan, "open the destination"))?;
        let options = &plan.options;
        let set = |scope, attrs: Attrs| {
            kernel::set_attrs(fd.as_fd(), scope, attrs, None, None)
                .map_err(RootfsError::sys(plan, "remount"))
        };
        set(Scope::Tree, options.tree)?;
        set(Scope::Top, options.top)?;
        set_own_propagation(plan, fd.as_fd())?;
        if options.data.is_empty() && options.super_flags.is_empty() {
            return Ok(());
        }
        let target = Target { fd, created: false };
        newfs::mount_classic(self, plan, &target, MsFlags::MS_REMOUNT)
    }

    /// Finds or makes the destination, and checks what lies there.
    fn target(&self, plan: &PlannedMount, want: Want) -> Result<Target, RootfsError> {
        let target =
            resolve::open_or_create(self.root.as_fd(), &plan.destination, want, links(plan))
                .map_err(|errno| refuse_links(plan, errno))?;
        self.check_target(plan, target.fd.as_fd())?;
        Ok(target)
    }

    /// What the text of the destination doesn't show: a link of the image into procfs.
    fn check_target(&self, plan: &PlannedMount, target: BorrowedFd<'_>) -> Result<(), RootfsError> {
        let stat = fstatfs(target).map_err(RootfsError::sys(plan, "statfs the destination"))?;
        let in_proc = stat.filesystem_type() == PROC_SUPER_MAGIC;
        let on_proc = lexical(&plan.destination) == Path::new("/proc");
        if in_proc && !on_proc && !may_cover_proc(&plan.destination) {
            return Err(RootfsError::refused(plan, "leads into /proc"));
        }
        if is_plain(plan) && !is_dir(plan, target)? {
            return Err(RootfsError::refused(
                plan,
                "must be mounted on an ordinary directory",
            ));
        }
        Ok(())
    }

    /// `copy-symlink`: the same link in the root. One that is there already must say the same.
    fn make_link(&self, plan: &PlannedMount, text: &Path) -> Result<(), RootfsError> {
        let failed = |what| RootfsError::sys(plan, what);
        let (dir, name) = resolve::parent_of(self.root.as_fd(), &plan.destination)
            .map_err(failed("open the parent of the destination"))?;
        self.check_target(plan, dir.as_fd())?;
        match symlinkat(text, Some(dir.as_raw_fd()), name) {
            Err(Errno::EEXIST) => {
                let there = readlinkat(Some(dir.as_raw_fd()), name);
                let same = there.is_ok_and(|there| Path::new(&there) == text);
                same.then_some(())
                    .ok_or_else(|| RootfsError::refused(plan, "something else is there already"))
            }
            made => made.map_err(failed("make the symbolic link")),
        }
    }
}

fn attach_new(
    plan: &PlannedMount,
    mount: OwnedFd,
    target: &Target,
) -> Result<OwnedFd, RootfsError> {
    kernel::attach(mount.as_fd(), target.fd.as_fd()).map_err(RootfsError::sys(plan, "attach"))?;
    Ok(mount)
}

fn set_own_propagation(plan: &PlannedMount, mount: BorrowedFd<'_>) -> Result<(), RootfsError> {
    for &(scope, flag) in &plan.options.propagation {
        kernel::set_propagation(mount, scope, flag)
            .map_err(RootfsError::sys(plan, "set the propagation"))?;
    }
    Ok(())
}

/// proc and sysfs through a link have been a way out (CVE-2019-19921, CVE-2023-27561,
/// CVE-2023-28642): what is masked by path would lie elsewhere.
fn is_plain(plan: &PlannedMount) -> bool {
    matches!(plan.kind, Kind::Proc | Kind::Sysfs)
}

fn is_dir(plan: &PlannedMount, target: BorrowedFd<'_>) -> Result<bool, RootfsError> {
    is_type(target, SFlag::S_IFDIR).map_err(RootfsError::sys(plan, "stat the destination"))
}

fn links(plan: &PlannedMount) -> Links {
    if is_plain(plan) {
        Links::Refuse
    } else if plan.options.destination_nofollow {
        Links::FollowParents
    } else {
        Links::Follow
    }
}

fn refuse_links(plan: &PlannedMount, errno: Errno) -> RootfsError {
    if is_plain(plan) && errno == Errno::ELOOP {
        RootfsError::refused(
            plan,
            "must be mounted on an ordinary directory, not through a symbolic link",
        )
    } else {
        RootfsError::sys(plan, "open the destination")(errno)
    }
}

/// Makes the mount that holds `path` private: the first ancestor that is the root of a mount.
fn make_parent_private(path: &Path) -> Result<(), Errno> {
    for ancestor in path.ancestors() {
        match kernel::open_path(ancestor, 0)
            .and_then(|fd| kernel::set_propagation(fd.as_fd(), Scope::Top, MsFlags::MS_PRIVATE))
        {
            // Not the root of a mount (mount_setattr(2)).
            Err(Errno::EINVAL) => {}
            done => return done,
        }
    }
    Err(Errno::EINVAL)
}
