//! config.json out of what an image says, with the defaults of podman (containers-common) and what
//! the user wants otherwise. It must not read the root file system, the host or any file.

use serde_json::{Map, Value, json};

use super::config::RunConfig;
use super::profile;

/// Version of the OCI runtime spec that is claimed: one that other runtimes take too.
const VERSION: &str = "1.2.0";
/// podman's default capabilities (containers.conf(5), `default_capabilities`), sorted.
pub const CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// podman's masked and read-only paths.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/dev/block",
];
const READ_ONLY: [&str; 6] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];
/// podman's default of `--pids-limit`.
const PIDS: i64 = 2048;
/// Annotation with the name of the image.
pub const IMAGE: &str = "dev.pxrun.image";
/// Annotation with the digest of its manifest.
pub const DIGEST: &str = "dev.pxrun.image.digest";

/// Where the filter comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Filter {
    /// The built-in list.
    #[default]
    Builtin,
    /// A profile of podman or Docker, or in OCI's form.
    Profile(Value),
    /// None at all.
    Unconfined,
}

/// One bind mount that the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: String,
    /// In the container.
    pub destination: String,
    /// `ro`, `rw` and the like.
    pub options: Vec<String>,
}

/// What the user wants otherwise than the image.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Instead of `ENTRYPOINT`; `Some` and empty for none. `CMD` goes with it.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of `CMD`.
    pub args: Vec<String>,
    /// Added to or instead of `ENV`.
    pub env: Vec<String>,
    /// Instead of `WORKDIR`.
    pub cwd: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// A terminal.
    pub terminal: bool,
    /// A root that can't be written to.
    pub read_only: bool,
    /// `noNewPrivileges`.
    pub no_new_privileges: bool,
    /// The host's network instead of a new one.
    pub host_network: bool,
    /// Capabilities more, with `CAP_`; `ALL` for all.
    pub cap_add: Vec<String>,
    /// Capabilities less.
    pub cap_drop: Vec<String>,
    /// More annotations.
    pub annotations: Vec<(String, String)>,
    /// More mounts.
    pub binds: Vec<Bind>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Processors.
    pub cpus: Option<f64>,
    /// Processes; -1 for any number.
    pub pids: Option<i64>,
    /// The filter.
    pub filter: Filter,
}

/// Who the process is, resolved in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Beside `gid`.
    pub groups: Vec<u32>,
}

/// What the host is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostInfo {
    /// Unified cgroups: the container gets a cgroup namespace.
    pub cgroup_v2: bool,
    /// Version of the kernel.
    pub kernel: (u32, u32),
}

/// Why there is no config.json.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The image names no command, and neither does the user.
    #[error("the image names no command: add one")]
    NoCommand,
    /// Not a capability.
    #[error("capability `{0}` is unknown")]
    Capability(String),
    /// Not a profile.
    #[error("the seccomp profile has no `defaultAction`")]
    Profile,
}

/// The configuration. `root` is what `root.path` becomes; `volumes` are the directories in the bundle
/// that stand for the image's, in the order of [`RunConfig::volumes`].
///
/// # Errors
/// [`SpecError`].
pub fn config_json(
    run: &RunConfig,
    wishes: &Wishes,
    user: &User,
    host: &HostInfo,
    root: &str,
    volumes: &[String],
) -> Result<Value, SpecError> {
    let capabilities = capabilities(wishes)?;
    let mut spec = json!({
        "ociVersion": VERSION,
        "process": process(run, wishes, user, &capabilities)?,
        "root": { "path": root },
    });
    if wishes.read_only {
        spec["root"]["readonly"] = json!(true);
    }
    if let Some(hostname) = &wishes.hostname {
        spec["hostname"] = json!(hostname);
    }
    spec["mounts"] = mounts(run, wishes, volumes);
    let annotations = annotations(run, wishes);
    if !annotations.is_empty() {
        spec["annotations"] = Value::Object(annotations);
    }
    spec["linux"] = linux(run, wishes, host, &capabilities)?;
    Ok(spec)
}

