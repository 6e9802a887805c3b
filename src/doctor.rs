//! What this host can do for containers, and what lies about from those that are gone. It looks
//! only: it must not mend, nor know any single backend.
//!
//! A backend adds its own findings through [`crate::backend::findings`].

mod host;
mod leftovers;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use host::host;
pub use leftovers::{stray_cgroups, stray_mounts};

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is there.
    Good,
    /// It isn't, and containers that need it are refused.
    Lacking,
    /// Nothing works, or not safely, until it is mended.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub name: String,
    /// How it is.
    pub verdict: Verdict,
    /// In words.
    pub text: String,
}

impl Finding {
    /// A finding.
    pub fn new(name: &str, verdict: Verdict, text: impl Into<String>) -> Finding {
        Finding {
            name: name.to_owned(),
            verdict,
            text: text.into(),
        }
    }

    /// Good or lacking.
    pub fn told(name: &str, there: bool, good: impl Into<String>, lacking: &str) -> Finding {
        match there {
            true => Finding::new(name, Verdict::Good, good),
            false => Finding::new(name, Verdict::Lacking, lacking),
        }
    }
}

/// One backend.
#[derive(Debug, Clone, Serialize)]
pub struct BackendReport {
    /// Its name.
    pub name: String,
    /// The configuration sends containers there and nowhere else.
    pub needed: bool,
    /// Its version.
    pub version: Option<String>,
    /// Its program, where that isn't pxrun.
    pub program: Option<PathBuf>,
    /// Why it can't be used.
    pub unusable: Option<String>,
    /// What it can't do.
    pub lacks: BTreeMap<String, String>,
    /// What it says of itself.
    pub findings: Vec<Finding>,
}

/// Something that nobody needs any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// What.
    pub what: String,
    /// The command that takes it away.
    pub mend: String,
}

impl Leftover {
    /// A leftover.
    pub fn new(what: impl Into<String>, mend: impl Into<String>) -> Leftover {
        Leftover {
            what: what.into(),
            mend: mend.into(),
        }
    }
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The host.
    pub host: Vec<Finding>,
    /// The backends.
    pub backends: Vec<BackendReport>,
    /// The configuration file.
    pub configuration: Vec<Finding>,
    /// What is left of containers.
    pub leftovers: Vec<Leftover>,
}

impl Report {
    /// Whether everything is there that the configuration needs. Leftovers are in nobody's way.
    pub fn is_good(&self) -> bool {
        let own = self.backends.iter().filter(|backend| backend.needed);
        let findings = self.host.iter().chain(&self.configuration);
        own.clone().all(|backend| backend.unusable.is_none())
            && findings
                .chain(own.flat_map(|backend| &backend.findings))
                .all(|finding| finding.verdict != Verdict::Bad)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host")?;
        self.host.iter().try_for_each(|finding| line(f, finding))?;
        writeln!(f, "configuration")?;
        self.configuration
            .iter()
            .try_for_each(|finding| line(f, finding))?;
        writeln!(f, "backends")?;
        for backend in &self.backends {
            backend_line(f, backend)?;
        }
        writeln!(f, "leftovers")?;
        if self.leftovers.is_empty() {
            writeln!(f, "  none")?;
        }
        for leftover in &self.leftovers {
            writeln!(f, "  {}\n    mend: {}", leftover.what, leftover.mend)?;
        }
        let good = "everything that the configuration needs is there";
        let bad = "something that the configuration needs is missing";
        f.write_str(if self.is_good() { good } else { bad })
    }
}

fn line(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let mark = match finding.verdict {
        Verdict::Good => "good",
        Verdict::Lacking => "lacking",
        Verdict::Bad => "BAD",
    };
    writeln!(f, "  {mark:8} {:16} {}", finding.name, finding.text)
}

fn backend_line(f: &mut fmt::Formatter<'_>, backend: &BackendReport) -> fmt::Result {
    let version = backend.version.as_deref().unwrap_or("no version known");
    let (verdict, text) = match (&backend.unusable, backend.needed) {
        (None, _) => (Verdict::Good, version),
        (Some(why), true) => (Verdict::Bad, why.as_str()),
        (Some(why), false) => (Verdict::Lacking, why.as_str()),
    };
    line(f, &Finding::new(&backend.name, verdict, text))?;
    if backend.unusable.is_some() {
        return Ok(());
    }
    let others = crate::route::Need::OTHER_PLATFORMS.map(|need| need.to_string());
    for (need, why) in backend
        .lacks
        .iter()
        .filter(|(need, _)| !others.contains(need))
    {
        line(
            f,
            &Finding::new("", Verdict::Lacking, format!("{need}: {why}")),
        )?;
    }
    backend
        .findings
        .iter()
        .try_for_each(|finding| line(f, finding))
}

/// The file names programs that run as root: nobody else may write it.
pub fn file_rights(path: &Path) -> Option<Finding> {
    let meta = std::fs::metadata(path).ok()?;
    let open = meta.mode() & 0o022 != 0;
    let foreign = meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw();
    let text = match (open, foreign) {
        (false, false) => return None,
        (true, _) => format!("others may write `{}`: chmod go-w {0}", path.display()),
        (_, true) => format!(
            "`{}` belongs to uid {}: chown root {0}",
            path.display(),
            meta.uid()
        ),
    };
    Some(Finding::new("rights", Verdict::Bad, text))
}

#[cfg(test)]
mod tests;
