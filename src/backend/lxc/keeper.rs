//! The process that callers are told of. It lies where the container lies, lives as long, passes on
//! what is sent to it and ends as the container ended; its caller's subreaper adopts it. Sleeps
//! otherwise: no timers, no threads. Must not touch the container's files.

mod exit;
mod watcher;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::wire::Watch;
use crate::backend::linux::channel::{End, Go, Report};
use crate::backend::linux::exec::different_namespaces;
use crate::backend::linux::spawn::{Spawned, clone_through};
use crate::backend::linux::stand_in;
use crate::cgroup::{Cgroup, pass};
use crate::state::{ProcessId, may_go_on};
use crate::sys::clone::{Cloned, exit_now, pidfd_send_signal, setns};
use crate::sys::memory::{Clean, trim_heap};
use crate::sys::pidfd::end_like;
use crate::sys::process::{Image, keep_capabilities};
use exit::Exit;
use watcher::Watcher;

/// The first argument of the program that is executed once more as a keeper.
pub const WORD: &str = stand_in::KEEPER;

/// Where the executed keeper finds its end of the conversation.
const CHANNEL: i32 = 3;

/// The namespaces that callers look for at the keeper. Not the pid namespace, whose end would be
/// the keeper's, and not the user namespace, which would take its rights.
const JOINED: i32 = libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWTIME
    | libc::CLONE_NEWNS;

/// Ends when the container's end can't be told.
const UNKNOWN: i32 = 255 << 8;

/// A keeper that isn't told yet that it is needed: should its maker end before, it ends the
/// container and itself.
pub struct Made {
    /// The process.
    pub spawned: Spawned,
    /// The conversation with it.
    pub channel: End,
}

impl Made {
    /// Waits until it is in its place.
    pub fn settled(&self) -> anyhow::Result<()> {
        match self.channel.await_report().context("keeper")? {
            Report::Ready => Ok(()),
            other => anyhow::bail!("keeper sent an unexpected message: {other:?}"),
        }
    }
}

/// Makes a keeper of `init`, which goes to its place by itself meanwhile.
pub fn make(
    init: ProcessId,
    pidfd: BorrowedFd<'_>,
    cgroup: &Cgroup,
    waiting: &File,
) -> anyhow::Result<Made> {
    let (ours, theirs) = crate::backend::linux::channel::pair()?;
    let image = image(init)?;
    let mut gate = cgroup.gate(false)?;
    let (back_into, back) = cgroup.gate_back()?;
    let spawned = match clone_through(cgroup.into_fd()?, &mut gate).context("make keeper")? {
        Cloned::Parent { pid, pidfd } => Spawned { pid, pidfd },
        Cloned::Child => {
            let moved = nix::unistd::dup2(theirs.as_fd().as_raw_fd(), CHANNEL)
                .and_then(|_| crate::sys::fd::close_on_exec_from(3))
                .and_then(|()| crate::sys::fd::keep_on_exec(CHANNEL));
            if moved.is_ok() {
                theirs.fail(&format!("execute keeper: {}", image.exec()));
            }
            exit_now(1)
        }
    };
    drop(theirs);
    let made = Made {
        spawned,
        channel: ours,
    };
    let (gate, back) = (gate.into_files(), back.into_files());
    let watch = Watch {
        init,
        cgroup: cgroup.clone(),
        doors: gate.len(),
        back_into: back_into.is_some(),
        events: std::env::var_os("PXRUN_EXIT_EVENTS").is_some(),
    };
    let mut descriptors = vec![pidfd, waiting.as_fd()];
    descriptors.extend(gate.iter().chain(&back).map(AsFd::as_fd));
    descriptors.extend(back_into.as_ref().map(AsFd::as_fd));
    made.channel.send_with(&watch, &descriptors)?;
    Ok(made)
}

/// The same program, small again: what `create` had in memory is gone. The arguments say whom it
/// keeps, see [`stand_in`].
fn image(init: ProcessId) -> anyhow::Result<Image> {
    let text = |text: String| std::ffi::CString::new(text);
    let argv = vec![
        c"pxrun".into(),
        text(WORD.to_owned())?,
        text(init.pid.to_string())?,
        text(init.start_time.to_string())?,
    ];
    Ok(Image::new(c"/proc/self/exe".into(), argv, Vec::new()))
}

/// The executed keeper; never comes back.
pub fn run() -> i32 {
    let channel = End::from(crate::sys::fd::adopt(CHANNEL));
    match Keeper::settle(&channel) {
        Ok((keeper, waiting)) => keeper.keep(channel, &waiting),
        Err(error) => {
            channel.fail(&crate::error::one_line(&error));
            1
        }
    }
}

struct Keeper {
    pidfd: OwnedFd,
    signals: SignalFd,
    exit: Exit,
    watcher: Watcher,
    back: Vec<File>,
    unneeded: Clean,
}

