//! `/dev/console`: the container's terminal under its well-known name.
//! It must not know who opened the terminal.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::error::RootfsError;
use super::kernel;
use super::options::Scope;
use super::prepare::Prepared;
use super::resolve::{self, Links, Want};

const CONSOLE: &str = "/dev/console";

impl Prepared {
    /// Binds a terminal's slave to `/dev/console`. To be called in the container's root.
    ///
    /// # Errors
    /// [`RootfsError`] at `/dev/console`; a link in its place is refused, not followed.
    pub fn bind_console(&self, slave: BorrowedFd<'_>) -> Result<(), RootfsError> {
        let failed = |what| RootfsError::sys(CONSOLE, what);
        let root = kernel::open_path(Path::new("/"), nix::libc::O_DIRECTORY)
            .map_err(failed("open the root"))?;
        let target =
            resolve::open_or_create(root.as_fd(), Path::new(CONSOLE), Want::File, Links::Refuse)
                .map_err(failed("open"))?;
        let terminal = kernel::clone_fd(slave, Scope::Top).map_err(failed("clone the terminal"))?;
        kernel::attach(terminal.as_fd(), target.fd.as_fd()).map_err(failed("attach the terminal"))
    }
}
