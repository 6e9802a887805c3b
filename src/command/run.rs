//! `run`: create, start, wait, delete.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::Context as _;

use super::create::{Created, Wish, create};
use super::{Container, Context, contract, delegated, delete, start};
use crate::backend;
use crate::{cli, console, foreground};

pub fn run(context: &Context, args: cli::Run) -> anyhow::Result<i32> {
    let id = args.create.oci.container_id.clone();
    story(context, args).with_context(|| format!("run container `{id}`"))
}

fn story(context: &Context, args: cli::Run) -> anyhow::Result<i32> {
    let oci = &args.create.oci;
    let (bundle, route) = context.decide(&oci.container_id, &oci.bundle)?;
    if backend::is_delegate(&route.backend) {
        return delegated::run(context, &args, &bundle, route);
    }
    // Before the process exists: it may end before we look.
    let signals = foreground::Signals::block()?;
    let terminal = match &args.create.oci.console_socket {
        Some(_) => None,
        None if args.detach => None,
        None => Terminal::if_wanted(&bundle.raw)?,
    };
    let mut wish = Wish::new(context, args.create)?;
    wish.own_terminal = terminal.is_some();
    if let Some(terminal) = &terminal {
        wish.options.console_socket = Some(terminal.path.clone());
    }
    let created = create(context, wish, &bundle, route)?;
    let Created {
        dir,
        record,
        creation,
        ..
    } = created;
    let pidfd = creation.pidfd().try_clone_to_owned();
    let pid = creation.init().pid;
    creation.commit()?;
    let container = Container {
        backend: backend::by_name(&record.backend)?,
        dir,
        record,
    };
    let started = started(&container, terminal);
    let master = match started {
        Ok(master) => master,
        Err(error) => {
            let removed = delete_now(&container);
            return removed.and(Err(error));
        }
    };
    if args.detach {
        return Ok(0);
    }
    let status = foreground::attend(&signals, pid, pidfd?.as_fd(), master)?;
    if !args.keep {
        delete_now(&container)?;
    }
    Ok(foreground::exit_code(status))
}

fn started(
    container: &Container,
    terminal: Option<Terminal>,
) -> anyhow::Result<Option<std::os::fd::OwnedFd>> {
    let master = terminal.map(|t| t.receive()).transpose()?;
    if let Some(master) = &master {
        // Before the process runs: a change of size would be a signal to it.
        foreground::take_size(master.as_fd());
    }
    let _lock = container.dir.lock().map_err(contract)?;
    start::start(container)?;
    Ok(master)
}

fn delete_now(container: &Container) -> anyhow::Result<()> {
    let _lock = match container.dir.lock().map_err(contract) {
        Ok(lock) => lock,
        // Somebody else has deleted it meanwhile.
        Err(_) => return Ok(()),
    };
    delete::remove(container)
}

/// A console socket of our own, for a process that wants a terminal while the caller gave none.
pub struct Terminal {
    _dir: TemporaryDir,
    path: PathBuf,
    listener: UnixListener,
}

impl Terminal {
    pub fn if_wanted(config: &serde_json::Value) -> anyhow::Result<Option<Terminal>> {
        let wanted = config.pointer("/process/terminal");
        if wanted.and_then(serde_json::Value::as_bool) != Some(true) {
            return Ok(None);
        }
        let dir = TemporaryDir::make()?;
        let path = dir.path.join("console.sock");
        let listener = UnixListener::bind(&path).context("make console socket")?;
        Ok(Some(Terminal {
            _dir: dir,
            path,
            listener,
        }))
    }

    /// Where the terminal is to be sent.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub fn receive(self) -> anyhow::Result<std::os::fd::OwnedFd> {
        let (stream, _) = self.listener.accept().context("accept terminal")?;
        Ok(console::receive(stream.as_fd())?)
    }
}

/// A directory for the owner alone, gone with this value.
struct TemporaryDir {
    path: PathBuf,
}

impl TemporaryDir {
    fn make() -> anyhow::Result<TemporaryDir> {
        let path = nix::unistd::mkdtemp("/tmp/pxrun-XXXXXX").context("make temporary directory")?;
        Ok(TemporaryDir { path })
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