fn process(
    run: &RunConfig,
    wishes: &Wishes,
    user: &User,
    capabilities: &[String],
) -> Result<Value, SpecError> {
    let mut args = match &wishes.entrypoint {
        Some(entrypoint) => entrypoint.clone(),
        None => run.entrypoint.clone(),
    };
    match (wishes.args.is_empty(), &wishes.entrypoint) {
        (false, _) => args.extend(wishes.args.clone()),
        // An entrypoint from outside can't take the image's CMD for its own (podman-run(1)).
        (true, Some(_)) => {}
        (true, None) => args.extend(run.cmd.clone()),
    }
    if args.is_empty() {
        return Err(SpecError::NoCommand);
    }
    let mut groups = vec![user.gid];
    groups.extend(user.groups.iter().filter(|group| **group != user.gid));
    let cwd = wishes.cwd.as_deref().unwrap_or(&run.cwd);
    let mut process = json!({
        "user": { "uid": user.uid, "gid": user.gid, "umask": 0o022, "additionalGids": groups },
        "args": args,
        "env": env(run, wishes),
        "cwd": if cwd.is_empty() { "/".to_owned() } else { absolute(cwd) },
        "capabilities": sets(capabilities, user.uid),
    });
    if wishes.terminal {
        process["terminal"] = json!(true);
    }
    if wishes.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    Ok(process)
}

fn absolute(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    }
}

/// Later ones win, and stand where the first of their name stood.
fn env(run: &RunConfig, wishes: &Wishes) -> Vec<String> {
    let mut all: Vec<String> = vec![PATH.into(), "container=pxrun".into()];
    if wishes.terminal {
        all.push("TERM=xterm".into());
    }
    if let Some(hostname) = &wishes.hostname {
        all.push(format!("HOSTNAME={hostname}"));
    }
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in run.env.iter().chain(&wishes.env) {
        match all.iter_mut().find(|known| name(known) == name(entry)) {
            Some(known) => known.clone_from(entry),
            None => all.push(entry.clone()),
        }
    }
    all
}

fn capabilities(wishes: &Wishes) -> Result<Vec<String>, SpecError> {
    let known = crate::spec::capabilities::KNOWN;
    let full = |name: &String| -> Result<String, SpecError> {
        let upper = name.to_ascii_uppercase();
        let full = match upper.as_str() {
            "ALL" => "ALL".to_owned(),
            name if name.starts_with("CAP_") => name.to_owned(),
            name => format!("CAP_{name}"),
        };
        let is_known = full == "ALL" || known.contains(&full.as_str());
        is_known
            .then_some(full)
            .ok_or_else(|| SpecError::Capability(name.clone()))
    };
    let add: Vec<String> = wishes.cap_add.iter().map(full).collect::<Result<_, _>>()?;
    let drop: Vec<String> = wishes.cap_drop.iter().map(full).collect::<Result<_, _>>()?;
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut caps: Vec<String> = match (all(&add), all(&drop)) {
        (true, _) => known.iter().map(ToString::to_string).collect(),
        (false, true) => Vec::new(),
        (false, false) => CAPABILITIES.map(String::from).to_vec(),
    };
    caps.extend(add.into_iter().filter(|name| name != "ALL"));
    caps.retain(|name| !drop.contains(name));
    caps.sort();
    caps.dedup();
    Ok(caps)
}

/// Root gets them all; another user only the bounding set, as podman has it.
fn sets(capabilities: &[String], uid: u32) -> Value {
    match uid {
        0 => json!({
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        }),
        _ => json!({ "bounding": capabilities }),
    }
}

fn mounts(run: &RunConfig, wishes: &Wishes, volumes: &[String]) -> Value {
    let mut mounts = vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            "nosuid,noexec,strictatime,mode=755,size=65536k",
        ),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            "nosuid,noexec,nodev,mode=1777,size=65536k",
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            "rprivate,nosuid,noexec,nodev,relatime,ro",
        ),
    ];
    if wishes.host_network {
        // The host's network is of no use without its names; the image's files stay as they are.
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            mounts.push(mount(file, "bind", file, "bind,rprivate,ro"));
        }
    }
    for (destination, source) in run.volumes.iter().zip(volumes) {
        let asked = wishes
            .binds
            .iter()
            .any(|bind| bind.destination == *destination);
        if !asked {
            mounts.push(mount(
                &absolute(destination),
                "bind",
                source,
                "rbind,rprivate,rw,nosuid,nodev",
            ));
        }
    }
    for bind in &wishes.binds {
        let mut options = vec!["rbind".to_owned(), "rprivate".to_owned()];
        options.extend(bind.options.clone());
        mounts.push(mount(
            &bind.destination,
            "bind",
            &bind.source,
            &options.join(","),
        ));
    }
    Value::Array(mounts)
}

