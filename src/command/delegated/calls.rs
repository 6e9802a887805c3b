//! What was typed, as a command for another runtime. Each option says what becomes of it where the
//! runtime doesn't know it. Pure.

use std::ffi::OsString;

use Without::{Harmless, Never, Refused};
use clap::ValueEnum;

use crate::backend::delegate::{Call, Given, Without};
use crate::cli::exec::{EnvVar, Principal};
use crate::cli::globals::{CgroupManager, Globals, Rootless};
use crate::cli::list::Format;
use crate::cli::{self, Command};
use crate::logging;

/// The options before the command.
pub fn globals(given: &Globals) -> Vec<Given> {
    let json = given.log_format == logging::Format::Json;
    let manager = given.cgroup_manager();
    let rootless = match given.rootless {
        Rootless::Auto => None,
        Rootless::True => Some("true"),
        Rootless::False => Some("false"),
    };
    let level = given.log_level.and_then(|level| level.to_possible_value());
    let debug = matches!(
        given.level(),
        Some(logging::Level::Debug | logging::Level::Trace)
    );
    Call::default()
        .option("log", given.log.clone(), Never)
        .option("log-format", json.then_some("json"), Never)
        .flag("debug", debug, Harmless)
        .option(
            "log-level",
            level.map(|l| l.get_name().to_owned()),
            Harmless,
        )
        .flag("systemd-cgroup", manager == CgroupManager::Systemd, Refused)
        .option(
            "cgroup-manager",
            (manager == CgroupManager::Disabled).then_some("disabled"),
            Refused,
        )
        .option("rootless", rootless, Harmless)
        .options
}

/// `create`.
pub fn create(args: &cli::Create) -> Call {
    let oci = &args.oci;
    Call::new("create", [oci.container_id.clone().into()])
        .option("bundle", Some(&oci.bundle), Never)
        .option("console-socket", oci.console_socket.as_ref(), Never)
        .option("pid-file", oci.pid_file.as_ref(), Never)
        .option("pidfd-socket", args.pidfd_socket.as_ref(), Refused)
        .flag("no-pivot", oci.no_pivot, Refused)
        // A key ring of its own is more than was asked for, not less.
        .flag("no-new-keyring", oci.no_new_keyring, Harmless)
        .option("preserve-fds", number(oci.preserve_fds), Refused)
}

fn number(count: i32) -> Option<String> {
    (count > 0).then(|| count.to_string())
}

/// A command for a container that exists, or `restore`.
///
/// # Errors
/// A command that is never given to another runtime.
pub fn of(command: &Command) -> anyhow::Result<Call> {
    let on = |verb, id: &str| Call::new(verb, [OsString::from(id)]);
    Ok(match command {
        Command::Start(args) => on("start", &args.container_id),
        Command::State(args) => on("state", &args.container_id),
        Command::Pause(args) => on("pause", &args.container_id),
        Command::Resume(args) => on("resume", &args.container_id),
        Command::Kill(args) => {
            let mut call = on("kill", &args.container_id).flag("all", args.all, Never);
            call.operands.push(args.signal.0.to_string().into());
            call
        }
        Command::Ps(args) => {
            let json = args.format == Format::Json;
            let mut call = on("ps", &args.container_id);
            call = call.option("format", json.then_some("json"), Never);
            call.operands.extend(args.ps_options.iter().map(Into::into));
            call
        }
        Command::Events(args) => on("events", &args.container_id)
            .option("interval", interval(args.interval), Refused)
            .flag("stats", args.stats, Refused),
        Command::Exec(args) => exec(args),
        Command::Update(args) => update(args),
        Command::Checkpoint(args) => checkpoint(args),
        Command::Restore(args) => restore(args),
        _ => anyhow::bail!("this command is never given to another runtime"),
    })
}

/// The default is every runtime's own.
fn interval(wanted: std::time::Duration) -> Option<String> {
    (wanted.as_millis() != 5000).then(|| format!("{}ms", wanted.as_millis()))
}

fn exec(args: &cli::Exec) -> Call {
    let principal = |p: &Principal| match p {
        Principal::Id(id) => id.to_string(),
        Principal::Name(name) => name.clone(),
    };
    let user = args.user.as_ref().map(|user| match &user.group {
        Some(group) => format!("{}:{}", principal(&user.user), principal(group)),
        None => principal(&user.user),
    });
    let own = |name: &str| std::env::var(name).ok();
    let env = args.env.iter().filter_map(|v: &EnvVar| v.resolve(own));
    let cgroup = args
        .cgroup
        .iter()
        .map(|sub| match sub.controllers.is_empty() {
            true => sub.path.clone().into_os_string(),
            false => format!("{}:{}", sub.controllers.join(","), sub.path.display()).into(),
        });
    let mut call = Call::new("exec", [args.container_id.clone().into()])
        .option("process", args.process.as_ref(), Never)
        .flag("detach", args.detach, Never)
        .flag("tty", args.tty, Never)
        .option("pid-file", args.pid_file.as_ref(), Never)
        .option("console-socket", args.console_socket.as_ref(), Never)
        .option("pidfd-socket", args.pidfd_socket.as_ref(), Refused)
        .option("cwd", args.cwd.as_ref(), Refused)
        .each("env", env.map(|(k, v)| format!("{k}={v}")), Refused)
        .option("user", user, Refused)
        .each(
            "additional-gids",
            args.additional_gids.iter().map(u32::to_string),
            Refused,
        )
        .each("cap", args.cap.iter(), Refused)
        .flag("no-new-privs", args.no_new_privs, Refused)
        .option("process-label", args.process_label.as_ref(), Refused)
        .option("apparmor", args.apparmor.as_ref(), Refused)
        .flag("no-subreaper", args.no_subreaper, Harmless)
        .option("preserve-fds", number(args.preserve_fds), Refused)
        .each("cgroup", cgroup, Refused)
        .flag("ignore-paused", args.ignore_paused, Refused);
    call.operands.extend(args.command.iter().map(Into::into));
    call
}

