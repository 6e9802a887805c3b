//! Who starts and removes an LXC container. Must not know the bundle: it gets a configuration and
//! starts it; how the container is built, `create` and the mount hook know.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::Pid;
use serde_json::Value;

use super::lines::Lines;
use super::own::Own;
use super::place::{BASE, Place};
use super::translate::Root;
use crate::backend::linux::{self, channel};
use crate::rootfs::Given;
use crate::state::ProcessId;
use crate::sys::clone::{CloneArgs, Cloned, clone3, exit_now};
use crate::sys::process::{Image, reset_signals};

/// What a launcher is told.
pub struct Guest<'a> {
    /// The container's name for LXC.
    pub name: &'a str,
    /// Its directory, which exists.
    pub place: &'a Place,
    /// Everything but the root.
    pub lines: &'a Lines,
    /// The bundle's root, to be shown to people: the container gets it without LXC.
    pub bundle_root: &'a Path,
}

/// A start under way.
pub trait Launched {
    /// Readable once the start has ended: only then [`Launched::failure`] tells.
    fn ended(&self) -> BorrowedFd<'_>;
    /// Why it ended without a container; `None` if ending was in order.
    fn failure(&mut self) -> Option<anyhow::Error>;
    /// LXC's monitor if that is known already.
    fn monitor(&self) -> Option<ProcessId>;
    /// What the record has to keep for [`Launcher::remove`].
    fn own(&self) -> Value;
}

/// Starts and removes containers.
pub trait Launcher {
    /// The root's lines of the configuration; `None` where the launcher writes them elsewhere.
    fn root<'a>(&self, path: &'a str, mount: &'a str) -> Option<Root<'a>>;
    /// What of the root that LXC mounts goes into the container; the bundle's directory is it
    /// otherwise.
    fn given(&self) -> Given {
        Given::default()
    }
    /// Starts the container; returns as soon as the start is under way.
    fn starts(&self, guest: &Guest<'_>) -> anyhow::Result<Box<dyn Launched>>;
    /// Whether more is done at the container's end than [`Launcher::remove`] does, by LXC's monitor
    /// or whoever waits for it: then it is given the time.
    fn tidies_up(&self) -> bool {
        true
    }
    /// Removes what [`Launcher::starts`] has made, once nothing runs. Works on half-made ones.
    fn remove(&self, own: &Own) -> anyhow::Result<()>;
}

/// `lxc-start` as a child of ours.
pub struct LxcStart;

/// Where LXC's programs are.
const PROGRAMS: [&str; 2] = ["/usr/bin/lxc-start", "/usr/local/bin/lxc-start"];

/// Without `newuidmap`, which would make LXC insist on ranges in /etc/subuid for root: root writes
/// any mapping itself. LXC and the hook's shell need nothing else of it.
const NO_PATH: &CStr = c"PATH=/nonexistent";

impl Launcher for LxcStart {
    fn root<'a>(&self, path: &'a str, mount: &'a str) -> Option<Root<'a>> {
        Some(Root { path, mount })
    }

    fn starts(&self, guest: &Guest<'_>) -> anyhow::Result<Box<dyn Launched>> {
        let config = guest.place.config();
        crate::state::write_atomically(&config, guest.lines.to_string().as_bytes(), 0o600)
            .with_context(|| format!("write `{}`", config.display()))?;
        let (child, pidfd) = spawn(guest)?;
        Ok(Box::new(Started {
            child,
            pidfd,
            log: guest.place.log(),
            monitor: ProcessId::of(child.as_raw()),
        }))
    }

    fn tidies_up(&self) -> bool {
        false
    }

    fn remove(&self, own: &Own) -> anyhow::Result<()> {
        if own.name.is_empty() {
            return Ok(());
        }
        Place::of(&own.name).remove()
    }
}

fn program() -> anyhow::Result<&'static str> {
    PROGRAMS
        .into_iter()
        .find(|path| Path::new(path).exists())
        .context("LXC is not installed: `/usr/bin/lxc-start` is missing")
}

