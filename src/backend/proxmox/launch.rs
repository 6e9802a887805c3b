//! The engine's launcher on a Proxmox node: writes what LXC is to do into the guest's files, has
//! Proxmox start it, and removes it in the end. Must not know the bundle.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde_json::Value;

use super::guest::{Guest, GuestError};
use super::kept::Kept;
use super::translate::{Marker, Plan};
use super::volume::{self, Made};
use super::{pct, root};
use crate::backend::lxc::launch::{Launched, Launcher, words};
use crate::backend::lxc::lines::Lines;
use crate::backend::lxc::own::Own;
use crate::backend::lxc::place::Place;
use crate::backend::lxc::translate::Root;
use crate::rootfs::Given;
use crate::state::ProcessId;

/// One container's launcher. The default one can only remove.
#[derive(Default)]
pub struct Node {
    job: Option<Job>,
    start: Arc<Mutex<Option<Start>>>,
}

/// What is to be started.
struct Job {
    plan: Plan,
    made: Made,
}

/// A running `pct start`.
type Start = std::thread::JoinHandle<Result<(), GuestError>>;

impl Node {
    /// For a container that has its number.
    pub fn new(plan: Plan, made: Made) -> Node {
        Node {
            job: Some(Job { plan, made }),
            start: Arc::default(),
        }
    }

    /// Waits for `pct start` to be done: until then it holds the guest's configuration.
    pub fn finish(&self) -> Result<(), GuestError> {
        finish(&self.start)
    }
}

fn finish(start: &Mutex<Option<Start>>) -> Result<(), GuestError> {
    let taken = start.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.map_or(Ok(()), |start| start.join().unwrap_or(Ok(())))
}

impl Launcher for Node {
    fn root<'a>(&self, _path: &'a str, _mount: &'a str) -> Option<Root<'a>> {
        // `rootfs` in the guest's configuration says it, and Proxmox's hook mounts it.
        None
    }

    fn given(&self) -> Given {
        let Some(job) = &self.job else {
            return Given::default();
        };
        Given {
            root: !job.made.volumes.is_empty(),
            mounts: job.plan.mount_points(),
            like: job.made.like.clone(),
        }
    }

    fn starts(
        &self,
        told: &crate::backend::lxc::launch::Guest<'_>,
    ) -> anyhow::Result<Box<dyn Launched>> {
        let job = self.job.as_ref().context("nothing is to be started")?;
        let lines = pairs(told.lines, &job.plan);
        let include = include(&job.made.guest, told.name);
        write_include(&include, &job.plan.included(&lines))?;
        // The container gets its root without LXC; this one is for people, and for Proxmox's hook,
        // which insists on a directory.
        let empty = told.place.root();
        let shown = job.made.volumes.is_empty()
            && root::is_visible(told.bundle_root, job.made.guest.settings.host_pid);
        let at = if shown { told.bundle_root } else { &empty };
        let mut conf = job.plan.conf(&lines, at, &include)?;
        for (option, value) in &job.made.volumes {
            conf.set(option, value);
        }
        job.made.guest.replace(&conf)?;
        let kept = Kept::Guest {
            guest: Box::new(job.made.guest.clone()),
        };
        let (done, end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let guest = job.made.guest.clone();
        let thread = std::thread::spawn(move || {
            let outcome = guest.start();
            drop(end);
            outcome
        });
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Box::new(Starting {
            start: Arc::clone(&self.start),
            done,
            log: told.place.log(),
            kept: kept.value(),
        }))
    }

    fn remove(&self, own: &Own) -> anyhow::Result<()> {
        match Kept::from_own(own) {
            Some(Kept::Guest { guest }) => {
                guest.destroy()?;
                remove_include(&include(&guest, &own.name));
            }
            Some(Kept::Making { guest, work }) => volume::abandon(&guest, &work)?,
            Some(Kept::Claiming {
                id,
                root,
                settings,
                work,
            }) => {
                if let Some(work) = work {
                    volume::remove_work(&work)?;
                }
                let marker = Marker { id, root };
                if let Some(guest) = Guest::find(&settings, &marker)? {
                    guest.destroy()?;
                }
            }
            None => {}
        }
        match own.name.is_empty() {
            true => Ok(()),
            false => Place::of(&own.name).remove(),
        }
    }
}

/// The engine's lines, without its idea of a network where Proxmox makes one, and of how hooks are
/// told what they are: Proxmox's own know LXC's first way, by arguments, and ours needs neither.
fn pairs(lines: &Lines, plan: &Plan) -> Vec<(String, String)> {
    let nets = plan.has_network();
    let kept = lines
        .iter()
        .filter(|(key, _)| !(nets && key.starts_with("lxc.net.")) && *key != "lxc.hook.version");
    kept.chain([COVER])
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// LXC makes links in its root's `/dev`, which here is the bundle's or the guest's own: they go
/// into a file system that is left behind with LXC's view of the root.
const COVER: (&str, &str) = (
    "lxc.mount.entry",
    "none dev tmpfs size=64k,mode=755,create=dir 0 0",
);

/// The file that the guest includes. It outlives a reboot: a guest whose file is missing can't
/// even be looked at. Its name has the container's own for LXC, as the number may come to another
/// guest before the file is gone.
fn include(guest: &Guest, name: &str) -> PathBuf {
    let file = format!("{}.{name}.conf", guest.vmid);
    guest.settings.keep_dir.join("guests").join(file)
}

fn write_include(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let dir = path.parent().context("keep_dir is no directory")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("make `{}`", dir.display()))?;
    crate::state::write_atomically(path, text.as_bytes(), 0o600)
        .with_context(|| format!("write `{}`", path.display()))
}

fn remove_include(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("remove `{}`: {error}", path.display());
        }
        _ => {}
    }
}

/// `pct start` under way.
struct Starting {
    start: Arc<Mutex<Option<Start>>>,
    done: OwnedFd,
    log: PathBuf,
    kept: Value,
}

impl Launched for Starting {
    fn ended(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    fn failure(&mut self) -> Option<anyhow::Error> {
        let error = finish(&self.start).err()?;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lxc = log.lines().any(|line| line.contains(" ERROR "));
        let started = matches!(
            &error,
            GuestError::Pct(error) if error.reason() == Some(&pct::Reason::StartFailed)
        );
        Some(match started && lxc {
            true => anyhow::anyhow!("LXC can't start the container: {}", words(&log)),
            false => error.into(),
        })
    }

    fn monitor(&self) -> Option<ProcessId> {
        None
    }

    fn own(&self) -> Value {
        self.kept.clone()
    }
}
