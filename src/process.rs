//! Everything between "the sandbox stands" and `execve`, for init, `exec` and the stub of LXC alike.
//! It must not know who forked, nor touch mounts, namespaces and cgroups.

mod capabilities;
mod environment;
mod error;
mod executable;
mod identity;
mod keyring;
mod label;
mod limits;
mod passwd;
mod priority;
mod procfs;
mod ready;
mod setup;
#[cfg(test)]
mod trials;
mod warned;

pub use environment::{Environment, listen_fds};
pub use error::{ProcessError, Reason};
pub use label::Lsm;
pub use ready::Ready;
pub use setup::{Options, Setup};
pub use warned::{WARNED, Warned};
