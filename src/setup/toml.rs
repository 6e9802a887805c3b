//! What the TOML files of callers have in common: tables by path, and drop-ins that are ours alone.
//! Text in, text out: it must not touch files.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, TableLike};

use super::SetupError;

/// First words of a drop-in that is ours.
const MARK: &str = "# Written by `pxrun setup ";

/// A path as TOML and the callers' Go code can hold it: text.
pub fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The table that the keys lead to, made where it is missing.
pub fn table<'a>(root: &'a mut Table, keys: &[&str]) -> Result<&'a mut dyn TableLike, SetupError> {
    let mut table: &mut dyn TableLike = root;
    for (depth, key) in keys.iter().enumerate() {
        let last = depth + 1 == keys.len();
        let item = table.entry(key).or_insert_with(|| new_table(!last));
        table = item.as_table_like_mut().ok_or_else(|| SetupError::Shape {
            key: keys[..=depth].join("."),
            wanted: "table",
        })?;
    }
    Ok(table)
}

/// A table; one that only holds others has no header of its own.
fn new_table(implicit: bool) -> Item {
    let mut table = Table::new();
    table.set_implicit(implicit);
    Item::Table(table)
}

/// The text of a drop-in.
pub fn drop_in(caller: &str, note: &str, document: &DocumentMut) -> String {
    let mut text = format!("{MARK}{caller}`; `pxrun setup {caller} --undo` takes it away.\n");
    if !note.is_empty() {
        text += &format!("# {note}\n");
    }
    text + "\n" + document.to_string().trim_start()
}

/// Whether a drop-in is ours.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Refuses a drop-in that somebody else wrote.
pub fn ours_or_none(text: Option<&str>) -> Result<(), SetupError> {
    match text {
        Some(text) if !is_ours(text) => Err(SetupError::NotOurs),
        _ => Ok(()),
    }
}

/// Nothing is left of a drop-in that is ours.
pub fn remove_ours(text: &str) -> Result<Option<String>, SetupError> {
    ours_or_none(Some(text)).map(|()| None)
}