fn mount(destination: &str, kind: &str, source: &str, options: &str) -> Value {
    let options: Vec<&str> = options.split(',').collect();
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

/// image-spec, conversion.md, "Annotation Fields": what the image says goes under these names, its
/// labels under their own, and win.
fn annotations(run: &RunConfig, wishes: &Wishes) -> Map<String, Value> {
    let mut all = Map::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            all.insert(key.to_owned(), json!(value));
        }
    };
    let standard = |name: &str| format!("org.opencontainers.image.{name}");
    put(&standard("os"), &run.os);
    put(&standard("architecture"), &run.arch);
    put(
        &standard("author"),
        run.author.as_deref().unwrap_or_default(),
    );
    put(
        &standard("created"),
        run.created.as_deref().unwrap_or_default(),
    );
    put(
        &standard("stopSignal"),
        run.stop_signal.as_deref().unwrap_or_default(),
    );
    put(&standard("exposedPorts"), &run.ports.join(","));
    put(IMAGE, run.image.as_deref().unwrap_or_default());
    put(DIGEST, run.digest.as_deref().unwrap_or_default());
    for (key, value) in &run.labels {
        // A label of an image must not give orders to this runtime or to others.
        if !is_order(key) {
            put(key, value);
        }
    }
    for (key, value) in &wishes.annotations {
        all.insert(key.clone(), json!(value));
    }
    all
}

/// Annotations that runtimes act upon: from whom made the image they would be a way to the host.
fn is_order(key: &str) -> bool {
    let orders = [
        "dev.pxrun.",
        "run.oci.",
        "io.podman.",
        "org.systemd.property.",
        "org.criu.",
        "org.freebsd.",
        "module.wasm.",
    ];
    key.is_empty() || orders.iter().any(|prefix| key.starts_with(prefix))
}

