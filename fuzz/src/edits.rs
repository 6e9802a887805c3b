//! Turns bytes into small changes of a real document, since random bytes are hardly ever one.
//!
//! The first byte chooses the document; each line after it is an edit: two bytes for the node, and
//! the JSON that takes its place. Nothing takes the node out; what isn't JSON is taken as a string.

use std::sync::OnceLock;

use pxrun::spec::{HostFacts, Validated};
use serde_json::Value;

const DOCUMENTS: &[&str] = &[
    include_str!("../../tests/documents/cri.json"),
    include_str!("../../tests/documents/podman-userns.json"),
    include_str!("../../tests/documents/runc-spec-rootless.json"),
];

struct Document {
    value: Value,
    pointers: Vec<String>,
}

/// What processes and resources are judged against.
pub fn base() -> &'static Validated {
    static BASE: OnceLock<Validated> = OnceLock::new();
    BASE.get_or_init(|| {
        let value = documents()[0].value.clone();
        Validated::new(value, &HostFacts::default()).expect("a real document is valid")
    })
}

pub fn edited(data: &[u8]) -> Value {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let all = documents();
    let document = &all[usize::from(*first) % all.len()];
    let mut value = document.value.clone();
    for edit in rest.split(|byte| *byte == b'\n').take(8) {
        if let [high, low, text @ ..] = edit {
            let index = usize::from(*high) << 8 | usize::from(*low);
            let pointer = &document.pointers[index % document.pointers.len()];
            change(&mut value, pointer, text);
        }
    }
    value
}

fn change(value: &mut Value, pointer: &str, text: &[u8]) {
    if text.is_empty() {
        let Some((parent, name)) = pointer.rsplit_once('/') else {
            return;
        };
        if let Some(Value::Object(members)) = value.pointer_mut(parent) {
            members.shift_remove(name);
        }
    } else if let Some(node) = value.pointer_mut(pointer) {
        *node = serde_json::from_slice(text)
            .unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned().into());
    }
}

fn documents() -> &'static [Document] {
    static ALL: OnceLock<Vec<Document>> = OnceLock::new();
    ALL.get_or_init(|| DOCUMENTS.iter().map(|text| Document::new(text)).collect())
}

impl Document {
    fn new(text: &str) -> Document {
        let value: Value = serde_json::from_str(text).expect("a real document");
        let mut pointers = Vec::new();
        collect(&value, String::new(), &mut pointers);
        Document { value, pointers }
    }
}

/// JSON pointers of all nodes; names with `~` or `/` are left out.
fn collect(value: &Value, here: String, into: &mut Vec<String>) {
    into.push(here.clone());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{here}/{index}"), into);
            }
        }
        Value::Object(members) => {
            for (name, member) in members
                .iter()
                .filter(|(name, _)| !name.contains(['/', '~']))
            {
                collect(member, format!("{here}/{name}"), into);
            }
        }
        _ => {}
    }
}
