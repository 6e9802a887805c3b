//! A way in for a program that isn't in the root file system: a small file system with the program,
//! a socket and a place for the root, attached in a root that is only there to be left again. The
//! program goes through into the real one and nothing of the other stays. It must not know what
//! the program does.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::syscall::linux as k;
use nix::errno::Errno;
use nix::mount::MsFlags;
use serde::{Deserialize, Serialize};

use super::error::RootfsError;
use super::kernel::{self, NewFs};
use super::options::{Attrs, Scope};
use super::pivot::pivot_to;
use super::prepare::Prepared;
use super::propagation::RootPropagation;
use super::resolve::{self, Links, Want};
use crate::sys::mounts::{How, openat2};

/// What it covers in the root to be left.
const COVERED: &str = "/dev";

/// The names in it.
const PROGRAM_NAME: &str = "init";
const SOCKET_NAME: &str = "sock";
const ROOT_NAME: &str = "root";

/// The real root's place, seen by the program.
const ROOT: &str = "/dev/root";

/// The program's path in the container.
pub const PROGRAM: &str = "/dev/init";

/// The socket's path in the container.
pub const SOCKET: &str = "/dev/sock";

/// The file system and the program, both detached.
#[derive(Debug)]
pub struct Hatch {
    tmpfs: OwnedFd,
    program: OwnedFd,
}

impl Hatch {
    /// Makes both, on the host's side, from a program of the host.
    ///
    /// # Errors
    /// [`RootfsError`] at the hatch.
    pub fn prepare(program: &Path) -> Result<Self, RootfsError> {
        let at = "hatch";
        let tmpfs = small_tmpfs().map_err(RootfsError::sys(at, "make a tmpfs"))?;
        let how = How {
            flags: libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY,
            mode: 0o755,
            ..How::default()
        };
        openat2(Some(tmpfs.as_fd()), Path::new(PROGRAM_NAME), how)
            .map_err(RootfsError::sys(at, "make a place for the program"))?;
        nix::sys::stat::mkdirat(
            Some(tmpfs.as_raw_fd()),
            ROOT_NAME,
            nix::sys::stat::Mode::S_IRWXU,
        )
        .map_err(RootfsError::sys(at, "make a place for the root"))?;
        let program = clone_program(program).map_err(RootfsError::sys(
            at,
            format_args!("clone `{}`", program.display()),
        ))?;
        Ok(Self { tmpfs, program })
    }

    /// Where to bind the socket, for this process.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{SOCKET_NAME}",
            self.tmpfs.as_raw_fd()
        ))
    }

    /// Attaches it in the root to be left; on the container's side.
    ///
    /// # Errors
    /// [`RootfsError`] at the hatch.
    pub fn attach(&self, left: &Path) -> Result<(), RootfsError> {
        let failed = |what| RootfsError::sys("hatch", what);
        let left = kernel::open_path(left, libc::O_DIRECTORY).map_err(failed("open its root"))?;
        let place =
            resolve::open_or_create(left.as_fd(), Path::new(COVERED), Want::Dir, Links::Refuse)
                .map_err(failed("open `/dev`"))?;
        kernel::attach(self.tmpfs.as_fd(), place.fd.as_fd()).map_err(failed("cover `/dev`"))?;
        let how = How {
            flags: libc::O_PATH,
            ..How::default()
        };
        let file = openat2(Some(self.tmpfs.as_fd()), Path::new(PROGRAM_NAME), how)
            .map_err(failed("open the program's place"))?;
        kernel::attach(self.program.as_fd(), file.as_fd()).map_err(failed("attach the program"))
    }

    /// Goes through: the real root becomes the root, and everything else is gone. To be called by
    /// the program, with what [`Prepared::detach`] gave.
    ///
    /// # Errors
    /// [`RootfsError`] at the hatch.
    pub fn pass(root: BorrowedFd<'_>, late: Late) -> Result<(), RootfsError> {
        let failed = |what| RootfsError::sys("hatch", what);
        // pivot_root(2) refuses a root in a shared mount.
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .map_err(failed("make mounts private"))?;
        let place = kernel::open_path(Path::new(ROOT), libc::O_DIRECTORY)
            .map_err(failed("open the root's place"))?;
        kernel::attach(root, place.as_fd()).map_err(failed("attach the root"))?;
        pivot_to(root).map_err(failed("pivot to the root"))?;
        nix::unistd::chdir("/").map_err(failed("change to the root"))?;
        let Some((scope, flag)) = late.0 else {
            return Ok(());
        };
        kernel::set_propagation(root, scope, MsFlags::from_bits_retain(flag)).map_err(
            RootfsError::sys("linux.rootfsPropagation", "set the propagation of the root"),
        )
    }
}

/// What can be done to the root only by the one who goes through: a shared mount can't become the
/// root (pivot_root(2)).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Late(Option<(Scope, u64)>);

impl Prepared {
    /// The finished root with all its mounts as a detached tree, which no change of the mounts
    /// around it reaches.
    ///
    /// # Errors
    /// [`RootfsError`] at `root.path`.
    pub fn detach(&self) -> Result<OwnedFd, RootfsError> {
        kernel::clone_fd(self.root.as_fd(), Scope::Tree).map_err(RootfsError::sys(
            format_args!("root.path `{}`", self.root_path.display()),
            "detach the finished root",
        ))
    }

    /// Leaves the root's own propagation to [`Hatch::pass`].
    pub fn take_late(&mut self) -> Late {
        let flag = self.propagation.of_root();
        self.propagation = RootPropagation::default();
        Late(flag.map(|(scope, flag)| (scope, flag.bits())))
    }
}

fn small_tmpfs() -> Result<OwnedFd, Errno> {
    let fs = NewFs::open("tmpfs")?;
    fs.set("source", "pxrun")?;
    fs.set("mode", "0755")?;
    // Its own directory, the three names, and a few that others may add to /dev.
    fs.set("nr_inodes", "16")?;
    fs.set("nr_blocks", "4")?;
    fs.mount(k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV)
}

/// The one file, not to be written through, and executable wherever it lies.
fn clone_program(program: &Path) -> Result<OwnedFd, Errno> {
    let clone = kernel::clone_path(program, Scope::Top, false)?;
    let attrs = Attrs {
        set: k::MOUNT_ATTR_RDONLY | k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV,
        clear: k::MOUNT_ATTR_NOEXEC,
    };
    kernel::set_attrs(
        clone.as_fd(),
        Scope::Top,
        attrs,
        Some(MsFlags::MS_PRIVATE),
        None,
    )?;
    Ok(clone)
}