fn linux(
    run: &RunConfig,
    wishes: &Wishes,
    host: &HostInfo,
    capabilities: &[String],
) -> Result<Value, SpecError> {
    let mut namespaces = vec!["pid", "ipc", "uts", "mount"];
    if !wishes.host_network {
        namespaces.insert(1, "network");
    }
    if host.cgroup_v2 {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces.iter().map(|t| json!({ "type": t })).collect();
    let mut linux = json!({
        "resources": resources(wishes),
        "namespaces": namespaces,
        "maskedPaths": MASKED,
        "readonlyPaths": READ_ONLY,
    });
    if !wishes.host_network {
        linux["sysctl"] = json!({ "net.ipv4.ping_group_range": "0 0" });
    }
    let arch = match run.arch.as_str() {
        "" => super::select::Platform::host().arch,
        arch => arch.to_owned(),
    };
    match &wishes.filter {
        Filter::Builtin => linux["seccomp"] = profile::builtin(capabilities, &arch),
        Filter::Profile(value) => {
            let filter = profile::translate(value, capabilities, &arch, host.kernel);
            linux["seccomp"] = filter.ok_or(SpecError::Profile)?;
        }
        Filter::Unconfined => {}
    }
    Ok(linux)
}

fn resources(wishes: &Wishes) -> Value {
    /// Microseconds, the kernel's default period.
    const PERIOD: u64 = 100_000;
    let mut resources = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "pids": { "limit": wishes.pids.unwrap_or(PIDS) },
    });
    if let Some(bytes) = wishes.memory {
        resources["memory"] = json!({ "limit": bytes });
    }
    if let Some(cpus) = wishes.cpus {
        let quota = (cpus * PERIOD as f64).round() as i64;
        resources["cpu"] = json!({ "quota": quota, "period": PERIOD });
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{HostFacts, Validated};

    fn image() -> RunConfig {
        RunConfig {
            os: "linux".into(),
            arch: "amd64".into(),
            entrypoint: vec!["/e".into(), "-x".into()],
            cmd: vec!["c".into()],
            env: vec!["A=1".into(), "PATH=/p".into()],
            cwd: "srv".into(),
            stop_signal: Some("SIGINT".into()),
            labels: [
                ("l", "m"),
                ("run.oci.handler", "x"),
                ("dev.pxrun.backend", "y"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
            volumes: vec!["/data".into()],
            ..RunConfig::default()
        }
    }

    fn made(wishes: &Wishes) -> Value {
        let user = User {
            uid: 0,
            gid: 0,
            groups: vec![0, 7],
        };
        let host = HostInfo {
            cgroup_v2: true,
            kernel: (6, 1),
        };
        let spec = config_json(
            &image(),
            wishes,
            &user,
            &host,
            "rootfs",
            &["volumes/0".into()],
        );
        let spec = spec.unwrap();
        let facts = HostFacts {
            cgroup_v2: true,
            ..HostFacts::default()
        };
        let valid = Validated::new(spec, &facts).unwrap();
        assert_eq!(valid.warnings(), &[] as &[String]);
        valid.raw().clone()
    }

    #[test]
    fn an_image_becomes_a_valid_config() {
        let spec = made(&Wishes::default());
        let process = &spec["process"];
        assert_eq!(process["args"], json!(["/e", "-x", "c"]));
        assert_eq!(process["env"], json!(["PATH=/p", "container=pxrun", "A=1"]));
        assert_eq!(process["cwd"], "/srv");
        assert_eq!(process["user"]["additionalGids"], json!([0, 7]));
        assert_eq!(process["capabilities"]["effective"], json!(CAPABILITIES));
        let annotations = &spec["annotations"];
        assert_eq!(annotations["org.opencontainers.image.stopSignal"], "SIGINT");
        assert_eq!(annotations["l"], "m");
        assert!(annotations.get("run.oci.handler").is_none());
        assert!(annotations.get("dev.pxrun.backend").is_none());
        let mounts = spec["mounts"].as_array().unwrap();
        let volume = mounts.iter().find(|m| m["destination"] == "/data").unwrap();
        assert_eq!(volume["source"], "volumes/0");
    }

    #[test]
    fn wishes_win() {
        let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let spec = made(&Wishes {
            entrypoint: Some(strings(&["/own"])),
            env: strings(&["A=2", "B=3"]),
            cwd: Some("/w".into()),
            hostname: Some("web".into()),
            terminal: true,
            read_only: true,
            no_new_privileges: true,
            host_network: true,
            cap_add: strings(&["net_admin"]),
            cap_drop: strings(&["CAP_KILL"]),
            annotations: vec![("l".into(), "own".into())],
            binds: vec![Bind {
                source: "/x".into(),
                destination: "/data".into(),
                options: strings(&["ro"]),
            }],
            memory: Some(1 << 20),
            cpus: Some(1.5),
            pids: Some(-1),
            filter: Filter::Unconfined,
            ..Wishes::default()
        });
        assert_eq!(spec["process"]["args"], json!(["/own"]));
        let env = json!([
            "PATH=/p",
            "container=pxrun",
            "TERM=xterm",
            "HOSTNAME=web",
            "A=2",
            "B=3"
        ]);
        assert_eq!(spec["process"]["env"], env);
        let caps = spec["process"]["capabilities"]["bounding"]
            .as_array()
            .unwrap();
        assert!(caps.contains(&json!("CAP_NET_ADMIN")) && !caps.contains(&json!("CAP_KILL")));
        assert_eq!(spec["annotations"]["l"], "own");
        let binds: Vec<_> = spec["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|m| m["destination"] == "/data")
            .collect();
        assert_eq!(binds.len(), 1);
        assert_eq!(binds[0]["source"], "/x");
        assert_eq!(spec["linux"]["resources"]["cpu"]["quota"], 150_000);
        assert!(spec["linux"].get("seccomp").is_none());
        assert!(!spec["linux"]["namespaces"].to_string().contains("network"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let none = RunConfig::default();
        let make = |wishes: &Wishes| {
            config_json(
                &none,
                wishes,
                &User::default(),
                &HostInfo::default(),
                "rootfs",
                &[],
            )
        };
        assert_eq!(make(&Wishes::default()), Err(SpecError::NoCommand));
        let mut wishes = Wishes {
            args: vec!["a".into()],
            ..Wishes::default()
        };
        assert!(make(&wishes).is_ok());
        wishes.cap_add = vec!["fly".into()];
        assert_eq!(make(&wishes), Err(SpecError::Capability("fly".into())));
        wishes.cap_add.clear();
        wishes.filter = Filter::Profile(json!({}));
        assert_eq!(make(&wishes), Err(SpecError::Profile));
    }
}
