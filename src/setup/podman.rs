//! podman's and buildah's drop-in for containers.conf(5).
//! Text in, text out: it must not touch files.

use toml_edit::{Array, DocumentMut, value};

use super::{NAME, SetupError, Target, Wanted, toml};

/// The drop-in.
pub const TARGET: Target = Target {
    file: "/etc/containers/containers.conf.d/50-pxrun.conf",
    beside: &[
        "/usr/share/containers/containers.conf",
        "/etc/containers/containers.conf",
        "/etc/containers/containers.conf.d",
    ],
    present: toml::is_ours,
    apply,
    remove: toml::remove_ours,
    next: &["podman run --rm --runtime pxrun docker.io/library/alpine echo hello"],
};

/// The list in `[engine]` of runtimes whose log podman reads.
///
/// Its neighbour `runtime_supports_nocgroup` doesn't get our name: podman sends device rules with
/// `--cgroups=disabled` too, and rules that can't take effect are refused.
const KEY: &str = "runtime_supports_json";

/// What the list holds without any file (containers.conf(5)).
const DEFAULT: [&str; 7] = ["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail"];

fn apply(now: Option<&str>, wanted: &Wanted<'_>) -> Result<String, SetupError> {
    toml::ours_or_none(now)?;
    let mut document = DocumentMut::new();
    let engine = toml::table(document.as_table_mut(), &["engine"])?;
    engine.insert(KEY, value(with_us(wanted.others)));
    let runtimes = toml::table(document.as_table_mut(), &["engine", "runtimes"])?;
    runtimes.insert(NAME, value(Array::from_iter([toml::path(wanted.binary)])));
    Ok(toml::drop_in(
        "podman",
        "A list of a later file replaces that of an earlier one, so this one repeats the other names.",
        &document,
    ))
}

/// The list that counts without us, and us. Without our name podman gives no
/// `--log`, and every failure becomes exit code 126 (libpod, `getOCIRuntimeError`).
fn with_us(others: &[String]) -> Array {
    let set = |text: &String| {
        let document: DocumentMut = text.parse().ok()?;
        let list = document.get("engine")?.get(KEY)?.as_array()?;
        let names = list.iter().filter_map(|name| name.as_str());
        Some(names.map(str::to_owned).collect::<Vec<_>>())
    };
    let default = || DEFAULT.map(str::to_owned).to_vec();
    let mut names: Vec<String> = others.iter().rev().find_map(set).unwrap_or_else(default);
    names.retain(|name| name != NAME);
    names.push(NAME.to_owned());
    Array::from_iter(names)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn made(others: &[String]) -> String {
        let binary = Path::new("/usr/bin/pxrun");
        apply(None, &Wanted { binary, others }).unwrap()
    }

    #[test]
    fn says_what_podman_needs() {
        let text = made(&[]);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "",
                "[engine]",
                r#"runtime_supports_json = ["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail", "pxrun"]"#,
                "",
                "[engine.runtimes]",
                r#"pxrun = ["/usr/bin/pxrun"]"#,
            ]
        );
    }

    #[test]
    fn keeps_the_list_of_the_last_file_that_has_one() {
        let files = [
            "[engine]\nruntime_supports_json = [\"old\"]",
            "[engine]\nruntime_supports_json = [\"mine\", {append=true}]",
            "broken [",
            "[network]",
        ];
        let text = made(&files.map(str::to_owned));
        assert!(
            text.contains(r#"runtime_supports_json = ["mine", "pxrun"]"#),
            "{text}"
        );
    }

    #[test]
    fn applies_once_and_refuses_a_stranger() {
        let text = made(&[]);
        let wanted = Wanted {
            binary: Path::new("/usr/bin/pxrun"),
            others: &[],
        };
        assert_eq!(apply(Some(&text), &wanted).unwrap(), text);
        let stranger = apply(Some("[engine]\n"), &wanted).unwrap_err();
        assert!(matches!(stranger, SetupError::NotOurs));
        assert!((TARGET.present)(&text) && !(TARGET.present)("[engine]\n"));
        assert_eq!((TARGET.remove)(&text).unwrap(), None);
    }
}