fn update(args: &cli::Update) -> Call {
    use crate::cli::update::Input;
    let resources = args.resources.as_ref().map(|input| match input {
        Input::Stdin => OsString::from("-"),
        Input::File(path) => path.clone().into_os_string(),
    });
    let mut call = Call::new("update", [args.container_id.clone().into()]).option(
        "resources",
        resources,
        Never,
    );
    // With --resources every other limit is ignored.
    if args.resources.is_some() {
        return call;
    }
    for (name, value) in limits(args) {
        call = call.option(name, value, Refused);
    }
    // Kernels have no such limits any more.
    call.option("kernel-memory", text(args.kernel_memory), Harmless)
        .option("kernel-memory-tcp", text(args.kernel_memory_tcp), Harmless)
}

fn text<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn limits(args: &cli::Update) -> [(&'static str, Option<String>); 16] {
    [
        ("blkio-weight", text(args.blkio_weight)),
        ("cpu-period", text(args.cpu_period)),
        ("cpu-quota", text(args.cpu_quota)),
        ("cpu-burst", text(args.cpu_burst)),
        ("cpu-rt-period", text(args.cpu_rt_period)),
        ("cpu-rt-runtime", text(args.cpu_rt_runtime)),
        ("cpu-share", text(args.cpu_share)),
        ("cpuset-cpus", args.cpuset_cpus.clone()),
        ("cpuset-mems", args.cpuset_mems.clone()),
        ("cpu-idle", text(args.cpu_idle)),
        ("memory", text(args.memory)),
        ("memory-reservation", text(args.memory_reservation)),
        ("memory-swap", text(args.memory_swap)),
        ("pids-limit", text(args.pids_limit)),
        ("l3-cache-schema", args.l3_cache_schema.clone()),
        ("mem-bw-schema", args.mem_bw_schema.clone()),
    ]
}

fn checkpoint(args: &cli::Checkpoint) -> Call {
    let mode = args
        .manage_cgroups_mode
        .and_then(|mode| mode.to_possible_value());
    Call::new("checkpoint", [args.container_id.clone().into()])
        .option("image-path", Some(&args.image_path), Never)
        .option("work-path", args.work_path.as_ref(), Never)
        .option("parent-path", args.parent_path.as_ref(), Refused)
        .flag("leave-running", args.leave_running, Never)
        .flag("tcp-established", args.tcp_established, Refused)
        .flag("tcp-skip-in-flight", args.tcp_skip_in_flight, Refused)
        .flag("link-remap", args.link_remap, Refused)
        .flag("ext-unix-sk", args.ext_unix_sk, Refused)
        .flag("shell-job", args.shell_job, Refused)
        .flag("lazy-pages", args.lazy_pages, Refused)
        .option(
            "status-fd",
            args.status_fd.map(|fd| fd.to_string()),
            Refused,
        )
        .option("page-server", args.page_server.as_ref(), Refused)
        .flag("file-locks", args.file_locks, Refused)
        .flag("pre-dump", args.pre_dump, Refused)
        .option(
            "manage-cgroups-mode",
            mode.map(|m| m.get_name().to_owned()),
            Refused,
        )
        .each("empty-ns", args.empty_ns.iter(), Refused)
        .flag("auto-dedup", args.auto_dedup, Harmless)
}

fn restore(args: &cli::Restore) -> Call {
    let mode = args
        .manage_cgroups_mode
        .and_then(|mode| mode.to_possible_value());
    Call::new("restore", [args.container_id.clone().into()])
        .option("bundle", Some(&args.bundle), Never)
        .option("console-socket", args.console_socket.as_ref(), Never)
        .option("pid-file", args.pid_file.as_ref(), Never)
        .option("image-path", Some(&args.image_path), Never)
        .option("work-path", args.work_path.as_ref(), Never)
        // go-runc sends it, and no runtime's `restore` reads it.
        .option("parent-path", args.parent_path.as_ref(), Harmless)
        .option("page-server", args.page_server.as_ref(), Refused)
        .flag("detach", args.detach, Never)
        .flag("tcp-established", args.tcp_established, Refused)
        .flag("tcp-close", args.tcp_close, Refused)
        .flag("link-remap", args.link_remap, Refused)
        .flag("ext-unix-sk", args.ext_unix_sk, Refused)
        .flag("shell-job", args.shell_job, Refused)
        .flag("file-locks", args.file_locks, Refused)
        .option(
            "manage-cgroups-mode",
            mode.map(|m| m.get_name().to_owned()),
            Refused,
        )
        .each("empty-ns", args.empty_ns.iter(), Refused)
        .flag("auto-dedup", args.auto_dedup, Harmless)
        .flag("lazy-pages", args.lazy_pages, Refused)
        .flag("no-subreaper", args.no_subreaper, Harmless)
        .flag("no-pivot", args.no_pivot, Refused)
        .flag("no-new-keyring", args.no_new_keyring, Harmless)
        .option("lsm-profile", args.lsm_profile.as_ref(), Refused)
        .option(
            "lsm-mount-context",
            args.lsm_mount_context.as_ref(),
            Refused,
        )
}
