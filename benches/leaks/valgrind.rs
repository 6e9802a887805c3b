//! valgrind over the commands that it can follow: those that make a container use system calls that
//! it doesn't know (fsopen, 430, in Debian 12's). Of a static program it sees too little. It must not judge what the commands print.

use std::process::{Command, Stdio};

use crate::support::{Caller, Result};

/// What valgrind says of one command.
#[derive(Debug)]
pub struct Verdict {
    command: String,
    /// Blocks that were allocated. None at all would mean that valgrind didn't see the allocator.
    blocks: u64,
    /// Bytes that nothing points at any more when the process ends.
    lost: u64,
    /// Reads and writes that went wrong.
    errors: u64,
}

impl Verdict {
    /// Cells of a table.
    pub fn row(&self) -> Vec<String> {
        let numbers = [self.blocks, self.lost, self.errors].map(|n| n.to_string());
        std::iter::once(self.command.clone())
            .chain(numbers)
            .collect()
    }

    /// Nothing lost, nothing wrong, and something seen.
    pub fn is_clean(&self) -> bool {
        self.blocks > 0 && self.lost == 0 && self.errors == 0
    }
}

/// Runs commands on the created container `id`; the last one ends it.
///
/// # Errors
/// valgrind is missing, or a command fails under it.
pub fn check(caller: &Caller, id: &str) -> Result<Vec<Verdict>> {
    let commands: [&[&str]; 8] = [
        &["--version"],
        &["features"],
        &["spec", "--bundle", "{place}"],
        &["list"],
        &["state", id],
        &["ps", "--format", "json", id],
        &["events", "--stats", id],
        &["start", id],
    ];
    commands.iter().map(|args| one(caller, args)).collect()
}

fn one(caller: &Caller, args: &[&str]) -> Result<Verdict> {
    let place = tempfile::tempdir()?;
    let args = args.iter().map(|arg| match *arg {
        "{place}" => place.path().to_string_lossy().into_owned(),
        other => other.to_owned(),
    });
    let args: Vec<String> = args.collect();
    let mut command = Command::new("/usr/bin/valgrind");
    command
        .args(["--leak-check=full", "--show-leak-kinds=definite"])
        .arg(&caller.path)
        .arg("--root")
        .arg(&caller.root)
        .args(&args)
        .stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("valgrind: {error}: hack/test-deps installs it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?}: {}: {said}", output.status).into());
    }
    Ok(Verdict {
        command: format!("`{}`", args.first().map_or("", String::as_str)),
        blocks: number(&said, "total heap usage:").ok_or("valgrind says nothing of the heap")?,
        lost: number(&said, "definitely lost:").unwrap_or(0),
        errors: number(&said, "ERROR SUMMARY:").ok_or("valgrind gives no summary")?,
    })
}

/// The first number after `label`, which has commas between the thousands.
fn number(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    let word = rest.split_whitespace().next()?;
    word.replace(',', "").parse().ok()
}
