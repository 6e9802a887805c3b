//! Intel RDT through the resctrl file system: a container's class of service and its monitoring
//! group. It must not know the rest of the spec, nor who the process is.
//!
//! The rules are those of config-linux.md, "IntelRdt"; the files those of the kernel's
//! `arch/x86/resctrl.rst`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxIntelRdt;
use procfs::process::Process;
use serde::{Deserialize, Serialize};

/// Why a class can't be had.
#[derive(Debug, thiserror::Error)]
pub enum RdtError {
    /// The host can't do it at all.
    #[error("no resctrl file system is mounted on this host")]
    NoResctrl,
    /// `closID` alone names a class that must be there.
    #[error("closID: class `{0}` does not exist, and no schema is given to make it with")]
    NoClass(String),
    /// The class is there and says something else.
    #[error("closID: class `{class}` has the schema `{found}`, expected `{wanted}`")]
    Differs {
        /// The class.
        class: String,
        /// Lines of its `schemata`.
        found: String,
        /// Lines of the spec.
        wanted: String,
    },
    /// Somebody else's group has the container's name.
    #[error("enableMonitoring: monitoring group `{}` exists already", .0.display())]
    Monitored(PathBuf),
    /// A file operation failed.
    #[error("{what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

type Result<T> = std::result::Result<T, RdtError>;

/// Where a container's processes belong in resctrl, and what goes with the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    dir: PathBuf,
    /// The class was made for this container.
    own: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitoring: Option<PathBuf>,
}

/// Where resctrl is mounted.
///
/// # Errors
/// [`RdtError::NoResctrl`].
pub fn mount_point() -> Result<PathBuf> {
    let infos = Process::myself().and_then(|me| me.mountinfo());
    infos
        .ok()
        .and_then(|infos| infos.into_iter().find(|info| info.fs_type == "resctrl"))
        .map(|info| info.mount_point)
        .ok_or(RdtError::NoResctrl)
}

impl Group {
    /// What container `id` will have below `mount`. Nothing is made yet, so that the result can be
    /// written down before there is anything to remove.
    ///
    /// # Errors
    /// Those that the present classes decide.
    pub fn plan(mount: &Path, id: &str, rdt: &LinuxIntelRdt) -> Result<Group> {
        let class = class(rdt);
        let dir = mount.join(class.unwrap_or(id));
        let exists = dir.exists();
        if let (Some(class), false, true) = (class, exists, schemata(rdt).is_empty()) {
            return Err(RdtError::NoClass(class.to_owned()));
        }
        let monitoring = match rdt.enable_monitoring() {
            Some(true) => Some(dir.join("mon_groups").join(id)),
            _ => None,
        };
        if let Some(taken) = monitoring.as_ref().filter(|path| path.exists()) {
            return Err(RdtError::Monitored(taken.clone()));
        }
        Ok(Group {
            own: class.is_none() && !exists,
            dir,
            monitoring,
        })
    }

    /// Makes what is missing, writes the schema and puts process `pid`, which has one thread, there.
    ///
    /// # Errors
    /// [`RdtError`]; what was made stays for [`Group::remove`].
    pub fn set_up(&self, rdt: &LinuxIntelRdt, pid: i32) -> Result<()> {
        let wanted = schemata(rdt);
        let shared = class(rdt).is_some() && self.dir.exists();
        if !self.dir.exists() {
            make_dir(&self.dir)?;
        }
        if shared {
            self.compare(&wanted)?;
        } else if !wanted.is_empty() {
            append(&self.dir.join("schemata"), &(wanted.join("\n") + "\n"))?;
        }
        if let Some(monitoring) = &self.monitoring {
            make_dir(monitoring)?;
        }
        self.join(pid)
    }

    /// Puts one more thread where the container's are.
    ///
    /// # Errors
    /// [`RdtError::Io`].
    pub fn join(&self, tid: i32) -> Result<()> {
        append(&self.dir.join("tasks"), &tid.to_string())?;
        match &self.monitoring {
            Some(monitoring) => append(&monitoring.join("tasks"), &tid.to_string()),
            None => Ok(()),
        }
    }

