//! CRI-O's drop-in for crio.conf(5).
//! Text in, text out: it must not touch files.

use toml_edit::{DocumentMut, value};

use super::{NAME, SetupError, Target, Wanted, toml};

/// The drop-in.
pub const TARGET: Target = Target {
    file: "/etc/crio/crio.conf.d/50-pxrun.conf",
    beside: &[],
    present: toml::is_ours,
    apply,
    remove: toml::remove_ours,
    next: &[
        "systemctl restart crio",
        "pxrun setup kubernetes | kubectl apply -f -",
    ],
};

fn apply(now: Option<&str>, wanted: &Wanted<'_>) -> Result<String, SetupError> {
    toml::ours_or_none(now)?;
    let mut document = DocumentMut::new();
    let keys = ["crio", "runtime", "runtimes", NAME];
    let handler = toml::table(document.as_table_mut(), &keys)?;
    handler.insert("runtime_path", value(toml::path(wanted.binary)));
    handler.insert("runtime_type", value("oci"));
    // CRI-O passes it as --root, and looks for what its own cleanup left behind there.
    handler.insert("runtime_root", value("/run/pxrun"));
    Ok(toml::drop_in("crio", "", &document))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_the_runtime() {
        let wanted = Wanted {
            binary: Path::new("/opt/a \"b\"/pxrun"),
            others: &[],
        };
        let text = apply(None, &wanted).unwrap();
        let document: DocumentMut = text.parse().unwrap();
        let handler = &document["crio"]["runtime"]["runtimes"]["pxrun"];
        assert_eq!(handler["runtime_path"].as_str(), Some("/opt/a \"b\"/pxrun"));
        assert_eq!(handler["runtime_type"].as_str(), Some("oci"));
        assert_eq!(text.matches('[').count(), 1, "{text}");
        assert_eq!(apply(Some(&text), &wanted).unwrap(), text);
    }
}