impl Keeper {
    /// Beside the keeper comes the file that says, when its maker is gone, whether it had done all.
    fn settle(channel: &End) -> anyhow::Result<(Keeper, File)> {
        let (watch, descriptors) = channel
            .receive_with::<Watch>()?
            .context("the command gave up")?;
        let mut descriptors = descriptors.into_iter();
        let (Some(pidfd), Some(waiting)) = (descriptors.next(), descriptors.next()) else {
            anyhow::bail!("a descriptor is missing");
        };
        let back_into = match watch.back_into {
            true => descriptors.next_back(),
            false => None,
        };
        let mut gate: Vec<File> = descriptors.map(File::from).collect();
        let back = gate.split_off(watch.doors.min(gate.len()));
        stand_alone()?;
        let exit = Exit::of(&watch)?;
        let signals = block_signals()?;
        let watcher = Watcher::new(&watch.cgroup, watch.init.pid)?;
        let mut keeper = Keeper {
            pidfd,
            signals,
            exit,
            watcher,
            back,
            unneeded: Clean::default(),
        };
        keeper
            .watcher
            .start(keeper.pidfd.as_fd(), &keeper.back, back_into)?;
        let namespaces = different_namespaces(watch.init.pid)? & JOINED;
        if namespaces != 0 {
            setns(keeper.pidfd.as_fd(), namespaces).context("join container's namespaces")?;
        }
        nix::unistd::chdir("/")?;
        if !pass(&gate) {
            anyhow::bail!("enter the container's cgroup");
        }
        give_up_rights()?;
        channel.send(&Report::Ready)?;
        // Nobody waits for this any more.
        drop((watch.cgroup, gate));
        keeper.unneeded = Clean::find();
        Ok((keeper, File::from(waiting)))
    }

    /// Sleeps until something comes. `maker` is watched until it says that the container stays.
    fn keep(mut self, maker: End, waiting: &File) -> i32 {
        let mut maker = Some(maker);
        let mut ending = false;
        loop {
            let Ok([init, signal, told]) = self.wait(maker.as_ref(), ending) else {
                continue;
            };
            if told {
                match maker.take().map(|maker| maker.receive::<Go>()) {
                    Some(Ok(Some(_))) | None => {}
                    // Killed between the last thing that it had to do and its last word.
                    Some(_) if may_go_on(waiting) => {}
                    Some(_) => self.end_container(),
                }
            }
            if signal {
                self.pass_on();
            }
            if init && !ending {
                // LXC can remove the cgroup only once this process has left.
                ending = true;
                pass(&self.back);
            }
            if ending && let Some(status) = self.exit.status(self.pidfd.as_fd()) {
                self.watcher.stop();
                end_like(status.unwrap_or(UNKNOWN));
            }
        }
    }

    /// Which of them has something: the container's end, a signal, the maker's word. When the end
    /// is near, only its last step wakes: that the process is reaped.
    fn wait(&self, maker: Option<&End>, ending: bool) -> Result<[bool; 3], Errno> {
        let awaited = match ending {
            true => PollFlags::empty(),
            false => PollFlags::POLLIN,
        };
        let maker = maker.map_or(self.signals.as_fd(), AsFd::as_fd);
        let mut fds = [
            PollFd::new(self.pidfd.as_fd(), awaited),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(maker, PollFlags::POLLIN),
        ];
        trim_heap();
        self.unneeded.give_back();
        poll(&mut fds, PollTimeout::NONE)?;
        let [init, signal, told] = fds.map(|fd| fd.any().unwrap_or(false));
        let is_maker = maker.as_raw_fd() != self.signals.as_raw_fd();
        Ok([init, signal, told && is_maker])
    }

    /// What was sent to this process is meant for the container.
    fn pass_on(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = info.ssi_signo.cast_signed();
            if number == libc::SIGCHLD {
                // A watcher that was killed gets a successor.
                let _ = self.watcher.renew(self.pidfd.as_fd(), &self.back);
                continue;
            }
            let _ = pidfd_send_signal(self.pidfd.as_fd(), number);
        }
    }

    /// The maker is gone, so nobody knows of the container.
    fn end_container(&self) {
        let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        pass(&self.back);
        self.watcher.end_container();
    }
}

/// A session of its own, nobody's stdio, and the last to be chosen when memory runs out.
fn stand_alone() -> anyhow::Result<()> {
    nix::unistd::setsid()?;
    nix::sys::prctl::set_name(c"pxrun-keeper")?;
    nix::sys::prctl::set_dumpable(false)?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .context("open `/dev/null`")?;
    for number in 0..3 {
        nix::unistd::dup2(null.as_raw_fd(), number)?;
    }
    // Lowering it takes CAP_SYS_RESOURCE, which root may lack in a container.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    Ok(())
}

/// What a keeper or watcher needs for the rest of its life: to signal processes of other users.
/// Every file that it writes to was opened before, or belongs to root.
fn give_up_rights() -> anyhow::Result<()> {
    /// linux/capability.h
    const CAP_KILL: u32 = 5;
    nix::sys::prctl::set_no_new_privs().context("set no_new_privs")?;
    keep_capabilities(1 << CAP_KILL).context("give up capabilities")
}

fn block_signals() -> anyhow::Result<SignalFd> {
    let all = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None).context("block signals")?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&all, flags).context("make signal descriptor")
}

/// Whether `pid` is a child of this process that has ended; it is reaped then.
fn has_ended(pid: Pid) -> bool {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    !matches!(
        waitpid(pid, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::StillAlive)
    )
}