    /// Puts every thread of a running process there. What has ended meanwhile needs no class.
    ///
    /// # Errors
    /// [`RdtError::Io`].
    pub fn join_threads(&self, pid: i32) -> Result<()> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let tid = task.file_name().to_string_lossy().parse();
            match tid.map(|tid| self.join(tid)) {
                Ok(Err(RdtError::Io { source, .. }))
                    if source.raw_os_error() == Some(libc::ESRCH) => {}
                Ok(joined) => joined?,
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Writes the lines that are given; the kernel leaves other resources as they are.
    ///
    /// # Errors
    /// [`RdtError::Io`].
    pub fn update(&self, rdt: &LinuxIntelRdt) -> Result<()> {
        append(
            &self.dir.join("schemata"),
            &(schemata(rdt).join("\n") + "\n"),
        )
    }

    /// Removes what was made for the container alone. Its threads fall back to the class above.
    ///
    /// # Errors
    /// [`RdtError::Io`].
    pub fn remove(&self) -> Result<()> {
        let own = Some(&self.dir).filter(|_| self.own);
        for path in self.monitoring.iter().chain(own) {
            match std::fs::remove_dir(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn compare(&self, wanted: &[String]) -> Result<()> {
        let path = self.dir.join("schemata");
        if wanted.is_empty() {
            return Ok(());
        }
        let found = std::fs::read_to_string(&path).map_err(io("read", &path))?;
        let there = domains(found.lines());
        let differs = domains(wanted.iter().map(String::as_str))
            .iter()
            .any(|(domain, value)| there.get(domain) != Some(value));
        if !differs {
            return Ok(());
        }
        let class = self.dir.file_name().unwrap_or_default();
        Err(RdtError::Differs {
            class: class.to_string_lossy().into_owned(),
            found: found.trim().replace('\n', " "),
            wanted: wanted.join(" "),
        })
    }
}

fn class(rdt: &LinuxIntelRdt) -> Option<&str> {
    rdt.clos_id().as_deref().filter(|id| !id.is_empty())
}

/// The lines for `schemata`: the cache first, then the bandwidth, whose line there takes the place
/// of any in the former, then those of OCI 1.3.
fn schemata(rdt: &LinuxIntelRdt) -> Vec<String> {
    let bandwidth = rdt.mem_bw_schema().as_deref().filter(|b| !b.is_empty());
    let cache = rdt.l3_cache_schema().as_deref().unwrap_or("");
    let cache = cache
        .lines()
        .filter(|line| !line.is_empty() && (bandwidth.is_none() || !line.starts_with("MB:")));
    let more = rdt.schemata().iter().flatten().map(String::as_str);
    cache
        .chain(bandwidth)
        .chain(more)
        .map(str::to_owned)
        .collect()
}

/// `L3:0=00f;1=f` as (`L3`, `0`) → `f`, (`L3`, `1`) → `f`: how the kernel pads and orders is no
/// difference.
fn domains<'l>(lines: impl Iterator<Item = &'l str>) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for line in lines {
        let Some((resource, list)) = line.split_once(':') else {
            continue;
        };
        for (domain, value) in list.split(';').filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_start_matches('0').to_lowercase();
            let key = (resource.trim().to_owned(), domain.trim().to_owned());
            all.insert(key, value);
        }
    }
    all
}

fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir(path).map_err(io("make", path))
}

