//! One short story a command: load, ask, call, save. Must not read `/proc`, start children, parse
//! JSON or print errors.

mod bundle;
mod checkpoint;
mod completion;
mod config;
mod create;
mod delegated;
mod delete;
mod doctor;
mod events;
mod exec;
mod features;
mod freeze;
mod kill;
mod list;
mod pct;
mod ps;
mod route;
mod run;
mod setup;
mod spec;
mod start;
mod state;
mod template;
mod update;
mod validate;

use std::cell::OnceCell;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::backend::{self, Backend};
use crate::bundle::Bundle;
use crate::cli::{Cli, Command, Globals};
use crate::config::{Config, Source};
use crate::error::Kind;
use crate::route::Route;
use crate::state::{ContainerDir, Record, Root, StateError, Status};
use crate::sys::seal::ensure_sealed;

/// What every command gets.
pub struct Context {
    root: Root,
    globals: Globals,
    source: Source,
    config: OnceCell<Config>,
}

/// Runs a command; the exit code when it did what it was asked.
///
/// # Errors
/// Whatever went wrong, as a chain from what was tried to why it failed.
pub fn run(cli: Cli, root: PathBuf, source: Source) -> anyhow::Result<i32> {
    let context = Context {
        root: Root::new(root),
        globals: cli.global,
        source,
        config: OnceCell::new(),
    };
    if let Some(code) = delegated::pass_on(&context, &cli.command)? {
        return Ok(code);
    }
    match cli.command {
        Command::Create(args) => create::run(&context, args),
        Command::Start(args) => start::run(&context, &args.container_id).map(|()| 0),
        Command::State(args) => state::run(&context, &args.container_id).map(|()| 0),
        Command::Kill(args) => kill::run(&context, args).map(|()| 0),
        Command::Delete(args) => delete::run(&context, &args.container_id, args.force).map(|()| 0),
        Command::Run(args) => run::run(&context, args),
        Command::Exec(args) => exec::run(&context, args),
        Command::Ps(args) => ps::run(&context, args).map(|()| 0),
        Command::List(args) => list::run(&context, args).map(|()| 0),
        Command::Pause(args) => freeze::pause(&context, &args.container_id).map(|()| 0),
        Command::Resume(args) => freeze::resume(&context, &args.container_id).map(|()| 0),
        Command::Update(args) => update::run(&context, args).map(|()| 0),
        Command::Events(args) => events::run(&context, args).map(|()| 0),
        Command::Checkpoint(_) => checkpoint::refuse("checkpoint"),
        Command::Restore(args) => delegated::restore(&context, args),
        Command::Route(args) => route::run(&context, args).map(|()| 0),
        Command::Doctor(args) => doctor::run(&context, args),
        Command::Config(args) => config::run(&context, args).map(|()| 0),
        Command::Spec(args) => spec::run(args).map(|()| 0),
        Command::Bundle(args) => bundle::run(&context, args.command),
        Command::Template(args) => template::run(&context, args.command).map(|()| 0),
        Command::Features(_) => features::run().map(|()| 0),
        Command::Pct(args) => pct::run(&context, args),
        Command::Setup(args) => setup::run(args).map(|()| 0),
        Command::Completion(args) => completion::run(&args).map(|()| 0),
    }
}

/// A container that exists, with what its record says.
struct Container {
    dir: ContainerDir,
    record: Record,
    backend: &'static dyn Backend,
}

impl Context {
    /// The configuration. Only commands that decide something read it: a mistake in the file must
    /// not keep anybody from stopping or deleting a container.
    fn config(&self) -> anyhow::Result<&Config> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = Config::load(&self.source)?;
        Ok(self.config.get_or_init(|| config))
    }

    /// Decides about a new container. Where pxrun itself will make it, its binary is out of the
    /// container's reach from then on; for another runtime's container pxrun never gets near, and
    /// executing itself once more would be the larger part of what it costs.
    fn decide(&self, id: &str, bundle: &Path) -> anyhow::Result<(Bundle, Route)> {
        // With no other runtime in sight it is done before the bundle is read, not twice.
        if !self.config()?.named_backends().any(backend::is_delegate) {
            ensure_sealed()?;
        }
        let bundle = Bundle::load(bundle)?;
        let route = route::decide(self, id, &bundle.path, &bundle.raw)?;
        if !backend::is_delegate(&route.backend) {
            ensure_sealed()?;
        }
        Ok((bundle, route))
    }

    /// Looks a container up.
    fn find(&self, id: &str) -> anyhow::Result<Container> {
        let dir = self.root.find(id).map_err(contract)?;
        let record = dir.load().map_err(contract)?;
        let backend = backend::by_name(&record.backend)?;
        Ok(Container {
            dir,
            record,
            backend,
        })
    }
}

/// The two failures that callers match go out in the contract's words.
fn contract(error: StateError) -> anyhow::Error {
    match error {
        StateError::NotExist | StateError::NoRecord(_) => Kind::NotExist.into(),
        StateError::AlreadyExists => Kind::AlreadyExists.into(),
        other => other.into(),
    }
}

impl Container {
    /// Its state, from what lives and what is locked, whatever the record's last writer meant.
    fn status(&self) -> Status {
        status(&self.dir, &self.record, self.backend)
    }
}

fn status(dir: &ContainerDir, record: &Record, backend: &dyn Backend) -> Status {
    let ready = dir.is_ready(record);
    if !ready && record.live_creator().is_some() {
        return Status::Creating;
    }
    if let Some(status) = backend.status(record) {
        return status;
    }
    let Some(init) = record.live_init().filter(|_| ready) else {
        return Status::Stopped;
    };
    if backend.is_paused(record) {
        return Status::Paused;
    }
    if dir.is_waiting() {
        return Status::Created;
    }
    // The lock is gone by execve, or by an end that isn't over yet.
    match init.is_ending() {
        true => Status::Stopped,
        false => Status::Running,
    }
}

/// Writes a pid-file: digits alone, under a temporary name first (go-runc reads it with Atoi,
/// conmon-rs with parse).
fn write_pid_file(path: &Path, pid: i32) -> anyhow::Result<()> {
    crate::state::write_atomically(path, pid.to_string().as_bytes(), 0o644)
        .with_context(|| format!("write pid-file `{}`", path.display()))
}

/// Sends a pidfd to `--pidfd-socket`.
fn send_pidfd(path: &Path, pidfd: std::os::fd::BorrowedFd<'_>) -> anyhow::Result<()> {
    use std::os::fd::AsFd;
    let socket = crate::console::connect(path)?;
    crate::console::send(socket.as_fd(), "pidfd", pidfd)
        .with_context(|| format!("send pidfd to `{}`", path.display()))
}

/// Prints one JSON document, indented, and a newline.
fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print_text(&serde_json::to_string_pretty(value)?)
}

/// Prints a text and a newline. A reader that has gone is no fault.
fn print_text(text: &str) -> anyhow::Result<()> {
    print_line(text).map(|_| ())
}

/// The same; whether anybody still reads.
fn print_line(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}
