//! What the jail's process is before its execve: user, directory, limits, environment. Pure.

use serde::Serialize;
use serde_json::Value;

use super::JailError;
use super::read::Object;

/// A process of a jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// In the jail, absolute.
    pub cwd: String,
    /// Ids.
    pub uid: u32,
    /// Ids.
    pub gid: u32,
    /// Ids.
    pub groups: Vec<u32>,
    /// `umask`.
    pub umask: Option<u32>,
    /// Name as setrlimit(2) has it, soft, hard.
    pub limits: Vec<(&'static str, u64, u64)>,
    /// Whether it gets a terminal.
    pub terminal: bool,
}

/// Limits of FreeBSD's; Linux has others beside them.
const LIMITS: [&str; 15] = [
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_KQUEUES",
    "RLIMIT_MEMLOCK",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_NPTS",
    "RLIMIT_RSS",
    "RLIMIT_SBSIZE",
    "RLIMIT_STACK",
    "RLIMIT_SWAP",
    "RLIMIT_UMTXP",
];

impl Process {
    /// Reads the `process` of a document.
    ///
    /// # Errors
    /// A field that isn't as the specification has it.
    pub fn read(config: &Value) -> Result<Process, JailError> {
        let given = Object::root(config)?.object("process")?;
        let args = given.texts("args")?;
        if args.is_empty() {
            return Err(JailError::new(given.at("args"), "expected a program"));
        }
        let cwd = given.text("cwd")?.unwrap_or_else(|| "/".to_owned());
        if !cwd.starts_with('/') {
            return Err(JailError::new(
                given.at("cwd"),
                format!("`{cwd}` is no absolute path"),
            ));
        }
        let user = given.object("user")?;
        let id = |name: &str| -> Result<u32, JailError> {
            let id = user.number(name, u64::from(u32::MAX) - 1)?.unwrap_or(0);
            Ok(u32::try_from(id).unwrap_or(0))
        };
        Ok(Process {
            args,
            env: given.texts("env")?,
            cwd,
            uid: id("uid")?,
            gid: id("gid")?,
            groups: user.ids("additionalGids")?,
            umask: user
                .number("umask", 0o777)?
                .and_then(|mask| u32::try_from(mask).ok()),
            limits: limits(&given)?,
            terminal: given.flag("terminal")?.unwrap_or(false),
        })
    }
}

fn limits(given: &Object<'_>) -> Result<Vec<(&'static str, u64, u64)>, JailError> {
    let all = given.objects("rlimits")?.into_iter();
    all.map(|limit| {
        let name = limit.word("type", &LIMITS)?;
        let name = name.ok_or_else(|| JailError::new(limit.at("type"), "expected a limit"))?;
        let soft = limit.number("soft", u64::MAX)?.unwrap_or(0);
        let hard = limit.number("hard", u64::MAX)?.unwrap_or(0);
        match soft <= hard {
            true => Ok((name, soft, hard)),
            false => Err(JailError::new(limit.at("soft"), "more than `hard`")),
        }
    })
    .collect()
}
