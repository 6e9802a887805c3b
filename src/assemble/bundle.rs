//! One bundle: made beside its place, moved there when it is complete and would run.
//! It must not leave anything behind when it fails.

use std::fs::{self, DirBuilder};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid};
use serde_json::Value;

use super::files::{Files, rootfs_of_bundle};
use super::{AssembleError, IMAGE_FILE, file, overlay, volumes};
use crate::bundle::CONFIG_FILE;
use crate::image::config::RunConfig;
use crate::image::spec::{self, HostInfo, User, Wishes};
use crate::rootfs::resolve::{self, Links, Want};
use crate::source::Source;
use crate::spec::{HostFacts, Validated};
use crate::staging::{Existing, Staging};
use crate::users;

/// Directory of the root file system in a bundle.
pub(super) const ROOTFS: &str = "rootfs";

/// What is to be made.
pub struct Job<'a> {
    /// Where the bundle is to be.
    pub target: &'a Path,
    /// What from.
    pub source: &'a Source,
    /// How files are taken.
    pub files: Files<'a>,
    /// Use the source's directory where it is instead of a copy.
    pub in_place: bool,
    /// Use the source's directory where it is, below an overlay that takes the changes.
    pub overlay: bool,
    /// What the user wants otherwise than the image.
    pub wishes: Wishes,
    /// Instead of the image's user.
    pub user: Option<String>,
    /// Merged over config.json at the end (RFC 7396).
    pub patch: Option<Value>,
    /// What may be at `target`.
    pub existing: Existing,
    /// For the configuration.
    pub host: HostInfo,
    /// For its validation.
    pub facts: HostFacts,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// What the image says.
    pub run: RunConfig,
    /// What validation warns of.
    pub warnings: Vec<String>,
}

/// Makes a bundle.
///
/// # Errors
/// [`AssembleError`]; nothing is left then.
pub fn make(job: Job<'_>) -> Result<Made, AssembleError> {
    if job.existing == Existing::Refuse && fs::symlink_metadata(job.target).is_ok() {
        let text = format!("`{}` exists already", job.target.display());
        return Err(AssembleError::Refused(text));
    }
    let staging = Staging::dir(job.target).map_err(file("make bundle", job.target))?;
    let here = staging.path().to_path_buf();
    // Nothing is written to a root that isn't the bundle's own.
    let foreign = job.in_place || job.overlay;
    let (rootfs, mut root, mut run) = root(&job, &here)?;
    if job.overlay {
        overlay::prepare(&rootfs, &here)?;
        root = ROOTFS.to_owned();
    }
    add_init(&mut run, &job.wishes, &rootfs);
    let volumes = match foreign {
        true => Vec::new(),
        false => volumes::make(&job.files, &here, &rootfs, &run.volumes)?,
    };
    let user = user(&job, &run, &rootfs)?;
    if !foreign {
        make_cwd(&job, &run, &user, &rootfs)?;
    }
    let mut config = spec::config_json(&run, &job.wishes, &user, &job.host, &root, &volumes)?;
    if let Some(patch) = &job.patch {
        merge(&mut config, patch);
    }
    let valid = Validated::new(config, &job.facts)?;
    write_json(&here.join(CONFIG_FILE), valid.raw())?;
    if run != RunConfig::default() {
        let kept = serde_json::to_value(&run).unwrap_or_default();
        write_json(&here.join(IMAGE_FILE), &kept)?;
    }
    if job.files.interrupt.pending_now() {
        return Err(crate::unpack::UnpackError::Interrupted.into());
    }
    if job.existing == Existing::Replace {
        overlay::unmount(job.target)?;
    }
    staging
        .commit(job.existing)
        .map_err(file("move bundle to", job.target))?;
    if job.overlay
        && let Err(error) = overlay::mount(&rootfs, job.target)
    {
        crate::staging::remove(job.target).map_err(file("remove", job.target))?;
        return Err(error);
    }
    let (_, _, warnings) = valid.into_parts();
    Ok(Made { run, warnings })
}

