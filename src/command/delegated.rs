//! Containers of other runtimes: the caller's command, in that runtime's words. Where nothing has
//! to be added pxrun becomes the runtime, so that streams, descriptors, exit code and messages are
//! its own.

mod calls;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::sys::signal::SigSet;

use super::create::{self};
use super::run::Terminal;
use super::{Context, contract, route};
use crate::backend::delegate::{self, Abilities, Call, DelegateError, Runtime, Without, document};
use crate::backend::linux::stand_in;
use crate::bundle::Bundle;
use crate::cli::{self, Command};
use crate::error::Kind;
use crate::foreground;
use crate::route::{NEEDS_ANNOTATION, Need, Route};
use crate::state::{ContainerDir, ProcessId, Record};

/// Gives a command to the runtime that has the container. `None` when no runtime has it, or when
/// pxrun has to do it itself.
///
/// # Errors
/// The runtime is gone, or doesn't know what is asked.
pub fn pass_on(context: &Context, command: &Command) -> anyhow::Result<Option<i32>> {
    let Some(id) = existing(command) else {
        return Ok(None);
    };
    // What is wrong with a container is told by the command itself.
    let Some((dir, record)) = load(context, id) else {
        return Ok(None);
    };
    if !crate::backend::is_delegate(&record.backend) {
        return Ok(None);
    }
    let runtime = Runtime::of(&record)?;
    let abilities = || Abilities::of(&runtime, &context.root);
    match command {
        Command::Delete(args) => delete(context, &dir, &runtime, args).map(Some),
        Command::Events(args) if !abilities()?.has("events") => {
            super::events::run(context, args.clone()).map(|()| Some(0))
        }
        Command::Checkpoint(_) => {
            can_checkpoint(context, &runtime)?;
            hand_over(context, &runtime, calls::of(command)?)
        }
        _ => hand_over(context, &runtime, calls::of(command)?),
    }
}

/// The container that a command is about, if it has to exist.
fn existing(command: &Command) -> Option<&str> {
    Some(match command {
        Command::Start(args) => &args.container_id,
        Command::State(args) => &args.container_id,
        Command::Kill(args) => &args.container_id,
        Command::Delete(args) => &args.container_id,
        Command::Exec(args) => &args.container_id,
        Command::Ps(args) => &args.container_id,
        Command::Pause(args) => &args.container_id,
        Command::Resume(args) => &args.container_id,
        Command::Update(args) => &args.container_id,
        Command::Events(args) => &args.container_id,
        Command::Checkpoint(args) => &args.container_id,
        _ => return None,
    })
}

fn load(context: &Context, id: &str) -> Option<(ContainerDir, Record)> {
    let dir = context.root.find(id).ok()?;
    let record = dir.load().ok()?;
    Some((dir, record))
}

/// Becomes the runtime.
fn hand_over(context: &Context, runtime: &Runtime, call: Call) -> anyhow::Result<Option<i32>> {
    let argv = argv(context, runtime, call)?;
    let cause = runtime.program(argv).become_it();
    Err(DelegateError::from_exec(runtime, cause).into())
}

fn argv(
    context: &Context,
    runtime: &Runtime,
    mut call: Call,
) -> Result<Vec<std::ffi::OsString>, DelegateError> {
    call.globals = calls::globals(&context.globals);
    let asked = match call.needs_asking() {
        true => Some(Abilities::of(runtime, &context.root)?),
        false => None,
    };
    call.argv(runtime, asked.as_ref())
}

/// Runs the runtime as a child, with the caller's streams, and waits; its exit code.
fn run_child(context: &Context, runtime: &Runtime, call: Call) -> anyhow::Result<i32> {
    let argv = argv(context, runtime, call)?;
    let pid = runtime
        .program(argv)
        .spawn(&SigSet::empty())
        .map_err(|cause| DelegateError::from_exec(runtime, cause))?;
    let status = nix::sys::wait::waitpid(pid, None).context("wait for the runtime")?;
    Ok(foreground::exit_code(status))
}

/// `create` for a container that goes to another runtime.
///
/// # Errors
/// pxrun's own part failed; what the runtime failed at is told by itself, in the exit code too.
pub fn create(
    context: &Context,
    args: &cli::Create,
    bundle: &Bundle,
    route: Route,
) -> anyhow::Result<i32> {
    let call = calls::create(args);
    make(context, call, args.oci.pid_file.as_deref(), bundle, route).map(|(code, _)| code)
}

