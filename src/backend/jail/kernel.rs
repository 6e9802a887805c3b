//! The steps into a jail as FreeBSD's calls. Never run on a real one. It must not choose their order.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::enter::{Kernel, Step, programs};
use crate::sys::jail;

/// The kernel that this process runs on.
pub struct Own {
    /// The other end of the container's terminal.
    pub terminal: Option<OwnedFd>,
}

impl Kernel for Own {
    fn step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Session => jail::new_session(),
            Step::Terminal => match &self.terminal {
                Some(terminal) => jail::take_terminal(terminal.as_fd()),
                None => Err(io::Error::other("there is none")),
            },
            Step::Limit(name, soft, hard) => jail::limit(name, *soft, *hard),
            Step::Attach(jid) => jail::attach(*jid),
            Step::Directory(path) => std::env::set_current_dir(path),
            Step::Groups(groups) => jail::set_groups(groups),
            Step::Group(id) => jail::set_group(*id),
            Step::Mask(mask) => {
                jail::set_mask(*mask);
                Ok(())
            }
            Step::User(id) => jail::set_user(*id),
            Step::Execute { args, env } => {
                let paths = texts(&programs(args, env))?;
                Err(jail::execute(&paths, &texts(args)?, &texts(env)?))
            }
        }
    }
}

fn texts(list: &[String]) -> io::Result<Vec<CString>> {
    let text = |text: &String| CString::new(text.as_str()).map_err(io::Error::other);
    list.iter().map(text).collect()
}