/// The root file system: where it is now, what `root.path` becomes, what its source says.
fn root(job: &Job<'_>, here: &Path) -> Result<(PathBuf, String, RunConfig), AssembleError> {
    if job.in_place || job.overlay {
        let (path, run) = match job.source {
            Source::Dir(path) => (path.clone(), RunConfig::default()),
            Source::Bundle(path) => rootfs_of_bundle(path)?,
            _ => {
                let text = match job.overlay {
                    true => {
                        "--overlay takes a directory or a bundle: layers of images are archives, which no kernel mounts; make a bundle of the image once, and overlays of that"
                    }
                    false => "only a directory can be used in place",
                };
                let text = text.to_owned();
                return Err(AssembleError::Refused(text));
            }
        };
        let path = fs::canonicalize(&path).map_err(file("open root file system", &path))?;
        let text = path.to_str().map(ToOwned::to_owned);
        let text = text
            .ok_or_else(|| AssembleError::Refused(format!("`{}` is not UTF-8", path.display())))?;
        return Ok((path, text, run));
    }
    let rootfs = here.join(ROOTFS);
    DirBuilder::new()
        .mode(0o755)
        .create(&rootfs)
        .map_err(file("make directory", &rootfs))?;
    let run = job.files.fill(job.source, super::open_root(&rootfs)?)?;
    Ok((rootfs, ROOTFS.to_owned(), run))
}

/// A root file system that says nothing is run by its init, where it has one: Proxmox templates do.
fn add_init(run: &mut RunConfig, wishes: &Wishes, rootfs: &Path) {
    let silent = run.entrypoint.is_empty() && run.cmd.is_empty();
    let asked = wishes.entrypoint.is_some() || !wishes.args.is_empty();
    if silent && !asked && fs::symlink_metadata(rootfs.join("sbin/init")).is_ok() {
        run.cmd = vec!["/sbin/init".into()];
    }
}

/// An image may name a working directory that it doesn't have: it is the user's then, as podman
/// makes it.
fn make_cwd(
    job: &Job<'_>,
    run: &RunConfig,
    user: &User,
    rootfs: &Path,
) -> Result<(), AssembleError> {
    let cwd = Path::new(job.wishes.cwd.as_deref().unwrap_or(&run.cwd));
    if cwd.file_name().is_none() {
        return Ok(());
    }
    let error = |errno: nix::Error| file("make working directory", cwd)(errno.into());
    let root = super::open_root(rootfs)?;
    let open = |path: &Path| resolve::open(root.as_fd(), path, Links::Follow);
    let missing = |path: &&Path| matches!(open(path), Err(Errno::ENOENT));
    let made: Vec<&Path> = cwd.ancestors().take_while(missing).collect();
    if made.is_empty() {
        return Ok(());
    }
    let above = cwd.ancestors().nth(made.len()).unwrap_or(Path::new("/"));
    let above = crate::pack::reopen(open(above).map_err(error)?.as_fd()).map_err(error)?;
    let before = fstat(above.as_raw_fd()).map_err(error)?;
    let target = resolve::open_or_create(root.as_fd(), cwd, Want::Dir, Links::Follow);
    let dir = crate::pack::reopen(target.map_err(error)?.fd.as_fd()).map_err(error)?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    nix::unistd::fchown(dir.as_raw_fd(), Some(uid), Some(gid)).map_err(error)?;
    // The same image gives the same tree, times included.
    for path in made {
        let dir = crate::pack::reopen(open(path).map_err(error)?.as_fd()).map_err(error)?;
        let epoch = TimeSpec::new(0, 0);
        futimens(dir.as_raw_fd(), &epoch, &epoch).map_err(error)?;
    }
    let time = TimeSpec::new(before.st_mtime, before.st_mtime_nsec);
    futimens(above.as_raw_fd(), &time, &time).map_err(error)
}

fn user(job: &Job<'_>, run: &RunConfig, rootfs: &Path) -> Result<User, AssembleError> {
    let text = job.user.as_deref().unwrap_or(&run.user);
    let text = if text.is_empty() { "0" } else { text };
    let found = users::resolve(rootfs, text)?;
    Ok(User {
        uid: found.uid,
        gid: found.gid,
        groups: found.additional,
    })
}

fn write_json(path: &Path, value: &Value) -> Result<(), AssembleError> {
    let text = format!("{value:#}\n");
    crate::state::write_atomically(path, text.as_bytes(), 0o600).map_err(file("write", path))
}

/// JSON Merge Patch, RFC 7396: `null` removes.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(key)),
            value => merge(target.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_merge_as_rfc_7396_has_it() {
        let rows = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b", "c": 1}),
                json!({"a": null}),
                json!({"c": 1}),
            ),
            (
                json!({"a": [1]}),
                json!({"a": {"b": 2}}),
                json!({"a": {"b": 2}}),
            ),
            (
                json!({}),
                json!({"a": {"b": {"c": null}}}),
                json!({"a": {"b": {}}}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
        ];
        for (mut target, patch, expected) in rows {
            merge(&mut target, &patch);
            assert_eq!(target, expected);
        }
    }
}
