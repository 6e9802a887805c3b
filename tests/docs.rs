//! The commands of README.md and docs/ are typed as they stand there, and what is shown of their
//! output is compared. Each file is one session in a place of its own: nothing of the machine's
//! `/etc`, `/usr`, `/var`, `/root`, `/opt`, `/srv` and `/run` is touched.
//!
//! | fence | meaning |
//! |---|---|
//! | `console` | lines that begin with `$ ` or `# ` are commands, `\` goes on; the others are their output |
//! | `console fails` | each command ends with another status than 0 |
//! | `console not-here: REASON` | not typed; the reason is printed |
//! | `sh` | not allowed: nobody would try it |
//!
//! In an output `…` stands for the rest of a word or line, and alone in a line for any lines. A command
//! without output after it has to succeed, whatever it prints.

mod common;

/// How the documents are read and their commands typed.
mod docs {
    pub mod fences;
    pub mod picture;
    pub mod session;
}

use std::path::{Path, PathBuf};

use docs::fences::{Block, Kind, blocks};
use docs::session::Session;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and every guide.
fn documents() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("docs")).expect("read docs/");
    let paths = entries.map(|entry| entry.expect("read docs/").path());
    let mut paths: Vec<_> = paths
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .collect();
    paths.push(root().join("README.md"));
    paths.sort();
    paths
}

fn read(path: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(path).expect("read the document");
    blocks(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn commands_do_what_the_documents_say() {
    let mut wrong = Vec::new();
    let (mut tried, mut skipped) = (0, 0);
    for path in documents() {
        let blocks = read(&path);
        let name = path.strip_prefix(root()).expect("below the root").display();
        for block in &blocks {
            if let Kind::NotHere(reason) = &block.kind {
                println!("NOT RUN HERE: {name}:{}: {reason}", block.line);
                skipped += block.commands.len();
            }
        }
        let typed: Vec<_> = blocks
            .iter()
            .filter(|b| !matches!(b.kind, Kind::NotHere(_)))
            .collect();
        if typed.is_empty() {
            continue;
        }
        tried += typed.iter().map(|b| b.commands.len()).sum::<usize>();
        let faults = Session::new().type_all(&typed);
        wrong.extend(faults.into_iter().map(|fault| format!("{name}:{fault}")));
    }
    println!("{tried} commands typed, {skipped} not run here");
    assert!(
        tried > 20,
        "only {tried} commands found: are the fences read at all?"
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Links between the documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    let link = regex::Regex::new(r"\]\(([^)#\s]+)(#[^)]*)?\)").expect("a regular expression");
    let mut dead = Vec::new();
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("read the document");
        for found in link.captures_iter(&text) {
            let target = &found[1];
            let there = || path.parent().is_some_and(|dir| dir.join(target).exists());
            if !target.contains("://") && !there() {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// Draws docs/picture.svg from what the commands of docs/picture.md print; `make picture` calls it.
#[test]
#[ignore = "writes into the repository"]
fn picture() {
    let blocks = read(&root().join("docs/picture.md"));
    let session = Session::new();
    let faults = session.type_all(&blocks.iter().collect::<Vec<_>>());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let commands = blocks.iter().flat_map(|b| &b.commands);
    let typed = commands.map(|c| (c.text.clone(), session.printed(c).expect("it was typed").0));
    let svg = docs::picture::draw(&typed.collect::<Vec<_>>());
    std::fs::write(root().join("docs/picture.svg"), svg).expect("write the picture");
}
