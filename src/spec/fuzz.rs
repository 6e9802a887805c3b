//! No document makes validation panic, and every refusal names a place in the document.

use serde_json::{Value, json};

use super::real::{DOCUMENTS, document};
use super::{HostFacts, SpecError, Validated};

/// One of each type, and the values at which rules turn.
fn replacements() -> Vec<Value> {
    let mut all = vec![json!(null), json!(true), json!(1.5), json!([]), json!({})];
    all.extend([-2_i64, -1, 0, 1, 1001, i64::MIN, i64::MAX].map(Value::from));
    all.push(json!(u64::MAX));
    all.extend(["", "/", "..", "a", "a\0b", "\u{7f}é", "0-"].map(Value::from));
    all.extend([
        json!([null]),
        json!([[]]),
        json!([""]),
        json!({"": null}),
        json!({"a": {}}),
    ]);
    all
}

/// The JSON pointers of all nodes below and including `value`.
fn pointers(value: &Value, here: String, into: &mut Vec<String>) {
    into.push(here.clone());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, format!("{here}/{index}"), into);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(member, format!("{here}/{name}"), into);
            }
        }
        _ => {}
    }
}

fn delete(document: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.shift_remove(&name)),
        Some(Value::Array(items)) => drop(items.remove(name.parse().unwrap())),
        _ => {}
    }
}

fn judge(document: Value, what: &str, refused: &mut usize) {
    for other in [false, true] {
        let host = HostFacts {
            selinux: other,
            apparmor: other,
            cgroup_v2: other,
            rootless: other,
        };
        match Validated::new(document.clone(), &host) {
            Ok(valid) => assert_eq!(valid.raw(), &document),
            Err(SpecError::Typed(_, source)) => panic!("{what}: {source}"),
            Err(SpecError::Invalid(problems)) => {
                *refused += 1;
                assert!(!problems.is_empty(), "{what}");
                for problem in problems {
                    assert!(!problem.path.is_empty(), "{what}: {problem}");
                    let text = problem.to_string();
                    assert!(!text.contains(['\n', '\0']), "{what}: {text}");
                }
            }
        }
    }
}

#[test]
fn mutated_documents_are_judged_not_tripped_over() {
    let replacements = replacements();
    let (mut mutants, mut refused) = (0, 0);
    // The two that between them have every section; the rest would add minutes, not cases.
    let chosen = ["cri", "runc-spec-rootless"];
    for (name, _) in DOCUMENTS.iter().filter(|(name, _)| chosen.contains(name)) {
        let valid = document(name);
        let mut all = Vec::new();
        pointers(&valid, String::new(), &mut all);
        for pointer in &all {
            let mut mutant = valid.clone();
            delete(&mut mutant, pointer);
            judge(mutant, &format!("{name} without {pointer}"), &mut refused);
            for value in &replacements {
                let mut mutant = valid.clone();
                *mutant.pointer_mut(pointer).unwrap() = value.clone();
                judge(
                    mutant,
                    &format!("{name} with {pointer} = {value}"),
                    &mut refused,
                );
                mutants += 1;
            }
        }
    }
    assert!(mutants > 5_000, "{mutants}");
    assert!(refused > mutants, "{refused} of {mutants} twice over");
}
