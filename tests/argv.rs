//! Every command line that callers are known to send, and what it must come out as.
//! The caller and the file that builds the line stand above each group.

use std::ffi::OsString;

use pxrun::cli::{Cli, Command, Early, UsageError};

/// A line (blanks separate arguments, `␣` stands for one inside of an argument), its command, and
/// all fields that differ from the defaults.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// conmon c3f70a3: src/runtime_args.c, with the global and runtime options that podman
/// (libpod/oci_conmon_common.go) and CRI-O (internal/oci/runtime_oci.go) hand through it.
const CONMON: &[Row] = &[
    (
        "create --bundle /b --pid-file /p c1",
        "create",
        &[r#"bundle: "/b""#, r#"pid_file: Some("/p")"#, ID],
    ),
    (
        "--systemd-cgroup --log-format=json --log /b/oci-log create --bundle /b --pid-file /p \
         --no-pivot --no-new-keyring --console-socket /s c1",
        "create",
        &[
            r#"log: Some("/b/oci-log")"#,
            "log_format: Json",
            "systemd_cgroup: true",
            r#"bundle: "/b""#,
            r#"console_socket: Some("/s")"#,
            r#"pid_file: Some("/p")"#,
            "no_pivot: true",
            "no_new_keyring: true",
            ID,
        ],
    ),
    (
        "--cgroup-manager disabled create --bundle /b --pid-file /p --preserve-fds 3 c1",
        "create",
        &[
            "cgroup_manager: Some(Disabled)",
            r#"bundle: "/b""#,
            r#"pid_file: Some("/p")"#,
            "preserve_fds: 3",
            ID,
        ],
    ),
    (
        "--root=/run/runc --systemd-cgroup create --bundle /b --pid-file /p c1",
        "create",
        &[
            r#"root: Some("/run/runc")"#,
            "systemd_cgroup: true",
            r#"bundle: "/b""#,
            r#"pid_file: Some("/p")"#,
            ID,
        ],
    ),
    (
        "restore --bundle /b --pid-file /p --no-pivot --no-new-keyring --detach --image-path /i \
         --work-path /b --tcp-established --tcp-close --file-locks --lsm-mount-context=ctx \
         --lsm-profile=selinux:label --console-socket /s c1",
        "restore",
        &[
            r#"bundle: "/b""#,
            r#"console_socket: Some("/s")"#,
            r#"pid_file: Some("/p")"#,
            r#"image_path: "/i""#,
            r#"work_path: Some("/b")"#,
            "detach: true",
            "tcp_established: true",
            "tcp_close: true",
            "file_locks: true",
            "no_pivot: true",
            "no_new_keyring: true",
            r#"lsm_profile: Some("selinux:label")"#,
            r#"lsm_mount_context: Some("ctx")"#,
            ID,
        ],
    ),
    (
        "--log-format=json --log=/l exec --pid-file /p --process /proc.json --detach \
         --preserve-fds 2 --console-socket /s c1",
        "exec",
        &[
            r#"log: Some("/l")"#,
            "log_format: Json",
            r#"process: Some("/proc.json")"#,
            "detach: true",
            r#"pid_file: Some("/p")"#,
            r#"console_socket: Some("/s")"#,
            "preserve_fds: 2",
            ID,
        ],
    ),
    // CRI-O's exec sync through conmon's old interface.
    (
        "--root=/r exec --pid-file /p --process /f --detach c1",
        "exec",
        &[
            r#"root: Some("/r")"#,
            r#"process: Some("/f")"#,
            "detach: true",
            r#"pid_file: Some("/p")"#,
            ID,
        ],
    ),
];

/// conmon-rs 3f0abb3a: conmon-rs/server/src/server.rs, `default_args` and `create_args` (both add
/// the root and the cgroup option), child_reaper.rs.
const CONMON_RS: &[Row] = &[
    (
        "--root=/r --systemd-cgroup --root=/r --systemd-cgroup create --bundle /b --pid-file /p \
         --console-socket=/s c1",
        "create",
        &[
            r#"root: Some("/r")"#,
            "systemd_cgroup: true",
            r#"bundle: "/b""#,
            r#"console_socket: Some("/s")"#,
            r#"pid_file: Some("/p")"#,
            ID,
        ],
    ),
    (
        "--log=journald:c1 --log-level=debug --root=/r create --bundle /b --pid-file /p c1",
        "create",
        &[
            r#"root: Some("/r")"#,
            r#"log: Some("journald:c1")"#,
            "log_level: Some(Debug)",
            r#"bundle: "/b""#,
            r#"pid_file: Some("/p")"#,
            ID,
        ],
    ),
    (
        "--root=/r exec -d --console-socket=/s --tty --pid-file=/p c1 sh -c echo␣hi",
        "exec",
        &[
            r#"root: Some("/r")"#,
            "detach: true",
            "tty: true",
            r#"pid_file: Some("/p")"#,
            r#"console_socket: Some("/s")"#,
            ID,
            r#"command: ["sh", "-c", "echo hi"]"#,
        ],
    ),
    (
        "--root=/r exec -d --pid-file=/p c1 ls -la --tty -d",
        "exec",
        &[
            r#"root: Some("/r")"#,
            "detach: true",
            r#"pid_file: Some("/p")"#,
            ID,
            r#"command: ["ls", "-la", "--tty", "-d"]"#,
        ],
    ),
];

/// podman c6580b4a: libpod/oci_conmon_common.go, libpod/oci_conmon_linux.go,
/// pkg/checkpoint/crutils.
const PODMAN: &[Row] = &[
    ("start c1", "start", &[ID]),
    ("kill c1 15", "kill", &[ID, "signal: Signal(15)"]),
    (
        "kill --all c1 9",
        "kill",
        &["all: true", ID, "signal: Signal(9)"],
    ),
    ("delete --force c1", "delete", &[ID, "force: true"]),
    ("pause c1", "pause", &[ID]),
    ("resume c1", "resume", &[ID]),
    (
        "update --resources=/tmp/podman123 c1",
        "update",
        &[r#"resources: Some(File("/tmp/podman123"))"#, ID],
    ),
    (
        "--debug --rootless=true --root /r delete --force c1",
        "delete",
        &[
            r#"root: Some("/r")"#,
            "debug: true",
            "rootless: True",
            ID,
            "force: true",
        ],
    ),
    (
        "checkpoint --image-path /i --work-path /w --leave-running --leave-running \
         --tcp-established --file-locks --pre-dump --parent-path ../pre-checkpoint c1",
        "checkpoint",
        &[
            r#"image_path: "/i""#,
            r#"work_path: Some("/w")"#,
            r#"parent_path: Some("../pre-checkpoint")"#,
            "leave_running: true",
            "tcp_established: true",
            "file_locks: true",
            "pre_dump: true",
            ID,
        ],
    ),
];

/// go-runc 834598e: runc.go, command_linux.go, events.go, as containerd 301026e58's shim
/// (cmd/containerd-shim-runc-v2/process) and ctr, nerdctl and Docker through it use it.
const GO_RUNC: &[Row] = &[
    (
        "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json --systemd-cgroup \
         create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty.sock --no-pivot \
         --no-new-keyring c1",
        "create",
        &[
            r#"root: Some("/run/containerd/runc/k8s.io")"#,
            r#"log: Some("/b/log.json")"#,
            "log_format: Json",
            "systemd_cgroup: true",
            r#"bundle: "/b""#,
            r#"console_socket: Some("/tmp/pty.sock")"#,
            r#"pid_file: Some("/b/init.pid")"#,
            "no_pivot: true",
            "no_new_keyring: true",
            ID,
        ],
    ),
    (
        "--root /r --log /l --log-format json create --bundle /b --pid-file /p --preserve-fds 1 \
         --pidfd-socket /pidfd c1",
        "create",
        &[
            r#"root: Some("/r")"#,
            r#"log: Some("/l")"#,
            "log_format: Json",
            r#"bundle: "/b""#,
            r#"pid_file: Some("/p")"#,
            "preserve_fds: 1",
            r#"pidfd_socket: Some("/pidfd")"#,
            ID,
        ],
    ),
    (
        "--root /var/run/docker/runtime-runc/moby --log /l --log-format json start c1",
        "start",
        &[
            r#"root: Some("/var/run/docker/runtime-runc/moby")"#,
            r#"log: Some("/l")"#,
            "log_format: Json",
            ID,
        ],
    ),
    (
        "--root /r --log /l --log-format json exec --process /tmp/runc-process1 --console-socket \
         /s --detach --pid-file /b/e1.pid c1",
        "exec",
        &[
            r#"root: Some("/r")"#,
            r#"log: Some("/l")"#,
            "log_format: Json",
            r#"process: Some("/tmp/runc-process1")"#,
            "detach: true",
            r#"pid_file: Some("/b/e1.pid")"#,
            r#"console_socket: Some("/s")"#,
            ID,
        ],
    ),
    (
        "--root /r --debug --rootless=false kill --all c1 9",
        "kill",
        &[
            r#"root: Some("/r")"#,
            "debug: true",
            "rootless: False",
            "all: true",
            ID,
            "signal: Signal(9)",
        ],
    ),
    (
        "--root /r delete c1",
        "delete",
        &[r#"root: Some("/r")"#, ID],
    ),
    (
        "--root /r delete --force c1",
        "delete",
        &[r#"root: Some("/r")"#, ID, "force: true"],
    ),
    ("--root /r pause c1", "pause", &[r#"root: Some("/r")"#, ID]),
    (
        "--root /r resume c1",
        "resume",
        &[r#"root: Some("/r")"#, ID],
    ),
    ("--root /r state c1", "state", &[r#"root: Some("/r")"#, ID]),
    ("ps --format json c1", "ps", &["format: Json", ID]),
    (
        "ps --format table c1 -o␣pid,cmd",
        "ps",
        &[ID, r#"ps_options: ["-o pid,cmd"]"#],
    ),
    (
        "update --resources=- c1",
        "update",
        &["resources: Some(Stdin)", ID],
    ),
    (
        "checkpoint --image-path /i --work-path /w --parent-path ../p --tcp-established \
         --ext-unix-sk --shell-job --file-locks --empty-ns network --empty-ns ipc \
         --leave-running c1",
        "checkpoint",
        &[
            r#"image_path: "/i""#,
            r#"work_path: Some("/w")"#,
            r#"parent_path: Some("../p")"#,
            "leave_running: true",
            "tcp_established: true",
            "ext_unix_sk: true",
            "shell_job: true",
            "file_locks: true",
            r#"empty_ns: ["network", "ipc"]"#,
            ID,
        ],
    ),
    (
        "checkpoint --image-path /i --page-server 10.0.0.1:27 --manage-cgroups-mode strict \
         --lazy-pages --status-fd 3 --pre-dump --tcp-skip-in-flight --link-remap --auto-dedup c1",
        "checkpoint",
        &[
            r#"image_path: "/i""#,
            "tcp_skip_in_flight: true",
            "link_remap: true",
            "lazy_pages: true",
            "status_fd: Some(3)",
            r#"page_server: Some("10.0.0.1:27")"#,
            "pre_dump: true",
            "manage_cgroups_mode: Some(Strict)",
            "auto_dedup: true",
            ID,
        ],
    ),
    (
        "restore --image-path /i --work-path /w --tcp-established --ext-unix-sk --shell-job \
         --file-locks --manage-cgroups-mode soft --empty-ns network --auto-dedup --lazy-pages \
         --detach --pid-file /p --console-socket /s --no-pivot -no-subreaper --bundle /b c1",
        "restore",
        &[
            r#"bundle: "/b""#,
            r#"console_socket: Some("/s")"#,
            r#"pid_file: Some("/p")"#,
            r#"image_path: "/i""#,
            r#"work_path: Some("/w")"#,
            "detach: true",
            "tcp_established: true",
            "ext_unix_sk: true",
            "shell_job: true",
            "file_locks: true",
            "manage_cgroups_mode: Some(Soft)",
            r#"empty_ns: ["network"]"#,
            "auto_dedup: true",
            "lazy_pages: true",
            "no_subreaper: true",
            "no_pivot: true",
            ID,
        ],
    ),
    ("features", "features", &[]),
    ("list --format=json", "list", &["format: Json"]),
    ("events --stats c1", "events", &["stats: true", ID]),
    ("events --interval=10s c1", "events", &["interval: 10s", ID]),
    (
        "run --bundle /b --pid-file /p --no-pivot --detach --preserve-fds 2 c1",
        "run",
        &[
            r#"bundle: "/b""#,
            r#"pid_file: Some("/p")"#,
            "no_pivot: true",
            "preserve_fds: 2",
            "detach: true",
            ID,
        ],
    ),
];

/// CRI-O f954a17e: internal/oci/runtime_oci.go, pkg/config/config.go.
const CRIO: &[Row] = &[
    (
        "--root /r --systemd-cgroup start c1",
        "start",
        &[r#"root: Some("/r")"#, "systemd_cgroup: true", ID],
    ),
    (
        "--root /r --systemd-cgroup exec --process /f c1",
        "exec",
        &[
            r#"root: Some("/r")"#,
            "systemd_cgroup: true",
            r#"process: Some("/f")"#,
            ID,
        ],
    ),
    (
        "--root /r kill c1 15",
        "kill",
        &[r#"root: Some("/r")"#, ID, "signal: Signal(15)"],
    ),
    (
        "--root /r kill c1 KILL",
        "kill",
        &[r#"root: Some("/r")"#, ID, "signal: Signal(9)"],
    ),
    (
        "--root /r kill -a c1 9",
        "kill",
        &[r#"root: Some("/r")"#, "all: true", ID, "signal: Signal(9)"],
    ),
    (
        "--root /r delete --force c1",
        "delete",
        &[r#"root: Some("/r")"#, ID, "force: true"],
    ),
    ("--root /r state c1", "state", &[r#"root: Some("/r")"#, ID]),
    (
        "--root /r update --resources - c1",
        "update",
        &[r#"root: Some("/r")"#, "resources: Some(Stdin)", ID],
    ),
    (
        "checkpoint --file-locks --image-path /i --work-path /w --leave-running c1",
        "checkpoint",
        &[
            r#"image_path: "/i""#,
            r#"work_path: Some("/w")"#,
            "leave_running: true",
            "file_locks: true",
            ID,
        ],
    ),
];

/// buildkit: executor/runcexecutor, through go-runc.
const BUILDKIT: &[Row] = &[
    (
        "--log /l --log-format json run --bundle /b --keep c1",
        "run",
        &[
            r#"log: Some("/l")"#,
            "log_format: Json",
            r#"bundle: "/b""#,
            "keep: true",
            ID,
        ],
    ),
    (
        "--rootless=true run --bundle /b --keep --no-pivot c1",
        "run",
        &[
            "rootless: True",
            r#"bundle: "/b""#,
            "no_pivot: true",
            "keep: true",
            ID,
        ],
    ),
];

/// People and scripts, with runc's own command line (its man pages) in hand.
const HANDS: &[Row] = &[
    ("kill c1", "kill", &[ID, "signal: Signal(15)"]),
    ("kill c1 SIGKILL", "kill", &[ID, "signal: Signal(9)"]),
    ("kill c1 sigkill", "kill", &[ID, "signal: Signal(9)"]),
    ("kill c1 SIGRTMIN+3", "kill", &[ID, "signal: Signal(37)"]),
    ("kill c1 RTMIN+1", "kill", &[ID, "signal: Signal(35)"]),
    ("kill c1 0", "kill", &[ID, "signal: Signal(0)"]),
    (
        "kill c1 HUP --all",
        "kill",
        &["all: true", ID, "signal: Signal(1)"],
    ),
    ("run c1", "run", &[ID]),
    (
        "run -d -b /b --no-subreaper c1",
        "run",
        &[r#"bundle: "/b""#, "detach: true", "no_subreaper: true", ID],
    ),
    (
        "-root /r -systemd-cgroup state c1",
        "state",
        &[r#"root: Some("/r")"#, "systemd_cgroup: true", ID],
    ),
    ("--rootless true state c1", "state", &["rootless: True", ID]),
    ("--rootless state c1", "state", &["rootless: True", ID]),
    ("--rootless auto state c1", "state", &[ID]),
    (
        "--root /a --root /b state --root /c c1",
        "state",
        &[r#"root: Some("/c")"#, ID],
    ),
    (
        "state --log /l --log-format json --debug c1",
        "state",
        &[r#"log: Some("/l")"#, "log_format: Json", "debug: true", ID],
    ),
    (
        "--log-level warning state c1",
        "state",
        &["log_level: Some(Warn)", ID],
    ),
    (
        "create --bundle /a --bundle /b --no-pivot --no-pivot c1",
        "create",
        &[r#"bundle: "/b""#, "no_pivot: true", ID],
    ),
    (
        "exec -t -u web:staff -g 5 -g 6 -e A=1 -e B -e C= --cwd /w --cap CAP_KILL -c CAP_CHOWN \
         --no-new-privs --process-label l --apparmor p --no-subreaper --ignore-paused --cgroup \
         cpu,memory:a --cgroup b --pidfd-socket /s c1 -- ls -la",
        "exec",
        &[
            "tty: true",
            r#"pidfd_socket: Some("/s")"#,
            r#"cwd: Some("/w")"#,
            r#"env: [Set("A", "1"), Inherit("B"), Set("C", "")]"#,
            r#"user: Some(User { user: Name("web"), group: Some(Name("staff")) })"#,
            "additional_gids: [5, 6]",
            r#"cap: ["CAP_KILL", "CAP_CHOWN"]"#,
            "no_new_privs: true",
            r#"process_label: Some("l")"#,
            r#"apparmor: Some("p")"#,
            "no_subreaper: true",
            r#"cgroup: [SubCgroup { controllers: ["cpu", "memory"], path: "a" }, SubCgroup { controllers: [], path: "b" }]"#,
            "ignore_paused: true",
            ID,
            // As runc: what follows the id isn't looked at.
            r#"command: ["--", "ls", "-la"]"#,
        ],
    ),
    ("exec -- c1 ls", "exec", &[ID, r#"command: ["ls"]"#]),
    (
        "exec -u 1000:5 c1 id --help",
        "exec",
        &[
            "user: Some(User { user: Id(1000), group: Some(Id(5)) })",
            ID,
            r#"command: ["id", "--help"]"#,
        ],
    ),
    (
        "update --blkio-weight 100 --cpu-period 100000 --cpu-quota -1 --cpu-burst 5 \
         --cpu-rt-period 7 --cpu-rt-runtime 8 --cpu-share 512 --cpuset-cpus 0-1 --cpuset-mems 0 \
         --cpu-idle 1 --memory -1 --memory-reservation 1g --memory-swap=-1 --kernel-memory 5m \
         --kernel-memory-tcp 6 --pids-limit -1 --l3-cache-schema L3:0=f --mem-bw-schema MB:0=20 c1",
        "update",
        &[
            "blkio_weight: Some(100)",
            "cpu_period: Some(100000)",
            "cpu_quota: Some(-1)",
            "cpu_burst: Some(5)",
            "cpu_rt_period: Some(7)",
            "cpu_rt_runtime: Some(8)",
            "cpu_share: Some(512)",
            r#"cpuset_cpus: Some("0-1")"#,
            r#"cpuset_mems: Some("0")"#,
            "cpu_idle: Some(1)",
            "memory: Some(-1)",
            "memory_reservation: Some(1073741824)",
            "memory_swap: Some(-1)",
            "kernel_memory: Some(5242880)",
            "kernel_memory_tcp: Some(6)",
            "pids_limit: Some(-1)",
            r#"l3_cache_schema: Some("L3:0=f")"#,
            r#"mem_bw_schema: Some("MB:0=20")"#,
            ID,
        ],
    ),
    (
        "update --memory=-1 --pids-limit=0 c1",
        "update",
        &["memory: Some(-1)", "pids_limit: Some(0)", ID],
    ),
    (
        "update --memory 512m c1",
        "update",
        &["memory: Some(536870912)", ID],
    ),
    (
        "update -r /f c1",
        "update",
        &[r#"resources: Some(File("/f"))"#, ID],
    ),
    ("list -q", "list", &["quiet: true"]),
    ("list -f json", "list", &["format: Json"]),
    ("ps c1", "ps", &[ID]),
    (
        "ps -f json c1 -ef --forest",
        "ps",
        &["format: Json", ID, r#"ps_options: ["-ef", "--forest"]"#],
    ),
    (
        "events --interval 1m30s c1",
        "events",
        &["interval: 90s", ID],
    ),
    (
        "events --interval 500ms c1",
        "events",
        &["interval: 500ms", ID],
    ),
    ("spec", "spec", &[]),
    (
        "spec -b /b --rootless",
        "spec",
        &[r#"bundle: Some("/b")"#, "rootless: true"],
    ),
    ("completion zsh", "completion", &["shell: Zsh"]),
];

const ID: &str = r#"container_id: "c1""#;

fn parse(line: &str) -> Result<Cli, Early> {
    let line = line.split_whitespace().map(|arg| arg.replace('␣', " "));
    let argv = std::iter::once("pxrun".to_owned()).chain(line);
    Cli::parse_from_args(argv.map(OsString::from))
}

fn usage(line: &str) -> UsageError {
    match parse(line) {
        Err(Early::Usage(error)) => error,
        other => panic!("{line}: {other:?}"),
    }
}

fn printed(line: &str) -> String {
    match parse(line) {
        Err(Early::Print(text)) => text.to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

/// The fields of a command line that aren't as the defaults are.
fn facts(cli: &Cli) -> Vec<String> {
    const DEFAULTS: [&str; 10] = [
        "false",
        "None",
        "[]",
        "0",
        "Text",
        "Auto",
        "Table",
        r#"".""#,
        r#""checkpoint""#,
        "5s",
    ];
    let (global, command) = (format!("{:?}", cli.global), format!("{:?}", cli.command));
    let mut facts = fields(&global);
    facts.extend(fields(&command));
    facts.retain(|fact| {
        let value = fact.split_once(": ").map(|(_, value)| value);
        value.is_some_and(|value| !DEFAULTS.contains(&value))
    });
    facts
}

/// The `name: value` pairs in the Debug form of a command. The structs that a command flattens in
/// are opened, other values stay whole.
fn fields(debug: &str) -> Vec<String> {
    const FLATTENED: [&str; 2] = ["oci: ", "create: "];
    let Some((_, inside)) = debug.split_once("{ ") else {
        return Vec::new();
    };
    let mut pairs = vec![String::new()];
    let (mut depth, mut quoted) = (0, false);
    for c in inside.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                pairs.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth < 0 {
            break;
        }
        pairs.last_mut().unwrap().push(c);
    }
    let pairs = pairs.iter().map(|pair| pair.trim().to_owned());
    pairs
        .flat_map(
            |pair| match FLATTENED.iter().any(|name| pair.starts_with(name)) {
                true => fields(&pair),
                false => vec![pair],
            },
        )
        .collect()
}

fn name(command: &Command) -> String {
    let debug = format!("{command:?}");
    debug.split(['(', ' ']).next().unwrap().to_lowercase()
}

#[test]
fn every_line_of_every_caller() {
    let tables = [CONMON, CONMON_RS, PODMAN, GO_RUNC, CRIO, BUILDKIT, HANDS];
    for (line, command, want) in tables.into_iter().flatten() {
        let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error:?}"));
        assert_eq!(name(&cli.command), *command, "{line}");
        let (mut got, mut want) = (facts(&cli), want.to_vec());
        // Order is that of the structs; it isn't part of the contract.
        got.sort();
        want.sort();
        assert_eq!(got, want, "{line}");
    }
}

#[test]
fn facts_see_each_difference() {
    let cli = parse("--debug run -d --preserve-fds 1 -b /a,b c1").unwrap();
    let want = [
        "debug: true",
        r#"bundle: "/a,b""#,
        "preserve_fds: 1",
        ID,
        "detach: true",
    ];
    assert_eq!(facts(&cli), want);
}

#[test]
fn what_is_no_command_line() {
    let rows = [
        ("frobnicate", "unknown command `frobnicate`"),
        ("--root /r", "missing command"),
        ("--root", "flag needs an argument: --root <DIR>"),
        ("create --nope c1", "create: unknown option `--nope`"),
        ("create -x c1", "create: unknown option `-x`"),
        ("start", "start: missing argument: <CONTAINER_ID>"),
        ("start c1 c2", "start: unexpected argument `c2`"),
        ("exec c1", "exec: missing argument: <COMMAND>..."),
        (
            "kill c1 FOO",
            "kill: invalid value `FOO` for `[SIGNAL]`: unknown signal `FOO`",
        ),
        (
            "kill c1 65",
            "kill: invalid value `65` for `[SIGNAL]`: unknown signal `65`",
        ),
        (
            "list -f xml",
            "list: invalid value `xml` for `--format <FORMAT>`: expected one of table, json",
        ),
        (
            "state a/b",
            "state: invalid value `a/b` for `<CONTAINER_ID>`: invalid container ID format: use \
             letters, digits, `_`, `+`, `-` and `.`",
        ),
        (
            "update --memory lots c1",
            "update: invalid value `lots` for `--memory <BYTES>`: expected -1 or a number of bytes \
             such as 536870912, 512m or 1.5g",
        ),
        (
            "create --preserve-fds=-1 c1",
            "create: invalid value `-1` for `--preserve-fds <N>`: -1 is not in 0..=2147483647",
        ),
        (
            "exec --preserve-fds=-1 c1 sh",
            "exec: invalid value `-1` for `--preserve-fds <N>`: -1 is not in 0..=2147483647",
        ),
        (
            "restore --lsm-mount-context",
            "restore: flag needs an argument: --lsm-mount-context <CONTEXT>",
        ),
        (
            "events --interval 5 c1",
            "events: invalid value `5` for `--interval <TIME>`: expected a time above zero such as 5s, 1m30s or 500ms",
        ),
        (
            "exec -u : c1 sh",
            "exec: invalid value `:` for `--user <USER[:GROUP]>`: expected USER or USER:GROUP",
        ),
    ];
    for (line, want) in rows {
        assert_eq!(usage(line).to_string(), want, "{line}");
    }
    let dots = usage("create ..").to_string();
    assert!(dots.contains("invalid container ID format"), "{dots}");
    assert!(matches!(
        parse(&format!("create {}", "a".repeat(1025))),
        Err(Early::Usage(_))
    ));
}

#[test]
fn usage_errors_know_the_log() {
    // containerd shows the last error of log.json, whatever went wrong.
    let error = usage("--root /r --log /l --log-format json create --nope c1");
    assert_eq!(error.log.as_deref(), Some("/l".as_ref()));
    assert_eq!(error.log_format, pxrun::logging::Format::Json);
    let error = usage("--log /l frobnicate");
    assert_eq!(error.log.as_deref(), Some("/l".as_ref()));
    let error = usage("--nope --log /l state c1");
    assert_eq!(error.log.as_deref(), Some("/l".as_ref()));
    assert_eq!(usage("create --nope c1").log, None);
}

/// podman's pkg/checkpoint/crutils and CRI-O's pkg/config ask so what the runtime can do.
#[test]
fn probes() {
    assert!(printed("checkpoint --help").contains("--image-path"));
    let text = usage("restore --lsm-mount-context").to_string();
    assert!(text.contains("flag needs an argument") || text.contains("requires an argument"));
    assert_eq!(
        printed("--version").lines().next(),
        Some("pxrun version 0.1.0")
    );
    assert_eq!(printed("-v"), printed("--version"));
}

#[test]
fn help_goes_to_stdout() {
    for line in ["", "--help", "-h"] {
        let text = printed(line);
        for command in pxrun::cli::command().get_subcommands() {
            assert!(text.contains(command.get_name()), "{line}");
        }
    }
    // `--help` inside of a foreign command isn't ours.
    assert!(parse("exec c1 ls --help").is_ok());
}

#[test]
fn help_is_short_and_in_lower_case() {
    let command = pxrun::cli::command();
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            !about.is_empty() && !about.ends_with('.'),
            "{}",
            command.get_name()
        );
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let first = help.chars().next().unwrap_or('?');
            let place = format!("{} {}: {help}", command.get_name(), arg.get_id());
            assert!(!first.is_uppercase() && first != '?', "{place}");
            assert!(help.len() <= 110 && !help.ends_with('.'), "{place}");
            assert_eq!(arg.get_long_help(), None, "{place}");
            for value in arg.get_possible_values() {
                let help = value
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(!help.starts_with(char::is_uppercase), "{place}: {help}");
            }
        }
    }
}

#[test]
fn definitions_hold_together() {
    pxrun::cli::command().debug_assert();
}

#[test]
fn quiet_commands() {
    let quiet = [
        "create c1",
        "run c1",
        "exec c1 x",
        "restore c1",
        "features",
        "state c1",
        "ps c1",
    ];
    for line in quiet {
        assert!(parse(line).unwrap().command.quiet_stderr(), "{line}");
    }
    for line in ["delete c1", "start c1", "update c1"] {
        assert!(!parse(line).unwrap().command.quiet_stderr(), "{line}");
    }
}

#[test]
fn completions_for_every_shell() {
    use pxrun::cli::completion::{Shell, script};
    for shell in [
        Shell::Bash,
        Shell::Zsh,
        Shell::Fish,
        Shell::Elvish,
        Shell::PowerShell,
    ] {
        let script = String::from_utf8(script(shell)).unwrap();
        assert!(
            script.contains("pidfd-socket") && script.contains("checkpoint"),
            "{shell}"
        );
    }
}
