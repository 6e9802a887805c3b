//! `exec`: one more process in a running container.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Container, Context, send_pidfd, write_pid_file};
use crate::backend::{self, ExecRequest};
use crate::cli::exec::{EnvVar, Principal, SubCgroup, User};
use crate::error::Kind;
use crate::spec::Validated;
use crate::state::Status;
use crate::sys::seal::ensure_sealed;
use crate::{bundle, cli, console, foreground, host, users};

pub fn run(context: &Context, args: cli::Exec) -> anyhow::Result<i32> {
    let id = args.container_id.clone();
    story(context, args).with_context(|| format!("exec in container `{id}`"))
}

fn story(context: &Context, args: cli::Exec) -> anyhow::Result<i32> {
    // Containers of other runtimes have gone to them already.
    ensure_sealed()?;
    let container = context.find(&args.container_id)?;
    match container.status() {
        Status::Stopped => return Err(Kind::NotRunning.into()),
        Status::Paused if !args.ignore_paused => {
            anyhow::bail!("cannot exec in a paused container (use --ignore-paused to override)")
        }
        _ => {}
    }
    let config = Validated::new(container.dir.load_config()?, &host::facts())?;
    let raw = match &args.process {
        Some(path) => bundle::load_process(path)?,
        None => process_of_flags(&container, config.raw(), &args)?,
    };
    let (process, warnings) = Validated::process_from(raw.clone(), config.spec(), &host::facts())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let signals = foreground::Signals::block()?;
    let terminal = process.terminal().unwrap_or(false);
    let (console, ours) = consoles(terminal, &args)?;
    let running = container.backend.exec(
        &container.record,
        &config,
        ExecRequest {
            process,
            raw,
            console,
            preserve_fds: u32::try_from(args.preserve_fds).unwrap_or(0),
            cgroups: args.cgroup.iter().map(cgroup_text).collect(),
            filter_cache: Some(backend::filter_cache(&context.root)),
        },
    )?;
    if let Some(socket) = &args.pidfd_socket {
        send_pidfd(socket, running.pidfd.as_fd())?;
    }
    if let Some(path) = &args.pid_file {
        write_pid_file(path, running.pid)?;
    }
    if args.detach {
        return Ok(0);
    }
    let master = ours
        .map(|socket| console::receive(socket.as_fd()))
        .transpose()?;
    let status = foreground::attend(&signals, running.pid, running.pidfd.as_fd(), master)?;
    Ok(foreground::exit_code(status))
}

/// The socket that the process sends its terminal over, and our end of it in the foreground.
fn consoles(
    terminal: bool,
    args: &cli::Exec,
) -> anyhow::Result<(Option<UnixStream>, Option<UnixStream>)> {
    match (terminal, &args.console_socket) {
        (true, Some(path)) => Ok((Some(console::connect(path)?), None)),
        (true, None) if args.detach => {
            anyhow::bail!("process.terminal: `true`, but no --console-socket is given")
        }
        (true, None) => {
            foreground::caller_terminal()?;
            let (theirs, ours) = UnixStream::pair().context("make console socket")?;
            Ok((Some(theirs), Some(ours)))
        }
        (false, Some(_)) => {
            anyhow::bail!("process.terminal: `false`, but a --console-socket is given")
        }
        (false, None) => Ok((None, None)),
    }
}

/// The container's own process with what the flags change.
fn process_of_flags(
    container: &Container,
    config: &Value,
    args: &cli::Exec,
) -> anyhow::Result<Value> {
    if args.command.is_empty() {
        anyhow::bail!("exec needs a command, or --process");
    }
    let mut process = config.get("process").cloned().unwrap_or_else(|| json!({}));
    process["args"] = json!(args.command);
    process["terminal"] = args.tty.into();
    if let Some(cwd) = &args.cwd {
        process["cwd"] = json!(cwd);
    }
    if let Some(label) = &args.process_label {
        process["selinuxLabel"] = json!(label);
    }
    if let Some(profile) = &args.apparmor {
        process["apparmorProfile"] = json!(profile);
    }
    if args.no_new_privs {
        process["noNewPrivileges"] = true.into();
    }
    add_environment(&mut process, &args.env);
    add_capabilities(&mut process, &args.cap);
    set_user(container, &mut process, args)?;
    Ok(process)
}

/// `KEY` alone hands down pxrun's own value; one that it doesn't have is left out.
fn add_environment(process: &mut Value, wanted: &[EnvVar]) {
    let own = |name: &str| std::env::var(name).ok();
    let given = wanted
        .iter()
        .filter_map(|variable| variable.resolve(own))
        .map(|(name, value)| format!("{name}={value}"));
    append(process, "/env", "env", given.map(Value::from).collect());
}

fn append(process: &mut Value, pointer: &str, name: &str, more: Vec<Value>) {
    match process.pointer_mut(pointer) {
        Some(Value::Array(list)) => list.extend(more),
        _ if more.is_empty() => {}
        _ => process[name] = Value::Array(more),
    }
}

/// As runc: to the bounding, effective and permitted sets, and to the ambient one where an
/// inheritable one exists.
fn add_capabilities(process: &mut Value, wanted: &[String]) {
    if wanted.is_empty() {
        return;
    }
    if !process["capabilities"].is_object() {
        process["capabilities"] = json!({});
    }
    let capabilities = &mut process["capabilities"];
    for set in ["bounding", "effective", "permitted"] {
        let more = wanted.iter().cloned().map(Value::from).collect();
        append(capabilities, &format!("/{set}"), set, more);
    }
}

fn set_user(container: &Container, process: &mut Value, args: &cli::Exec) -> anyhow::Result<()> {
    if let Some(user) = &args.user {
        let root = container.backend.root_path(&container.record)?;
        let identity = users::resolve(&root, &user_text(user))?;
        process["user"] = json!({
            "uid": identity.uid,
            "gid": identity.gid,
            "additionalGids": identity.additional,
        });
    }
    if !args.additional_gids.is_empty() {
        let more = args
            .additional_gids
            .iter()
            .copied()
            .map(Value::from)
            .collect();
        if !process["user"].is_object() {
            process["user"] = json!({"uid": 0, "gid": 0});
        }
        append(
            &mut process["user"],
            "/additionalGids",
            "additionalGids",
            more,
        );
    }
    Ok(())
}

fn user_text(user: &User) -> String {
    let text = |principal: &Principal| match principal {
        Principal::Id(id) => id.to_string(),
        Principal::Name(name) => name.clone(),
    };
    match &user.group {
        Some(group) => format!("{}:{}", text(&user.user), text(group)),
        None => text(&user.user),
    }
}

fn cgroup_text(sub: &SubCgroup) -> String {
    let path = sub.path.display();
    if sub.controllers.is_empty() {
        return path.to_string();
    }
    format!("{}:{path}", sub.controllers.join(","))
}
