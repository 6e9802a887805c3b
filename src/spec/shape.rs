//! The types of a document as data: a section says its fields once, and a walk over the JSON
//! names the path of whatever has another type. It must not know rules that span several fields.

use serde_json::Value;

use super::report::{Report, show};

/// What a place in the document must hold.
pub enum Shape {
    Bool,
    /// A string without NUL: it may reach a system call.
    Text,
    /// Any string: it never leaves the runtime's own memory and files.
    FreeText,
    /// A string that is not empty and has no NUL.
    Name,
    /// A path from `/` on, without NUL.
    AbsolutePath,
    /// An integer in a range; `what` says what it counts, for the error message.
    Int {
        min: i128,
        max: i128,
        what: &'static str,
    },
    /// One of the names; `what` names the kind, for the error message.
    OneOf {
        names: &'static [&'static str],
        what: &'static str,
    },
    List(&'static Shape),
    /// Keys chosen by the writer, all values alike.
    Map(&'static Shape),
    Object(&'static [Field]),
}

/// A member of an object.
pub struct Field {
    name: &'static str,
    shape: &'static Shape,
    required: bool,
    blank_is_absent: bool,
}

/// A member that may be left out.
pub const fn opt(name: &'static str, shape: &'static Shape) -> Field {
    Field {
        name,
        shape,
        required: false,
        blank_is_absent: false,
    }
}

/// A member that must be there.
pub const fn req(name: &'static str, shape: &'static Shape) -> Field {
    Field {
        name,
        shape,
        required: true,
        blank_is_absent: false,
    }
}

/// A member that may be left out, where `""` means the same: Go's zero value.
pub const fn blank(name: &'static str, shape: &'static Shape) -> Field {
    Field {
        name,
        shape,
        required: false,
        blank_is_absent: true,
    }
}

const fn int(min: i128, max: i128, what: &'static str) -> Shape {
    Shape::Int { min, max, what }
}

pub const U32: Shape = int(0, u32::MAX as i128, "a number from 0 to 4294967295");
pub const U64: Shape = int(0, u64::MAX as i128, "a number from 0 on");
pub const I32: Shape = int(i32::MIN as i128, i32::MAX as i128, "a whole number");
pub const I64: Shape = int(i64::MIN as i128, i64::MAX as i128, "a whole number");
/// User and group ids without `(uid_t)-1`, which setresuid(2) takes for "leave as it is".
pub const ID: Shape = int(0, u32::MAX as i128 - 1, "an id from 0 to 4294967294");
pub const TEXTS: Shape = Shape::List(&Shape::Text);
pub const PATHS: Shape = Shape::List(&Shape::AbsolutePath);

impl Shape {
    /// What the error message asks for.
    pub fn expected(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Text | Self::FreeText => "a string".into(),
            Self::Name => "a name".into(),
            Self::AbsolutePath => "an absolute path".into(),
            Self::Int { what, .. } => (*what).into(),
            Self::OneOf { names, what } if names.len() > 12 => (*what).into(),
            Self::OneOf { names, what } => format!("{what}: {}", names.join(", ")),
            Self::List(_) => "a list".into(),
            Self::Map(_) | Self::Object(_) => "an object".into(),
        }
    }
}

/// Checks `value` against `shape` and takes out of it what the typed form has no use for: `null`
/// members (Go writes its nil lists and maps so), blank strings that mean absence, and members
/// that the shape does not name (an unknown field is no error; config.md, "Extensibility").
pub fn settle(value: &mut Value, shape: &Shape, path: &mut String, report: &mut Report) {
    let fits = match (shape, &mut *value) {
        (Shape::Bool, Value::Bool(_)) | (Shape::FreeText, Value::String(_)) => true,
        (Shape::Text, Value::String(text)) => no_nul(text, path, report),
        (Shape::Name, Value::String(text)) => no_nul(text, path, report) && !text.is_empty(),
        (Shape::AbsolutePath, Value::String(text)) => {
            no_nul(text, path, report) && text.starts_with('/')
        }
        (Shape::Int { min, max, .. }, value) => {
            integer(value).is_some_and(|number| (*min..=*max).contains(&number))
        }
        (Shape::OneOf { names, .. }, Value::String(text)) => names.contains(&text.as_str()),
        (Shape::List(item), Value::Array(items)) => {
            for (index, value) in items.iter_mut().enumerate() {
                within(path, &format!("[{index}]"), |path| {
                    settle(value, item, path, report);
                });
            }
            true
        }
        (Shape::Map(item), Value::Object(members)) => {
            members.retain(|_, value| !value.is_null());
            for (key, value) in members.iter_mut() {
                let step = format!("[{}]", show(&Value::from(key.as_str())));
                within(path, &step, |path| settle(value, item, path, report));
            }
            true
        }
        (Shape::Object(fields), Value::Object(members)) => {
            members.retain(|name, value| {
                fields
                    .iter()
                    .any(|field| field.name == name && field.keeps(value))
            });
            for field in *fields {
                let step = match path.is_empty() {
                    true => field.name.to_owned(),
                    false => format!(".{}", field.name),
                };
                within(path, &step, |path| match members.get_mut(field.name) {
                    Some(value) => settle(value, field.shape, path, report),
                    None if field.required => report.missing(path, &field.shape.expected()),
                    None => {}
                });
            }
            true
        }
        _ => false,
    };
    if !fits {
        report.bad(path, &show(value), &shape.expected());
    }
}

impl Field {
    fn keeps(&self, value: &Value) -> bool {
        !(value.is_null() || self.blank_is_absent && value == "")
    }
}

/// Reports a NUL itself and answers true then, so that it is not reported twice.
fn no_nul(text: &str, path: &str, report: &mut Report) -> bool {
    if text.contains('\0') {
        report.bad(path, &show(&Value::from(text)), "no NUL byte");
    }
    true
}

fn integer(value: &Value) -> Option<i128> {
    let signed = value.as_i64().map(i128::from);
    signed.or_else(|| value.as_u64().map(i128::from))
}

fn within(path: &mut String, step: &str, then: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(step);
    then(path);
    path.truncate(length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const U16: Shape = int(0, u16::MAX as i128, "a number from 0 to 65535");
    const TREE: Shape = Shape::Object(&[
        req("name", &Shape::Name),
        opt("list", &Shape::List(&U16)),
        opt("map", &Shape::Map(&Shape::Bool)),
        blank("path", &Shape::AbsolutePath),
        opt(
            "mode",
            &Shape::OneOf {
                names: &["A", "B"],
                what: "a mode",
            },
        ),
    ]);

    fn problems(mut value: Value) -> Vec<String> {
        let mut report = Report::default();
        settle(&mut value, &TREE, &mut String::new(), &mut report);
        report.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn drops_what_means_absence() {
        let mut value =
            json!({"name": "n", "list": null, "map": {"a": null}, "path": "", "x": [1]});
        let mut report = Report::default();
        settle(&mut value, &TREE, &mut String::new(), &mut report);
        assert!(report.problems.is_empty());
        assert_eq!(value, json!({"name": "n", "map": {}}));
    }

    #[test]
    fn names_path_finding_and_expectation() {
        let table = [
            (json!([]), ": `[]`, expected an object"),
            (json!({}), "name: missing, expected a name"),
            (json!({"name": ""}), "name: ``, expected a name"),
            (
                json!({"name": "a\0"}),
                "name: `a\\u{0}`, expected no NUL byte",
            ),
            (
                json!({"name": "n", "list": {}}),
                "list: `{}`, expected a list",
            ),
            (
                json!({"name": "n", "list": [1, -1]}),
                "list[1]: `-1`, expected a number from 0 to 65535",
            ),
            (
                json!({"name": "n", "list": [1.5]}),
                "list[0]: `1.5`, expected a number from 0 to 65535",
            ),
            (
                json!({"name": "n", "map": {"k": 1}}),
                "map[k]: `1`, expected true or false",
            ),
            (
                json!({"name": "n", "path": "p"}),
                "path: `p`, expected an absolute path",
            ),
            (
                json!({"name": "n", "mode": "C"}),
                "mode: `C`, expected a mode: A, B",
            ),
        ];
        for (value, expected) in table {
            assert_eq!(problems(value.clone()), [expected], "{value}");
        }
    }
}
