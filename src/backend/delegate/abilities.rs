//! What another runtime can do: asked once a program, kept beside the containers. An upgraded
//! program is asked anew. It must not judge whether that is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DelegateError;
use super::program::{Runtime, SEARCH};
use crate::state::{Root, write_atomically};

/// Commands whose options are asked for; the empty one stands for what comes before them.
const VERBS: [&str; 16] = [
    "",
    "create",
    "start",
    "state",
    "kill",
    "delete",
    "run",
    "exec",
    "ps",
    "list",
    "pause",
    "resume",
    "update",
    "events",
    "checkpoint",
    "restore",
];

/// What a program said about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Abilities {
    /// Which file it was.
    file: File,
    /// Its `--version`.
    pub version: String,
    /// Its `features`, if it has that command.
    pub features: Value,
    /// The options of each command that it has.
    options: BTreeMap<String, BTreeSet<String>>,
}

/// What tells one program from its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    path: PathBuf,
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl File {
    fn of(path: &Path) -> std::io::Result<File> {
        let meta = std::fs::metadata(path)?;
        Ok(File {
            path: path.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
            changed: (meta.ctime(), meta.ctime_nsec()),
            size: meta.size(),
        })
    }
}

impl Abilities {
    /// What the runtime can do, from the notes if it is still the same program.
    ///
    /// # Errors
    /// The program has gone, or doesn't answer.
    pub fn of(runtime: &Runtime, root: &Root) -> Result<Abilities, DelegateError> {
        let file =
            File::of(&runtime.program).map_err(|cause| DelegateError::from_exec(runtime, cause))?;
        let notes = root
            .path()
            .join("@delegates")
            .join(format!("{}.json", runtime.name));
        let kept = std::fs::read(&notes).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Abilities>(&bytes).ok());
        if let Some(kept) = kept.filter(|kept| kept.file == file) {
            return Ok(kept);
        }
        let asked = ask(runtime, file)?;
        // Without notes the program is asked each time: slower, and as right.
        if let Err(error) = keep(&notes, &asked) {
            tracing::debug!("keep what `{}` can do: {error}", runtime.name);
        }
        Ok(asked)
    }

    /// What a program might have said.
    #[cfg(test)]
    pub fn told(version: &str, features: Value) -> Abilities {
        Abilities {
            file: File {
                path: PathBuf::new(),
                device: 0,
                inode: 0,
                changed: (0, 0),
                size: 0,
            },
            version: version.to_owned(),
            features,
            options: BTreeMap::new(),
        }
    }

    /// Whether it has that command.
    pub fn has(&self, verb: &str) -> bool {
        self.options.contains_key(verb)
    }

    /// Whether the command has that option.
    pub fn knows(&self, verb: &str, option: &str) -> bool {
        self.options
            .get(verb)
            .is_some_and(|all| all.contains(option))
    }

    /// The first line of its version.
    pub fn version_line(&self) -> &str {
        self.version.lines().next().unwrap_or_default()
    }
}

fn keep(notes: &Path, asked: &Abilities) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(dir) = notes.parent() {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(dir)?;
    }
    write_atomically(notes, &serde_json::to_vec(asked)?, 0o600)
}

fn ask(runtime: &Runtime, file: File) -> Result<Abilities, DelegateError> {
    let version = answer(runtime, &["--version"])?.unwrap_or_default();
    let features = answer(runtime, &["features"])?.unwrap_or_default();
    let mut options = BTreeMap::new();
    for verb in VERBS {
        let words: Vec<&str> = [verb, "--help"]
            .into_iter()
            .filter(|w| !w.is_empty())
            .collect();
        if let Some(help) = answer(runtime, &words)? {
            options.insert(verb.to_owned(), options_in(&help));
        }
    }
    Ok(Abilities {
        file,
        version,
        features: serde_json::from_str(&features).unwrap_or(Value::Null),
        options,
    })
}

/// Standard output of a call that succeeds.
fn answer(runtime: &Runtime, words: &[&str]) -> Result<Option<String>, DelegateError> {
    let mut command = Command::new(&runtime.program);
    command
        .args(words)
        .env_clear()
        .env("PATH", SEARCH.join(":"))
        .envs(&runtime.env);
    let ended = super::within(runtime, &words.join(" "), &mut command, super::QUESTION)?;
    let text = String::from_utf8_lossy(&ended.out).into_owned();
    Ok((ended.code == Some(0)).then_some(text))
}

/// Every `--word` of a help text.
pub fn options_in(help: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    help.split("--")
        .skip(1)
        .map(|rest| {
            rest.split(|c| !is_name(c))
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .filter(|name| name.len() > 1)
        .collect()
}