/// One write(2), for the kernel takes each as a whole. It makes the files with their directory and
/// lets nobody make others, so `create` serves only the tests' tree.
fn append(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(io("write", path))
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RdtError {
    move |source| RdtError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rdt(value: Value) -> LinuxIntelRdt {
        serde_json::from_value(value).unwrap()
    }

    /// Every file below the tree and its content, as `path: content`.
    fn tree(dir: &Path) -> Vec<String> {
        let mut all = Vec::new();
        let mut todo = vec![dir.to_owned()];
        while let Some(next) = todo.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let name = path.strip_prefix(dir).unwrap().display();
                    all.push(format!("{name}: {text}"));
                }
            }
        }
        all.sort();
        all
    }

    fn made(spec: Value) -> Vec<String> {
        let mount = tempfile::tempdir().unwrap();
        let spec = rdt(spec);
        let group = Group::plan(mount.path(), "c1", &spec).unwrap();
        if group.monitoring.is_some() {
            // The kernel makes it with the class.
            std::fs::create_dir_all(group.dir.join("mon_groups")).unwrap();
        }
        group.set_up(&spec, 42).unwrap();
        tree(mount.path())
    }

    #[test]
    fn what_is_written() {
        assert_eq!(made(json!({})), ["c1/tasks: 42"]);
        assert_eq!(
            made(json!({"l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20"})),
            ["c1/schemata: L3:0=f\nMB:0=20\n", "c1/tasks: 42"]
        );
        assert_eq!(
            made(json!({"l3CacheSchema": "L3:0=f", "schemata": ["L2:0=3", "SMBA:0=8"]})),
            ["c1/schemata: L3:0=f\nL2:0=3\nSMBA:0=8\n", "c1/tasks: 42"]
        );
        assert_eq!(
            made(json!({"closID": "gold", "memBwSchema": "MB:0=20"})),
            ["gold/schemata: MB:0=20\n", "gold/tasks: 42"]
        );
        assert_eq!(
            made(json!({"enableMonitoring": true})),
            ["c1/mon_groups/c1/tasks: 42", "c1/tasks: 42"]
        );
    }

    #[test]
    fn a_class_that_is_there_must_say_the_same() {
        let mount = tempfile::tempdir().unwrap();
        let try_with = |spec: Value| {
            let spec = rdt(spec);
            Group::plan(mount.path(), "c1", &spec)
                .and_then(|group| group.set_up(&spec, 7))
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            try_with(json!({"closID": "gold"})).unwrap_err(),
            "closID: class `gold` does not exist, and no schema is given to make it with"
        );
        std::fs::create_dir(mount.path().join("gold")).unwrap();
        let file = mount.path().join("gold/schemata");
        std::fs::write(&file, "    MB:0=100;1=100\n    L3:0=00f;1=0f0\n").unwrap();
        for same in [
            json!({"closID": "gold"}),
            json!({"closID": "gold", "l3CacheSchema": "L3: 1=F0 ; 0=f"}),
            json!({"closID": "gold", "memBwSchema": "MB:0=100"}),
        ] {
            try_with(same).unwrap();
        }
        assert_eq!(
            try_with(json!({"closID": "gold", "l3CacheSchema": "L3:0=ff"})).unwrap_err(),
            "closID: class `gold` has the schema `MB:0=100;1=100     L3:0=00f;1=0f0`, expected `L3:0=ff`"
        );
    }

    #[test]
    fn only_what_was_made_for_the_container_is_removed() {
        let mount = tempfile::tempdir().unwrap();
        let of = |spec: Value| Group::plan(mount.path(), "c1", &rdt(spec)).unwrap();
        let (own, other) = (mount.path().join("c1"), mount.path().join("gold"));
        std::fs::create_dir_all(other.join("mon_groups")).unwrap();
        let groups = [
            of(json!({})),
            of(json!({"closID": "gold", "enableMonitoring": true})),
        ];
        std::fs::create_dir(&own).unwrap();
        std::fs::create_dir(other.join("mon_groups/c1")).unwrap();
        let again = Group::plan(
            mount.path(),
            "c1",
            &rdt(json!({"closID": "gold", "enableMonitoring": true})),
        );
        assert!(matches!(again, Err(RdtError::Monitored(_))));
        for group in &groups {
            group.remove().unwrap();
            group.remove().unwrap();
        }
        assert!(!own.exists() && other.exists());
        assert!(!other.join("mon_groups/c1").exists());
        // A directory of that name that was there before is not the container's to remove.
        std::fs::create_dir(&own).unwrap();
        of(json!({})).remove().unwrap();
        assert!(own.exists());
    }

    #[test]
    fn an_update_writes_the_lines_it_is_given() {
        let mount = tempfile::tempdir().unwrap();
        let group = Group::plan(mount.path(), "c1", &rdt(json!({}))).unwrap();
        group.set_up(&rdt(json!({})), 1).unwrap();
        group
            .update(&rdt(json!({"memBwSchema": "MB:0=50"})))
            .unwrap();
        group
            .update(&rdt(json!({"l3CacheSchema": "L3:0=3"})))
            .unwrap();
        group.join(2).unwrap();
        group.join_threads(i32::MAX).unwrap();
        assert_eq!(
            tree(mount.path()),
            ["c1/schemata: MB:0=50\nL3:0=3\n", "c1/tasks: 12"]
        );
    }
}
