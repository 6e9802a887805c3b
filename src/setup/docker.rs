//! The runtime in Docker's daemon.json, whose other settings and order stay.
//! Text in, text out: it must not touch files.

use serde::Serialize as _;
use serde_json::{Map, Value};

use super::{NAME, SetupError, Target, Wanted};

/// The file.
pub const TARGET: Target = Target {
    file: "/etc/docker/daemon.json",
    beside: &[],
    present,
    apply,
    remove,
    next: &[
        "systemctl reload docker",
        "docker run --rm --runtime pxrun alpine echo hello",
    ],
};

fn apply(now: Option<&str>, wanted: &Wanted<'_>) -> Result<String, SetupError> {
    let mut settings = parsed(now.unwrap_or_default())?;
    let runtimes = object(&mut settings, "runtimes", "runtimes")?;
    let runtime = object(runtimes, NAME, "runtimes.pxrun")?;
    let path = Value::from(wanted.binary.to_string_lossy());
    if runtime.get("path") == Some(&path) {
        return Ok(now.unwrap_or_default().to_owned());
    }
    runtime.insert("path".into(), path);
    printed(&settings, now.unwrap_or_default())
}

fn parsed(text: &str) -> Result<Map<String, Value>, SetupError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text)? {
        Value::Object(map) => Ok(map),
        _ => Err(shape("the whole file")),
    }
}

fn shape(key: &str) -> SetupError {
    SetupError::Shape {
        key: key.to_owned(),
        wanted: "object",
    }
}

fn object<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
    path: &str,
) -> Result<&'a mut Map<String, Value>, SetupError> {
    let value = parent.entry(key).or_insert_with(|| Map::new().into());
    value.as_object_mut().ok_or_else(|| shape(path))
}

/// The settings, indented as the old text was; four blanks if that tells nothing.
fn printed(settings: &Map<String, Value>, old: &str) -> Result<String, SetupError> {
    let blank = |c: char| c == ' ' || c == '\t';
    let indents = old
        .lines()
        .map(|l| &l[..l.len() - l.trim_start_matches(blank).len()]);
    let indent = indents
        .into_iter()
        .find(|i| !i.is_empty())
        .unwrap_or("    ");
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut out = Vec::new();
    settings.serialize(&mut serde_json::Serializer::with_formatter(
        &mut out, formatter,
    ))?;
    out.push(b'\n');
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn present(text: &str) -> bool {
    let find = |settings: Map<String, Value>| settings.get("runtimes")?.get(NAME).map(|_| ());
    parsed(text).is_ok_and(|settings| find(settings).is_some())
}

fn remove(text: &str) -> Result<Option<String>, SetupError> {
    let mut settings = parsed(text)?;
    let runtimes = object(&mut settings, "runtimes", "runtimes")?;
    runtimes.shift_remove(NAME);
    if runtimes.is_empty() {
        settings.shift_remove("runtimes");
    }
    match settings.is_empty() {
        true => Ok(None),
        false => printed(&settings, text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn wanted() -> Wanted<'static> {
        Wanted {
            binary: Path::new("/usr/bin/pxrun"),
            others: &[],
        }
    }

    #[test]
    fn order_indentation_and_other_settings_stay() {
        let old = "{\n  \"storage-driver\": \"zfs\",\n  \"runtimes\": {\n    \"crun\": {\n      \"path\": \"crun\"\n    }\n  },\n  \"data-root\": \"/srv\"\n}\n";
        let new = apply(Some(old), &wanted()).unwrap();
        let want = "{\n  \"storage-driver\": \"zfs\",\n  \"runtimes\": {\n    \"crun\": {\n      \"path\": \"crun\"\n    },\n    \"pxrun\": {\n      \"path\": \"/usr/bin/pxrun\"\n    }\n  },\n  \"data-root\": \"/srv\"\n}\n";
        assert_eq!(new, want);
        assert_eq!(apply(Some(&new), &wanted()).unwrap(), new);
        assert_eq!(remove(&new).unwrap().as_deref(), Some(old));
    }

    #[test]
    fn a_new_or_empty_file() {
        for old in [None, Some(""), Some("\n"), Some("{}")] {
            let new = apply(old, &wanted()).unwrap();
            assert!(present(&new), "{new}");
            assert_eq!(remove(&new).unwrap(), None);
        }
    }

    #[test]
    fn arguments_added_by_hand_stay() {
        let old = r#"{"runtimes":{"pxrun":{"path":"/old","runtimeArgs":["--debug"]}}}"#;
        let new = apply(Some(old), &wanted()).unwrap();
        assert!(new.contains("--debug") && new.contains("/usr/bin/pxrun") && !new.contains("/old"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let rows = [
            ("[]", "`the whole file` is no object"),
            ("{\"runtimes\": []}", "`runtimes` is no object"),
            (
                "{\"runtimes\": {\"pxrun\": 1}}",
                "`runtimes.pxrun` is no object",
            ),
            ("{\"a\": 1,}", "not understood"),
            ("// comment\n{}", "not understood"),
        ];
        for (text, why) in rows {
            let error = apply(Some(text), &wanted()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!present(text) || text.contains("pxrun"));
        }
    }
}