/// Records a container and has the runtime make it. Without success nothing is left of either.
fn make(
    context: &Context,
    mut call: Call,
    pid_file: Option<&Path>,
    bundle: &Bundle,
    route: Route,
) -> anyhow::Result<(i32, Option<(ContainerDir, Record)>)> {
    let id = call.operands.first().cloned().unwrap_or_default();
    let id = id.to_string_lossy().into_owned();
    let settings = context.config()?.backend.delegates.get(&route.backend);
    let settings = settings.cloned().unwrap_or_default();
    let runtime = Runtime::find(&route.backend, &settings, &context.root)?;
    let mut record = create::record(context, &id, &bundle.path, &bundle.raw, route)?;
    record.own = serde_json::to_value(&runtime)?;
    let dir = context.root.claim(&id).map_err(contract)?;
    dir.save(&record)?;
    let pid_file = match pid_file {
        Some(path) => path.to_owned(),
        None => {
            let own = dir.path().join("pid");
            call = call.option("pid-file", Some(&own), Without::Never);
            own
        }
    };
    let made = pass_document(context, &dir, bundle, &runtime, &mut call)
        .and_then(|()| run_child(context, &runtime, call))
        .and_then(|code| match code {
            0 => settle(context, &dir, &mut record, &pid_file).map(|()| 0),
            code => Ok(code),
        });
    if !matches!(made, Ok(0)) {
        take_back(&dir, &record);
        return made.map(|code| (code, None));
    }
    Ok((0, Some((dir, record))))
}

/// Keeps the document that the runtime gets. It is the caller's own file, unless joined namespaces
/// are somewhere else than it says, or the runtime would refuse or misread it: then a copy.
fn pass_document(
    context: &Context,
    dir: &ContainerDir,
    bundle: &Bundle,
    runtime: &Runtime,
    call: &mut Call,
) -> anyhow::Result<()> {
    let mut theirs = document::joined(bundle.raw.clone(), stand_in::meant);
    if runtime.is_ocijail() {
        theirs = crate::backend::jail::ocijail::translated(&theirs)?;
    } else if document::minor(&theirs) > Some(1) {
        theirs = document::lowered(theirs, &Abilities::of(runtime, &context.root)?);
    }
    dir.save_config(&serde_json::to_vec(&theirs)?)?;
    if theirs == bundle.raw {
        return Ok(());
    }
    let copy = delegate::bundle_copy(dir, &bundle.path, theirs)?;
    call.options.retain(|given| given.name != "bundle");
    *call = std::mem::take(call).option("bundle", Some(copy), Without::Never);
    Ok(())
}

/// Writes down who the container's first process is, and where it is accounted.
fn settle(
    context: &Context,
    dir: &ContainerDir,
    record: &mut Record,
    pid_file: &Path,
) -> anyhow::Result<()> {
    let pid = delegate::read_pid(pid_file)?;
    record.init = ProcessId::of(pid);
    record.ready = true;
    if let Some(path) = delegate::cgroup_of(pid) {
        record.cgroup = create::cgroup(context, &record.id, Some(&path))?;
    }
    Ok(dir.save(record)?)
}

fn take_back(dir: &ContainerDir, record: &Record) {
    let taken = delegate::take_down(record).and_then(|()| Ok(dir.remove()?));
    if let Err(error) = taken {
        // The record stays: `delete --force` tries again with it.
        tracing::warn!("take back what was made: {error:#}");
    }
}

/// `run`: the runtime creates and starts; waiting, the terminal and deleting are pxrun's, as for
/// every backend.
///
/// # Errors
/// As [`create`].
pub fn run(
    context: &Context,
    args: &cli::Run,
    bundle: &Bundle,
    route: Route,
) -> anyhow::Result<i32> {
    let signals = foreground::Signals::block()?;
    let terminal = match &args.create.oci.console_socket {
        None if !args.detach => Terminal::if_wanted(&bundle.raw)?,
        _ => None,
    };
    if terminal.is_some() {
        foreground::caller_terminal()?;
    }
    if !args.detach {
        // The container's process becomes this one's child when the runtime's `create` is done.
        nix::sys::prctl::set_child_subreaper(true).context("become a subreaper")?;
    }
    let mut call = calls::create(&args.create);
    if let Some(terminal) = &terminal {
        call = call.option("console-socket", Some(terminal.path()), Without::Never);
    }
    let pid_file = args.create.oci.pid_file.as_deref();
    let (code, made) = make(context, call, pid_file, bundle, route)?;
    let Some((dir, record)) = made else {
        return Ok(code);
    };
    let runtime = Runtime::of(&record)?;
    let attended = attend(context, &runtime, &record, terminal, args, &signals);
    if matches!(attended, Ok(End::Detached)) || (args.keep && matches!(attended, Ok(End::Of(_)))) {
        return Ok(match attended {
            Ok(End::Of(code)) => code,
            _ => 0,
        });
    }
    delegate::take_down(&record)?;
    dir.remove().map_err(contract)?;
    attended.map(|end| match end {
        End::Of(code) | End::NeverStarted(code) => code,
        End::Detached => 0,
    })
}

