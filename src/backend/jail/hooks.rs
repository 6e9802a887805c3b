//! Hooks of a jail's container: which run, where, and what they are told (config.md, "POSIX-platform
//! hooks"). A jail has no mount namespace of its own, so all but `startContainer` run on the host.

use serde_json::{Value, json};

use super::JailError;
use super::read::Object;

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The jail stands; before `createRuntime`, as older callers have it.
    Prestart,
    /// The jail stands.
    CreateRuntime,
    /// The same, after those.
    CreateContainer,
    /// In the jail, before its process.
    StartContainer,
    /// The process runs.
    Poststart,
    /// The jail has gone.
    Poststop,
}

impl Point {
    /// In the order of a container's life.
    pub const ALL: [Point; 6] = [
        Point::Prestart,
        Point::CreateRuntime,
        Point::CreateContainer,
        Point::StartContainer,
        Point::Poststart,
        Point::Poststop,
    ];

    fn name(self) -> &'static str {
        match self {
            Point::Prestart => "prestart",
            Point::CreateRuntime => "createRuntime",
            Point::CreateContainer => "createContainer",
            Point::StartContainer => "startContainer",
            Point::Poststart => "poststart",
            Point::Poststop => "poststop",
        }
    }

    /// What the state says at that time.
    pub fn status(self) -> &'static str {
        match self {
            Point::Prestart | Point::CreateRuntime | Point::CreateContainer => "creating",
            Point::StartContainer => "created",
            Point::Poststart => "running",
            Point::Poststop => "stopped",
        }
    }

    /// Whether its failure ends the container; that of the others is only told.
    pub fn is_fatal(self) -> bool {
        !matches!(self, Point::Poststart | Point::Poststop)
    }
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub point: Point,
    /// The program, absolute.
    pub path: String,
    /// Its arguments, its own name first.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// Seconds after which it is ended.
    pub timeout: Option<u64>,
}

/// All hooks, in the order in which they run.
///
/// # Errors
/// A field that isn't as the specification has it.
pub fn hooks(config: &Value) -> Result<Vec<Hook>, JailError> {
    let given = Object::root(config)?.object("hooks")?;
    let mut all = Vec::new();
    for point in Point::ALL {
        for hook in given.objects(point.name())? {
            let path = hook.text("path")?.unwrap_or_default();
            if !path.starts_with('/') {
                let what = format!("`{path}` is no absolute path");
                return Err(JailError::new(hook.at("path"), what));
            }
            let timeout = hook.number("timeout", u64::from(u32::MAX))?;
            if timeout == Some(0) {
                let what = "`0`, expected a number of seconds greater than 0";
                return Err(JailError::new(hook.at("timeout"), what));
            }
            all.push(Hook {
                point,
                path,
                args: hook.texts("args")?,
                env: hook.texts("env")?,
                timeout,
            });
        }
    }
    Ok(all)
}

/// What a hook reads on its standard input.
pub fn state(id: &str, config: &Value, bundle: &std::path::Path, pid: i32, point: Point) -> Value {
    let mut state = json!({
        "ociVersion": config["ociVersion"],
        "id": id,
        "status": point.status(),
        "bundle": bundle,
    });
    if point != Point::Poststop {
        state["pid"] = json!(pid);
    }
    if let Some(annotations) = config.get("annotations").filter(|given| given.is_object()) {
        state["annotations"] = annotations.clone();
    }
    state
}
