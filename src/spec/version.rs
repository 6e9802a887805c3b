//! `ociVersion`: which documents are understood at all.
//! It must not look at any other field.

use serde_json::Value;

use super::report::{Report, show};

/// Oldest and newest version of the OCI runtime spec whose fields are understood.
pub const MIN: &str = "1.0.0";
pub const MAX: &str = "1.3.0";

/// config.md, "Specification version": SemVer 2.0.0. Any 1.x is read, a newer one too: minor
/// versions only add. Release candidates of 1.0.0 have its fields.
pub fn check(config: &Value, report: &mut Report) {
    let Some(text) = config.get("ociVersion").and_then(Value::as_str) else {
        return;
    };
    let expected = match major(text) {
        Some(1) => return,
        Some(_) => "a version 1.x",
        None => "a version such as `1.2.0` (SemVer 2.0.0)",
    };
    report.bad("ociVersion", &show(&Value::from(text)), expected);
}

/// The major version of a well-formed SemVer 2.0.0 text.
fn major(text: &str) -> Option<u64> {
    let (rest, build) = cut(text, '+');
    let (core, pre) = cut(rest, '-');
    let mut numbers = core.split('.').map(number);
    let major = numbers.next()??;
    let well_formed = numbers.next()?.is_some()
        && numbers.next()?.is_some()
        && numbers.next().is_none()
        && pre.is_none_or(|pre| {
            pre.split('.')
                .all(|id| identifier(id) && !padded_number(id))
        })
        && build.is_none_or(|build| build.split('.').all(identifier));
    well_formed.then_some(major)
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((left, right)) => (left, Some(right)),
        None => (text, None),
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (digits && !padded_number(text)).then(|| text.parse().ok())?
}

fn padded_number(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

fn identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_semver() {
        let table = [
            ("1.0.0", Some(1)),
            ("1.0.0-rc5", Some(1)),
            ("1.0.2-dev", Some(1)),
            ("1.2.0+dev.1-x", Some(1)),
            ("1.99.3", Some(1)),
            ("1.0.0-rc.1+b", Some(1)),
            ("2.0.0", Some(2)),
            ("0.5.0-dev", Some(0)),
            ("1.0", None),
            ("1", None),
            ("", None),
            ("1.0.0.0", None),
            ("v1.0.0", None),
            ("1.0.0-", None),
            ("1.0.0-01", None),
            ("1.0.0-0a", Some(1)),
            ("1.0.0+", None),
            ("01.0.0", None),
            ("1.-1.0", None),
            ("1.0.x", None),
            ("99999999999999999999.0.0", None),
        ];
        for (text, expected) in table {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