enum End {
    /// The container's process ended so.
    Of(i32),
    /// The runtime's `start` ended so.
    NeverStarted(i32),
    /// Nobody waits.
    Detached,
}

fn attend(
    context: &Context,
    runtime: &Runtime,
    record: &Record,
    terminal: Option<Terminal>,
    args: &cli::Run,
    signals: &foreground::Signals,
) -> anyhow::Result<End> {
    use std::os::fd::AsFd;
    let init = record.init.ok_or(Kind::NotRunning)?;
    let pidfd = crate::sys::clone::pidfd_open(init.pid).context("open the container's process")?;
    let master = terminal.map(Terminal::receive).transpose()?;
    if let Some(master) = &master {
        foreground::take_size(master.as_fd());
    }
    let start = Call::new("start", [record.id.clone().into()]);
    match run_child(context, runtime, start)? {
        0 => {}
        code => return Ok(End::NeverStarted(code)),
    }
    if args.detach {
        return Ok(End::Detached);
    }
    let status = foreground::attend(signals, init.pid, pidfd.as_fd(), master)?;
    Ok(End::Of(foreground::exit_code(status)))
}

/// `delete`: the runtime's part and ours.
fn delete(
    context: &Context,
    dir: &ContainerDir,
    runtime: &Runtime,
    args: &cli::Delete,
) -> anyhow::Result<i32> {
    let _lock = match dir.lock().map_err(contract) {
        Ok(lock) => lock,
        // Another `delete` was faster.
        Err(error) if args.force && error.downcast_ref() == Some(&Kind::NotExist) => return Ok(0),
        Err(error) => return Err(error),
    };
    let record = dir.load().map_err(contract)?;
    if args.force {
        super::delete::end_creator(dir, &record);
        delegate::take_down(&record)?;
    } else if delegate::has_notes(&record, runtime) || delegate::state(&record)?.is_some() {
        let call = Call::new("delete", [record.id.clone().into()]);
        match run_child(context, runtime, call)? {
            0 => {}
            code => return Ok(code),
        }
    }
    dir.remove().map_err(contract)?;
    Ok(0)
}

fn can_checkpoint(context: &Context, runtime: &Runtime) -> anyhow::Result<()> {
    let abilities = Abilities::of(runtime, &context.root)?;
    delegate::can_checkpoint(&abilities)
        .map_err(|why| anyhow::anyhow!("backend `{}` can't do checkpoint: {why}", runtime.name))
}

/// `restore`: a new container, so it is routed like one; only backends that can do it are asked.
///
/// # Errors
/// No backend can, or pxrun's own part failed.
pub fn restore(context: &Context, args: cli::Restore) -> anyhow::Result<i32> {
    let id = args.container_id.clone();
    restored(context, args).with_context(|| format!("restore container `{id}`"))
}

fn restored(context: &Context, args: cli::Restore) -> anyhow::Result<i32> {
    let mut bundle = Bundle::load(&args.bundle)?;
    let wanted = &mut bundle.raw["annotations"][NEEDS_ANNOTATION];
    let others = wanted.as_str().unwrap_or_default();
    *wanted = format!("{others},{}", Need::Checkpoint).into();
    let route = route::decide(context, &args.container_id, &bundle.path, &bundle.raw)?;
    if !crate::backend::is_delegate(&route.backend) {
        return super::checkpoint::refuse("restore");
    }
    let call = calls::of(&Command::Restore(args.clone()))?;
    let pid_file: Option<PathBuf> = args.pid_file.clone();
    let (code, made) = make(context, call, pid_file.as_deref(), &bundle, route)?;
    if let (Some((dir, record)), false) = (made, args.detach) {
        // The runtime has waited for the container's end.
        delegate::take_down(&record)?;
        dir.remove().map_err(contract)?;
    }
    Ok(code)
}
