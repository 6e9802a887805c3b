//! `list`: the containers under the root, as runc prints them.

use serde_json::json;

use super::{Context, print_text, status};
use crate::backend;
use crate::cli::{self, list::Format};
use crate::state::{Record, StateError, Status};

pub fn run(context: &Context, args: cli::List) -> anyhow::Result<()> {
    let found = containers(context)?;
    if args.quiet {
        let ids: Vec<&str> = found.iter().map(|(record, _)| record.id.as_str()).collect();
        return if ids.is_empty() {
            Ok(())
        } else {
            print_text(&ids.join("\n"))
        };
    }
    match args.format {
        Format::Json => {
            let list: Vec<_> = found.iter().map(|(r, s)| json_entry(r, *s)).collect();
            // runc prints `null` for none, from a nil slice: callers decode both alike.
            let text = if list.is_empty() {
                "null".into()
            } else {
                json!(list).to_string()
            };
            print_text(&text)
        }
        Format::Table => print_text(&table(&found)),
    }
}

/// Damaged and vanishing records are skipped with a warning: one of them must not hide the others.
fn containers(context: &Context) -> anyhow::Result<Vec<(Record, Status)>> {
    let mut found = Vec::new();
    for dir in context.root.all()? {
        let loaded = match dir.load() {
            // Being made, or just deleted.
            Err(StateError::NoRecord(_) | StateError::NotExist) => continue,
            loaded => loaded.map_err(anyhow::Error::from),
        };
        match loaded.and_then(|r| Ok((backend::by_name(&r.backend)?, r))) {
            Ok((backend, record)) => {
                let status = status(&dir, &record, backend);
                found.push((record, status));
            }
            Err(error) => tracing::warn!("container `{}`: {error:#}", dir.id()),
        }
    }
    Ok(found)
}

fn pid(record: &Record, status: Status) -> i32 {
    match (status, record.init) {
        (Status::Stopped, _) | (_, None) => 0,
        (_, Some(init)) => init.pid,
    }
}

fn owner(record: &Record) -> String {
    crate::users::host_name_of(record.uid)
}

fn json_entry(record: &Record, status: Status) -> serde_json::Value {
    let mut entry = json!({
        "ociVersion": crate::spec::OCI_VERSION,
        "id": record.id,
        "pid": pid(record, status),
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
    });
    if !record.annotations.is_empty() {
        entry["annotations"] = json!(record.annotations);
    }
    entry["owner"] = owner(record).into();
    entry["backend"] = record.backend.as_str().into();
    entry
}

/// Columns as wide as their longest entry and three blanks more, as Go's tabwriter makes them.
fn table(found: &[(Record, Status)]) -> String {
    let mut rows = vec![
        [
            "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER", "BACKEND",
        ]
        .map(str::to_owned),
    ];
    rows.extend(found.iter().map(|(record, status)| {
        [
            record.id.clone(),
            pid(record, *status).to_string(),
            status.to_string(),
            record.bundle.display().to_string(),
            record.created.clone(),
            owner(record),
            record.backend.clone(),
        ]
    }));
    let widths: Vec<usize> = (0..7)
        .map(|column| {
            rows.iter()
                .map(|row| row[column].len())
                .max()
                .unwrap_or(0)
                .max(9)
                + 3
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let last = row.len() - 1;
            let padded = row.iter().zip(&widths).take(last);
            let front: String = padded
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            front + &row[last]
        })
        .collect();
    lines.join("\n")
}
