//! `bundle`: make one, judge one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Context, template, validate};
use crate::archive::Limits;
use crate::assemble::{self, Files, Job};
use crate::bundle::Bundle;
use crate::cli::bundle::{BundleCommand, BundleCreate, Config, From, Unpacking};
use crate::cli::template::Place;
use crate::guest::Mounted;
use crate::host;
use crate::image::spec::{Bind, Filter, HostInfo, Wishes};
use crate::interrupt::Interrupt;
use crate::source::{self, Source};
use crate::staging::Existing;

/// Where containers-common puts podman's profile, and the administrator his own.
const PROFILES: [&str; 2] = [
    "/etc/containers/seccomp.json",
    "/usr/share/containers/seccomp.json",
];

pub fn run(context: &Context, command: BundleCommand) -> anyhow::Result<i32> {
    match command {
        BundleCommand::Create(args) => create(*args).map(|()| 0),
        BundleCommand::Validate(args) => validate::run(context, &args),
        BundleCommand::Remove(args) => remove(context, &args.bundle).map(|()| 0),
    }
}

fn create(args: BundleCreate) -> anyhow::Result<()> {
    let interrupt = Interrupt::hold().context("hold signals back")?;
    let place = Place {
        storage: args.storage.clone(),
        dir: None,
        storage_config: args.storage_config.clone(),
    };
    let source = source(&args.from, || template::directory(&place))?;
    let mounted = mounted(source, args.pct_dir.as_deref())?;
    let hostname = args.config.hostname.clone();
    let hostname = hostname.or_else(|| host_name(&args.bundle));
    let patch = args.config.patch.as_deref().map(crate::bundle::load_json);
    let made = assemble::make(Job {
        target: &args.bundle,
        source: &mounted.source,
        files: files(&args.unpacking, &interrupt),
        in_place: args.in_place,
        overlay: args.overlay,
        user: args.config.user.clone(),
        patch: patch.transpose()?,
        wishes: wishes(args.config, args.args, hostname)?,
        existing: existing(args.force),
        host: HostInfo {
            cgroup_v2: host::facts().cgroup_v2,
            kernel: host::kernel(),
        },
        facts: host::facts(),
    })?;
    for warning in &made.warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn remove(context: &Context, path: &Path) -> anyhow::Result<()> {
    let bundle = Bundle::load(path)?.path;
    for dir in context.root.all()? {
        let in_use = dir.load().is_ok_and(|record| record.bundle == bundle);
        anyhow::ensure!(
            !in_use,
            "remove bundle `{}`: container `{}` is made from it",
            bundle.display(),
            dir.id()
        );
    }
    assemble::remove(path)?;
    Ok(())
}

/// The source that the arguments name. A template's name without a slash is one in the storage's
/// directory.
pub fn source(
    from: &From,
    storage: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<Source> {
    Ok(match (&from.from, &from.from_template, &from.from_guest) {
        (Some(text), ..) => Source::parse(text)?,
        (_, Some(file), _) => {
            let in_storage = file.components().count() == 1 && !file.exists();
            let path = match in_storage {
                true => storage()?.join(file),
                false => file.clone(),
            };
            let text = path.to_str().context("name of the template")?;
            match Source::parse(text)? {
                Source::Dir(_) | Source::Bundle(_) => {
                    anyhow::bail!("template `{}` is a directory", path.display())
                }
                source => source,
            }
        }
        (_, _, Some(id)) => source::guest(id)?,
        _ => anyhow::bail!("no source"),
    })
}

/// A source that can be read, and the guest that is mounted for it.
pub struct Ready {
    pub source: Source,
    guest: Option<(u32, Mounted)>,
}

impl Ready {
    /// A name for a guest's files.
    pub fn name(&self) -> Option<String> {
        self.guest.as_ref().map(|(id, _)| format!("guest-{id}"))
    }
}

/// Mounts a guest; leaves all other sources as they are.
pub fn mounted(source: Source, pct: Option<&Path>) -> anyhow::Result<Ready> {
    let Source::Guest(id) = source else {
        return Ok(Ready {
            source,
            guest: None,
        });
    };
    let mounted = Mounted::new(id, pct)?;
    Ok(Ready {
        source: Source::Dir(mounted.path().to_path_buf()),
        guest: Some((id, mounted)),
    })
}

pub fn files<'a>(unpacking: &'a Unpacking, interrupt: &'a Interrupt) -> Files<'a> {
    Files {
        limits: Limits {
            bytes: u64::try_from(unpacking.max_size).unwrap_or(u64::MAX),
            entries: unpacking.max_files,
        },
        platform: unpacking.platform.as_ref(),
        interrupt,
        quiet: unpacking.quiet,
    }
}

pub fn existing(force: bool) -> Existing {
    match force {
        true => Existing::Replace,
        false => Existing::Refuse,
    }
}

/// The bundle's own name, where a host may have it.
fn host_name(bundle: &Path) -> Option<String> {
    let name = bundle.file_name()?.to_str()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (name.len() <= 63 && name.chars().all(fits) && !name.starts_with('-')).then(|| name.to_owned())
}

fn wishes(config: Config, args: Vec<String>, hostname: Option<String>) -> anyhow::Result<Wishes> {
    Ok(Wishes {
        entrypoint: config.entrypoint.map(|text| words(&text)),
        args,
        env: config.env,
        cwd: config.cwd,
        hostname,
        terminal: config.tty,
        read_only: config.read_only,
        no_new_privileges: config.no_new_privs,
        host_network: config.host_network,
        cap_add: config.cap_add,
        cap_drop: config.cap_drop,
        annotations: config.annotation,
        binds: config.volume.into_iter().map(bind).collect(),
        memory: config.memory,
        cpus: config.cpus,
        pids: config.pids_limit,
        filter: filter(config.seccomp.as_deref())?,
    })
}

fn bind((source, destination, options): (String, String, Vec<String>)) -> Bind {
    Bind {
        source,
        destination,
        options,
    }
}

/// A JSON array of words, or one word, as podman takes it.
fn words(text: &str) -> Vec<String> {
    match text.parse::<serde_json::Value>() {
        Ok(serde_json::Value::Array(list)) if list.iter().all(serde_json::Value::is_string) => {
            let words = list.iter().filter_map(serde_json::Value::as_str);
            words.map(ToOwned::to_owned).collect()
        }
        _ if text.is_empty() => Vec::new(),
        _ => vec![text.to_owned()],
    }
}

fn filter(asked: Option<&Path>) -> anyhow::Result<Filter> {
    if let Some(path) = asked {
        return match path.to_str() {
            Some("unconfined") => Ok(Filter::Unconfined),
            _ => Ok(Filter::Profile(crate::bundle::load_json(path)?)),
        };
    }
    let host = PROFILES.iter().map(Path::new).find(|path| path.exists());
    match host {
        Some(path) => Ok(Filter::Profile(crate::bundle::load_json(path)?)),
        None => Ok(Filter::Builtin),
    }
}
