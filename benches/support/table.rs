//! Markdown tables, and their place between two markers of a page.
//! It must not know what the cells mean.

use std::fmt::Write as _;
use std::path::Path;

use super::Result;

/// One table: a heading for each column, then rows of as many cells.
pub fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = format!(
        "| {} |\n|{}|\n",
        head.join(" | "),
        vec!["---"; head.len()].join("|")
    );
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

/// Puts `text` between the lines `<!-- NAME:begin … -->` and `<!-- NAME:end -->` of a page.
///
/// # Errors
/// The page lacks the markers, or can't be read or written.
pub fn replace_between(page: &Path, name: &str, text: &str) -> Result<()> {
    let old = std::fs::read_to_string(page)?;
    let lacks = || format!("{}: no `<!-- {name}:begin -->` and `:end`", page.display());
    let begin = old.find(&format!("<!-- {name}:begin")).ok_or_else(lacks)?;
    let begin = begin + old[begin..].find('\n').ok_or_else(lacks)? + 1;
    let end = old.find(&format!("<!-- {name}:end")).ok_or_else(lacks)?;
    let (before, after) = (old.get(..begin), old.get(end..));
    match (before, after) {
        (Some(before), Some(after)) if begin <= end => {
            Ok(std::fs::write(page, format!("{before}{text}{after}"))?)
        }
        _ => Err(lacks().into()),
    }
}
