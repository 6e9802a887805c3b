//! The container's first process before it is the user's: LXC executes it in a root of no use. It
//! is told over a socket what to become, goes through into the real root, and on the way that every
//! first process goes. Runs inside of a stranger's root: must not open anything there by itself.

use std::convert::Infallible;
use std::fs::File;
use std::io::Seek;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::Context;
use nix::fcntl::{FcntlArg, fcntl};

use super::wire::{Hello, Job, Task, knock};
use crate::backend::linux::channel::End;
use crate::backend::linux::waiting::Waiting;
use crate::console;
use crate::process::{Options, Setup};
use crate::rootfs::{Hatch, SOCKET};
use crate::seccomp::notify::Listener;

/// Runs to the execve, or reports why not and returns an exit code.
pub fn run() -> i32 {
    // Other processes of a shared pid namespace must not look into this one (CVE-2016-9962).
    if nix::sys::prctl::set_dumpable(false).is_err() {
        return 1;
    }
    let Ok(channel) = knock(Path::new(SOCKET)) else {
        return 1;
    };
    let copy = channel.as_fd().try_clone_to_owned();
    let Err(error) = become_process(channel);
    if let Ok(copy) = copy {
        End::from(copy).fail(&crate::error::one_line(&error));
    }
    1
}

/// The descriptors that come with every job, in their order.
struct Fixed {
    stdio: [OwnedFd; 3],
    root: OwnedFd,
    listener: OwnedFd,
    /// Held until execve closes it: that is how `state` tells created from running.
    waiting: OwnedFd,
    task: OwnedFd,
}

fn become_process(channel: End) -> anyhow::Result<Infallible> {
    channel.send(&Hello {
        root: String::new(),
    })?;
    let (job, mut descriptors) = channel
        .receive_with::<Job>()?
        .context("the command gave up")?;
    let mut next = || {
        let first = (!descriptors.is_empty()).then(|| descriptors.remove(0));
        first.context("a descriptor is missing")
    };
    let fixed = Fixed {
        stdio: [next()?, next()?, next()?],
        root: next()?,
        listener: next()?,
        waiting: next()?,
        task: next()?,
    };
    let agent = job.agent.then(&mut next).transpose()?;
    let kept = collect_kept(&channel, job.kept, descriptors)?;
    Hatch::pass(fixed.root.as_fd(), job.late)?;
    take_up(channel, fixed, agent, kept)
}

/// The caller's own descriptors, which may need more than one message.
fn collect_kept(channel: &End, count: u32, mut kept: Vec<OwnedFd>) -> anyhow::Result<Vec<OwnedFd>> {
    while kept.len() < count as usize {
        let (_, more) = channel
            .receive_with::<()>()?
            .context("the command gave up")?;
        kept.extend(more);
    }
    Ok(kept)
}

fn take_up(
    channel: End,
    fixed: Fixed,
    agent: Option<OwnedFd>,
    kept: Vec<OwnedFd>,
) -> anyhow::Result<Infallible> {
    // The container's `cwd` and `args` must not be able to name it.
    drop(fixed.root);
    let mut file = File::from(fixed.task);
    file.rewind()?;
    let task: Task = serde_json::from_reader(std::io::BufReader::new(file))?;
    let floor = 3 + i32::try_from(kept.len())?;
    let channel = End::from(above(floor, channel.as_fd().try_clone_to_owned()?)?);
    let listener = above(floor, fixed.listener)?;
    // Until execve: the lock's descriptor may lie below the floor, where it would be closed.
    let lock = above(floor, fixed.waiting)?;
    let agent = agent.map(|fd| above(floor, fd)).transpose()?;
    let stdio = fixed.stdio.map(|fd| above(floor, fd));
    let stdio: Vec<OwnedFd> = stdio.into_iter().collect::<Result<_, _>>()?;
    let kept: Vec<OwnedFd> = kept
        .into_iter()
        .map(|fd| above(floor, fd))
        .collect::<Result<_, _>>()?;
    for (number, fd) in (3..).zip(&kept) {
        nix::unistd::dup2(fd.as_raw_fd(), number)?;
    }
    own_session()?;
    if task.terminal {
        console::become_stdio(&stdio[0])?;
    } else {
        for (number, fd) in (0..).zip(&stdio) {
            nix::unistd::dup2(fd.as_raw_fd(), number)?;
        }
    }
    drop((stdio, kept));
    wait(channel, UnixListener::from(listener), lock, agent, task)
}

fn wait(
    channel: End,
    listener: UnixListener,
    lock: OwnedFd,
    agent: Option<OwnedFd>,
    task: Task,
) -> anyhow::Result<Infallible> {
    let process = task.spec.process().as_ref().context("process: missing")?;
    console::give_stdio_to(process.user().uid());
    let agent = agent.map(|fd| {
        let name = task.agent.clone().unwrap_or_default();
        Listener::connected(UnixStream::from(fd), name)
    });
    let options = Options {
        init: true,
        userns: task.userns,
        no_new_keyring: task.no_new_keyring,
        preserve_fds: task.preserve_fds,
        listen_fds: task.listen_fds,
        id: task.id.clone(),
        lsm: task.lsm,
        seccomp: task.program.clone(),
        listener: agent,
    };
    let linux = task.spec.linux().as_ref();
    let setup = Setup::new(process, &task.process, linux, options)?;
    let waiting = Waiting {
        spec: &task.spec,
        setup: &setup,
        state: task.state.clone(),
        pid: task.pid,
        channel,
        listener,
        lock: File::from(lock),
    };
    waiting.run()
}

/// Moves a descriptor to `floor` or above, close-on-exec.
fn above(floor: i32, fd: OwnedFd) -> anyhow::Result<OwnedFd> {
    let copy = fcntl(fd.as_raw_fd(), FcntlArg::F_DUPFD_CLOEXEC(floor))?;
    Ok(crate::sys::fd::adopt(copy))
}

/// LXC may have made the session already, and a leader can't make another one.
fn own_session() -> anyhow::Result<()> {
    let own = nix::unistd::getpid();
    if nix::unistd::getsid(None)? != own {
        nix::unistd::setsid()?;
    }
    Ok(())
}
