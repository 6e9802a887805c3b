//! `template`: make, list, prune.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context as _;
use serde_json::json;

use super::{Context, bundle, print_text};
use crate::backend::proxmox::clone;
use crate::cli::list::Format;
use crate::cli::template::{
    Kind, Place, TemplateCommand, TemplateCreate, TemplateList, TemplatePrune,
};
use crate::interrupt::Interrupt;
use crate::logging::timestamp;
use crate::state::StateError;
use crate::template::create::{self, Form, Job};
use crate::template::list::{Template, list};
use crate::template::{prune, storage};

pub fn run(context: &Context, command: TemplateCommand) -> anyhow::Result<()> {
    match command {
        TemplateCommand::Create(args) => make(*args),
        TemplateCommand::List(args) => print(context, &args),
        TemplateCommand::Prune(args) => clean(context, &args),
    }
}

fn make(args: TemplateCreate) -> anyhow::Result<()> {
    let interrupt = Interrupt::hold().context("hold signals back")?;
    let place = match (&args.output, directory(&args.place)) {
        (Some(file), _) => create::Place::File(file.clone()),
        (None, dir) => create::Place::Dir(dir?),
    };
    let templates = args.place.clone();
    let source = bundle::source(&args.from, || directory(&templates))?;
    let mounted = bundle::mounted(source, args.pct_dir.as_deref())?;
    let name = args.name.clone();
    let made = create::make(&Job {
        source: &mounted.source,
        files: bundle::files(&args.unpacking, &interrupt),
        place,
        name: name.or_else(|| mounted.name()),
        form: match args.kind {
            Kind::Vztmpl => Form::Vztmpl,
            Kind::Oci => Form::Oci,
        },
        level: args.level,
        existing: bundle::existing(args.force),
    })?;
    if made.sockets > 0 {
        tracing::warn!("left out {} sockets, which no archive holds", made.sockets);
    }
    print_text(&made.path.display().to_string())
}

/// Template guests; whether the rules find any.
fn clean_guests(context: &Context, rules: prune::Rules, yes: bool) -> anyhow::Result<bool> {
    let settings = &context.config()?.backend.proxmox;
    let now = SystemTime::now();
    let mut found = false;
    for template in clone::list(settings)? {
        let Some(reason) = template.doomed(rules, now) else {
            continue;
        };
        found = true;
        let doing = match yes {
            false => "would remove",
            true if clone::remove(settings, &template)? => "removed",
            true => "kept, as it is being cloned,",
        };
        print_text(&format!(
            "{doing} guest {} ({reason}, {})",
            template.vmid, template.image
        ))?;
    }
    Ok(found)
}

/// The directory that the arguments mean.
pub fn directory(place: &Place) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &place.dir {
        return Ok(dir.clone());
    }
    let path = &place.storage_config;
    let config = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        config => config.with_context(|| format!("read `{}`", path.display()))?,
    };
    Ok(storage::directory(&config, &place.storage)?)
}

fn print(context: &Context, args: &TemplateList) -> anyhow::Result<()> {
    let all = list(&directory(&args.place)?)?;
    let guests = clone::list(&context.config()?.backend.proxmox)?;
    if args.format == Format::Json {
        let all = all.iter().map(entry).chain(guests.iter().map(guest));
        return print_text(&json!(all.collect::<Vec<_>>()).to_string());
    }
    let mut lines = vec![format!(
        "{:<12} {:>12} {:<20} FILE",
        "DIGEST", "SIZE", "WRITTEN"
    )];
    lines.extend(all.iter().map(|template| {
        let written = timestamp(template.written);
        let written: String = written.chars().take(19).collect();
        format!(
            "{:<12} {:>12} {written:<20} {}",
            template.digest, template.size, template.file
        )
    }));
    lines.extend(guests.iter().map(|template| {
        let written = template.written.map(timestamp).unwrap_or_default();
        let written: String = written.chars().take(19).collect();
        let key: String = template.key.chars().take(12).collect();
        let clones = template.clones.len();
        format!(
            "{key:<12} {:>12} {written:<20} guest {} ({}, {clones} clones)",
            "-", template.vmid, template.image
        )
    }));
    print_text(&lines.join("\n"))
}

fn guest(template: &clone::Template) -> serde_json::Value {
    json!({
        "kind": "guest",
        "vmid": template.vmid,
        "volume": template.volume,
        "image": template.image,
        "clones": template.clones,
        "whole": template.whole,
        "written": template.written.map(timestamp),
    })
}

fn entry(template: &Template) -> serde_json::Value {
    json!({
        "file": template.file,
        "path": template.path,
        "kind": match template.form { Form::Vztmpl => "vztmpl", Form::Oci => "oci" },
        "image": template.run.image,
        "digest": template.run.digest,
        "size": template.size,
        "written": timestamp(template.written),
    })
}

fn clean(context: &Context, args: &TemplatePrune) -> anyhow::Result<()> {
    let rules = prune::Rules {
        older_than: args.older_than,
        unused: args.unused,
        dangling: args.dangling,
    };
    if rules == prune::Rules::default() {
        anyhow::bail!("say which: --older-than, --unused or --dangling");
    }
    let dir = directory(&args.place)?;
    let mut texts = prune::guests(&args.pve);
    for container in context.root.all()? {
        match container.load() {
            Ok(record) => texts.push(serde_json::to_string(&record)?),
            // Being made, or just deleted.
            Err(StateError::NoRecord(_) | StateError::NotExist) => {}
            // A record that can't be read must not make its template look unused.
            Err(error) => return Err(error.into()),
        }
    }
    let mut doomed = prune::choose(&list(&dir)?, rules, &texts, SystemTime::now());
    if rules.dangling {
        doomed.extend(prune::leftovers(&dir)?);
    }
    for one in &doomed {
        let doing = if args.yes { "removed" } else { "would remove" };
        if args.yes {
            prune::remove(one)?;
        }
        print_text(&format!(
            "{doing} {} ({}, {} bytes)",
            one.path.display(),
            one.reason,
            one.size
        ))?;
    }
    let guests = clean_guests(context, rules, args.yes)?;
    if !args.yes && (!doomed.is_empty() || guests) {
        print_text("nothing was removed: add --yes")?;
    }
    Ok(())
}
