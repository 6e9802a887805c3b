//! `doctor`: whether this host has what the configuration needs, and what is left lying about.

use super::{Container, Context, print_json, print_text};
use crate::backend;
use crate::cli;
use crate::config::Config;
use crate::doctor::{self, BackendReport, Finding, Leftover, Report, Verdict};
use crate::state::{ContainerDir, StateError, Status};

/// The exit code: 0 when everything that the configuration needs is there.
pub fn run(context: &Context, args: cli::Doctor) -> anyhow::Result<i32> {
    let (configuration, config) = configuration(context);
    let report = Report {
        host: doctor::host(),
        backends: backends(context, &config),
        configuration,
        leftovers: leftovers(context)?,
    };
    match args.json {
        true => print_json(&serde_json::to_value(&report)?)?,
        false => print_text(&report.to_string())?,
    }
    Ok(i32::from(!report.is_good()))
}

/// A file that can't be used is a finding, and the rest is looked at with the defaults.
fn configuration(context: &Context) -> (Vec<Finding>, Config) {
    let path = context.source.path();
    match (context.config(), context.source.text()) {
        (Err(error), _) => {
            let bad = Finding::new("file", Verdict::Bad, format!("{error:#}"));
            (vec![bad], Config::default())
        }
        (Ok(config), Ok(Some(_))) => {
            let text = format!("`{}`: {} rules", path.display(), config.rule.len());
            let mut all = vec![Finding::new("file", Verdict::Good, text)];
            all.extend(doctor::file_rights(path));
            (all, config.clone())
        }
        (Ok(config), _) => {
            let text = format!("`{}` is absent: the defaults hold", path.display());
            let absent = Finding::new("file", Verdict::Good, text);
            (vec![absent], config.clone())
        }
    }
}

fn backends(context: &Context, config: &Config) -> Vec<BackendReport> {
    let own = backend::of_this_host(&config.backend);
    let default = config.default.backend.as_deref().unwrap_or(own);
    let mut names: Vec<&str> = config.named_backends().collect();
    names.extend([backend::embedded::NAME, own, default]);
    names.sort_unstable();
    names.dedup();
    let is_needed = |name: &str| {
        let strict = config.rule.iter().filter(|rule| !rule.fallback);
        name == default || strict.into_iter().any(|rule| rule.backend == name)
    };
    let report = |name: &str| {
        let ability = backend::ability(name, &config.backend, &context.root);
        BackendReport {
            name: name.to_owned(),
            needed: is_needed(name),
            version: backend::version(name, &config.backend, &context.root),
            program: backend::program(name, &config.backend, &context.root),
            unusable: ability.unusable,
            lacks: ability.lacks,
            findings: backend::findings(name, &config.backend),
        }
    };
    names.into_iter().map(report).collect()
}

fn leftovers(context: &Context) -> anyhow::Result<Vec<Leftover>> {
    let mut all = Vec::new();
    let root = context.root.path();
    let dirs = context.root.all()?;
    for dir in &dirs {
        all.extend(of_record(context, dir));
    }
    let ids: Vec<&str> = dirs.iter().map(ContainerDir::id).collect();
    all.extend(doctor::stray_mounts(root, &ids));
    let parent = super::create::cgroup(context, "x", None)?;
    let parent = parent.path().and_then(std::path::Path::parent);
    all.extend(
        parent
            .iter()
            .flat_map(|parent| doctor::stray_cgroups(parent, &ids)),
    );
    Ok(all)
}

/// A record that nothing stands behind, with the command that takes it away.
fn of_record(context: &Context, dir: &ContainerDir) -> Option<Leftover> {
    let id = dir.id();
    let root = context.root.path().display();
    let delete = format!("pxrun --root {root} delete --force {id}");
    let what = match dir.load() {
        Err(StateError::NotExist) => return None,
        Err(error) => format!("container `{id}`: {error}"),
        Ok(record) => {
            let backend = match backend::by_name(&record.backend) {
                Ok(backend) => backend,
                Err(error) => {
                    return Some(Leftover::new(format!("container `{id}`: {error}"), delete));
                }
            };
            let container = Container {
                dir: dir.clone(),
                record,
                backend,
            };
            if container.status() != Status::Stopped {
                return None;
            }
            match container.dir.is_ready(&container.record) {
                true => format!("container `{id}` has stopped and was not deleted"),
                false => format!("container `{id}` is half made: its `create` has died"),
            }
        }
    };
    Some(Leftover::new(what, delete))
}
