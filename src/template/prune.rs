//! Which templates nobody needs. Decides from values; only [`remove`] touches the disk, and only
//! what was decided. It must not decide about files that this project didn't make.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::list::Template;
use super::{TemplateError, file};
use crate::staging;

/// What to look for. Several: a template goes that any of them finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Written longer ago than this.
    pub older_than: Option<Duration>,
    /// Named by no guest and no container.
    pub unused: bool,
    /// Of a name that has a newer template.
    pub dangling: bool,
}

/// One that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// The file.
    pub path: PathBuf,
    /// Bytes on disk.
    pub size: u64,
    /// Why.
    pub reason: &'static str,
}

/// Decides. `texts` are the configurations of guests and records of containers: what they name is in
/// use, whatever the rules say.
pub fn choose(all: &[Template], rules: Rules, texts: &[String], now: SystemTime) -> Vec<Doomed> {
    let used = |template: &Template| {
        texts
            .iter()
            .any(|text| text.contains(&template.digest) || text.contains(&template.file))
    };
    let newer = |template: &Template| {
        all.iter().any(|other| {
            other.base == template.base
                && other.form == template.form
                && other.digest != template.digest
                && other.written > template.written
        })
    };
    let old = |template: &Template| rules.older_than.is_some_and(|age| template.age(now) > age);
    let reason = |template: &Template| match template {
        t if used(t) => None,
        t if old(t) => Some("old"),
        t if rules.dangling && newer(t) => Some("superseded"),
        _ if rules.unused => Some("unused"),
        _ => None,
    };
    let doomed = |template: &Template| {
        reason(template).map(|reason| Doomed {
            path: template.path.clone(),
            size: template.size,
            reason,
        })
    };
    all.iter().filter_map(doomed).collect()
}

/// What broken off work left in `dir`.
///
/// # Errors
/// The directory can't be read.
pub fn leftovers(dir: &Path) -> Result<Vec<Doomed>, TemplateError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let left = staging::abandoned(dir, None).map_err(file("read directory", dir))?;
    let doomed = left.into_iter().map(|path| Doomed {
        size: fs::symlink_metadata(&path).map_or(0, |meta| meta.len()),
        path,
        reason: "left by work that broke off",
    });
    Ok(doomed.collect())
}

/// Removes one.
///
/// # Errors
/// From the file system; one that is gone already is none.
pub fn remove(doomed: &Doomed) -> Result<(), TemplateError> {
    staging::remove(&doomed.path).map_err(file("remove", &doomed.path))
}

/// The configurations of all guests of the cluster, as texts, below Proxmox's `/etc/pve`.
pub fn guests(pve: &Path) -> Vec<String> {
    let nodes = fs::read_dir(pve.join("nodes"))
        .into_iter()
        .flatten()
        .flatten();
    let mut dirs: Vec<PathBuf> = nodes.map(|node| node.path().join("lxc")).collect();
    dirs.push(pve.join("lxc"));
    let files = dirs
        .iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::config::RunConfig;
    use crate::template::create::Form;

    fn template(base: &str, digest: &str, age: u64) -> Template {
        Template {
            path: PathBuf::from(digest),
            file: format!("{base}_sha256-{digest}_amd64.tar.zst"),
            form: Form::Vztmpl,
            base: base.into(),
            digest: digest.into(),
            run: RunConfig::default(),
            size: 1,
            written: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age),
        }
    }

    #[test]
    fn rules_choose_and_use_protects() {
        let all = [
            template("a", "aaaaaaaaaaa1", 10),
            template("a", "aaaaaaaaaaa2", 500),
            template("b", "bbbbbbbbbbb1", 900),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let chosen = |rules, texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            let doomed = choose(&all, rules, &texts, now);
            doomed
                .iter()
                .map(|d| d.path.display().to_string())
                .collect::<Vec<_>>()
        };
        let rules = Rules::default();
        assert_eq!(chosen(rules, &[]), [""; 0]);
        let old = Rules {
            older_than: Some(Duration::from_secs(400)),
            ..rules
        };
        assert_eq!(chosen(old, &[]), ["aaaaaaaaaaa2", "bbbbbbbbbbb1"]);
        let dangling = Rules {
            dangling: true,
            ..rules
        };
        assert_eq!(chosen(dangling, &[]), ["aaaaaaaaaaa2"]);
        let unused = Rules {
            unused: true,
            ..rules
        };
        assert_eq!(
            chosen(unused, &["x\ntags: sha256-bbbbbbbbbbb1"]),
            ["aaaaaaaaaaa1", "aaaaaaaaaaa2"]
        );
        let both = Rules {
            dangling: true,
            ..old
        };
        assert_eq!(chosen(both, &["aaaaaaaaaaa2"]), ["bbbbbbbbbbb1"]);
    }
}