/// Starts it; returns once its execve has succeeded.
fn spawn(guest: &Guest<'_>) -> anyhow::Result<(Pid, OwnedFd)> {
    let image = image(guest)?;
    let (ours, theirs) = channel::pair()?;
    match clone3(CloneArgs::default()).context("make process for lxc-start")? {
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            ours.await_close().context("start lxc-start")?;
            Ok((pid, pidfd))
        }
        Cloned::Child => {
            drop(ours);
            let error = match stand_alone() {
                Ok(()) => anyhow::Error::from(image.exec()).context("execute lxc-start"),
                Err(error) => error,
            };
            theirs.fail(&crate::error::one_line(&error));
            exit_now(1)
        }
    }
}

fn image(guest: &Guest<'_>) -> anyhow::Result<Image> {
    let program = CString::new(program()?)?;
    let config = CString::new(guest.place.config().into_os_string().into_vec())?;
    let words = [c"-F", c"-n"].map(CString::from);
    let mut argv = vec![program.clone()];
    argv.extend(words);
    argv.extend([CString::new(guest.name)?, c"-P".into(), CString::new(BASE)?]);
    argv.extend([c"-f".into(), config]);
    Ok(Image::new(program, argv, vec![NO_PATH.into()]))
}

/// In the child: a session of its own, nobody's stdio, and nothing of the caller's.
fn stand_alone() -> anyhow::Result<()> {
    reset_signals();
    nix::unistd::setsid()?;
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .context("open `/dev/null`")?;
    for number in 0..3 {
        nix::unistd::dup2(null.as_raw_fd(), number)?;
    }
    crate::sys::fd::close_on_exec_from(3)?;
    Ok(nix::unistd::chdir("/")?)
}

/// The child.
struct Started {
    child: Pid,
    pidfd: OwnedFd,
    log: PathBuf,
    monitor: Option<ProcessId>,
}

impl Launched for Started {
    fn ended(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn failure(&mut self) -> Option<anyhow::Error> {
        let status = linux::spawn::reap(self.child);
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        tracing::debug!("lxc-start: {status:?}\n{log}");
        Some(anyhow::anyhow!(
            "LXC can't start the container: {}",
            words(&log)
        ))
    }

    fn monitor(&self) -> Option<ProcessId> {
        self.monitor
    }

    fn own(&self) -> Value {
        Value::Null
    }
}

/// The first error of LXC's log in words that no caller takes for something else.
pub fn words(log: &str) -> String {
    let first = log.lines().find(|line| line.contains(" ERROR "));
    // `lxc-start NAME TIME ERROR    conf - ../src/lxc/conf.c:function:NUMBER - text`
    let text = first.and_then(|line| line.split(" - ").nth(2).or(Some(line)));
    let Some(text) = text else {
        return "it ended without a word".to_owned();
    };
    let rest = first.and_then(|line| line.splitn(4, " - ").nth(3));
    let whole = rest.map_or(text.to_owned(), |rest| format!("{text}: {rest}"));
    // What callers match in texts about the user's program.
    [
        ("No such file or directory", "ENOENT"),
        ("Permission denied", "EACCES"),
        ("Operation not permitted", "EPERM"),
        ("not found", "missing"),
        ("does not exist", "is missing"),
    ]
    .iter()
    .fold(whole, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_lxc_are_not_taken_for_others() {
        let log = "lxc-start c 20260101 WARN     x - ../src/x.c:f:1 - hm\n\
                   lxc-start c 20260101 ERROR    conf - ../src/lxc/conf.c:f:12 - No such file or directory - Failed to mount\n\
                   lxc-start c 20260101 ERROR    start - ../src/lxc/start.c:g:13 - later\n";
        assert_eq!(words(log), "ENOENT: Failed to mount");
        assert_eq!(words(""), "it ended without a word");
        let short = "lxc-start c 1 ERROR    conf - ../src/lxc/conf.c:f:12 - Failed";
        assert_eq!(words(short), "Failed");
    }
}
