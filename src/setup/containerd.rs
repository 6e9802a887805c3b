//! The handler in containerd's config.toml, which is the administrator's: comments, order and all
//! other settings stay. Text in, text out: it must not touch files.

use toml_edit::{Array, DocumentMut, Item, TableLike, value};

use super::{NAME, SetupError, Target, Wanted, toml};

/// The file.
pub const TARGET: Target = Target {
    file: "/etc/containerd/config.toml",
    beside: &[],
    present,
    apply,
    remove,
    next: &[
        "systemctl restart containerd",
        "pxrun setup kubernetes | kubectl apply -f -",
    ],
};

/// Annotations of a pod that reach the runtime.
const ANNOTATIONS: &str = "dev.pxrun.*";

/// The plugin that holds the handlers, by the version of the file (containerd,
/// docs/cri/config.md).
fn plugin(document: &DocumentMut) -> Result<&'static str, SetupError> {
    let version = match document.get("version") {
        None => 1,
        Some(item) => item.as_integer().ok_or_else(|| SetupError::Shape {
            key: "version".into(),
            wanted: "number",
        })?,
    };
    match version {
        2 => Ok("io.containerd.grpc.v1.cri"),
        3 => Ok("io.containerd.cri.v1.runtime"),
        other => Err(SetupError::Version(other)),
    }
}

fn apply(now: Option<&str>, wanted: &Wanted<'_>) -> Result<String, SetupError> {
    let mut document: DocumentMut = now.unwrap_or_default().parse()?;
    // Without settings there is nothing whose meaning a version could change. Version 2 is read by
    // containerd 1.3 and later, 2.x included.
    if document.is_empty() {
        document.insert("version", value(2));
    }
    let plugin = plugin(&document)?;
    refuse_disabled(&document, plugin)?;
    let runtimes = ["plugins", plugin, "containerd", "runtimes"];
    let systemd = runc_uses_systemd(&document, &runtimes);
    let handler = [&runtimes[..], &[NAME]].concat();
    let handler = toml::table(document.as_table_mut(), &handler)?;
    set(handler, "runtime_type", "io.containerd.runc.v2".into());
    for key in ["pod_annotations", "container_annotations"] {
        set(handler, key, Array::from_iter([ANNOTATIONS]).into());
    }
    let options = handler.entry("options").or_insert_with(toml_edit::table);
    let options = options
        .as_table_like_mut()
        .ok_or_else(|| SetupError::Shape {
            key: "runtimes.pxrun.options".into(),
            wanted: "table",
        })?;
    set(options, "BinaryName", toml::path(wanted.binary).into());
    // The handlers of a node share one cgroup driver: kubelet's.
    if systemd {
        set(options, "SystemdCgroup", true.into());
    }
    Ok(document.to_string())
}

/// Sets a value unless it is that already, so that its comment and form stay.
fn set(table: &mut dyn TableLike, key: &str, wanted: toml_edit::Value) {
    let plain = |v: &toml_edit::Value| v.clone().decorated("", "").to_string();
    let same = table.get(key).and_then(Item::as_value).map(plain) == Some(plain(&wanted));
    if !same {
        table.insert(key, Item::Value(wanted));
    }
}

fn refuse_disabled(document: &DocumentMut, plugin: &str) -> Result<(), SetupError> {
    let disabled = document.get("disabled_plugins").and_then(Item::as_array);
    let mut names = disabled.into_iter().flatten().filter_map(|v| v.as_str());
    match names.find(|name| *name == plugin || *name == "io.containerd.grpc.v1.cri") {
        Some(name) => Err(SetupError::Disabled(name.to_owned())),
        None => Ok(()),
    }
}

fn find<'a>(document: &'a DocumentMut, keys: &[&str]) -> Option<&'a Item> {
    keys.iter()
        .try_fold(document.as_item(), |item, key| item.get(key))
}

fn runc_uses_systemd(document: &DocumentMut, runtimes: &[&str]) -> bool {
    let keys = [runtimes, &["runc", "options", "SystemdCgroup"]].concat();
    find(document, &keys).and_then(Item::as_bool) == Some(true)
}

fn present(text: &str) -> bool {
    let Ok(document) = text.parse::<DocumentMut>() else {
        return false;
    };
    plugin(&document).is_ok_and(|plugin| {
        find(
            &document,
            &["plugins", plugin, "containerd", "runtimes", NAME],
        )
        .is_some()
    })
}

fn remove(text: &str) -> Result<Option<String>, SetupError> {
    let mut document: DocumentMut = text.parse()?;
    let keys = ["plugins", plugin(&document)?, "containerd", "runtimes"];
    toml::table(document.as_table_mut(), &keys)?.remove(NAME);
    Ok(Some(document.to_string()))
}

#[cfg(test)]
#[path = "containerd/tests.rs"]
mod tests;
