//! Finds another runtime's program and says how it is called: path, first arguments, environment,
//! root. What stands here goes into the container's record. It must not run the program.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DelegateError, Settings};
use crate::state::Root;
use crate::sys::spawn::Program;

/// Where programs are looked for, whatever the caller's PATH says: it is often empty, and it is
/// the caller's.
pub const SEARCH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// How a container's runtime is called, for as long as the container lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The backend's name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Arguments before all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables beside the caller's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Its `--root`.
    pub root: PathBuf,
}

impl Runtime {
    /// The runtime called `name`, as it is configured and installed.
    ///
    /// # Errors
    /// There is no such program.
    pub fn find(name: &str, settings: &Settings, root: &Root) -> Result<Runtime, DelegateError> {
        let wanted = settings.path.clone().unwrap_or_else(|| name.into());
        let missing = || DelegateError::Missing {
            name: name.to_owned(),
            program: wanted.clone(),
        };
        let program = locate(&wanted).ok_or_else(missing)?;
        let below = match &settings.root {
            // Containers of one id may live under several roots of pxrun's.
            Some(dir) => dir.join(root.path().strip_prefix("/").unwrap_or(root.path())),
            None => root.path().join(format!("@{name}")),
        };
        Ok(Runtime {
            name: name.to_owned(),
            program,
            args: settings.args.clone(),
            env: settings.env.clone(),
            root: below,
        })
    }

    /// The runtime of a container, as its record has it.
    ///
    /// # Errors
    /// The record holds no such thing.
    pub fn of(record: &crate::state::Record) -> Result<Runtime, DelegateError> {
        serde_json::from_value(record.own.clone()).map_err(|_| DelegateError::Unknown {
            name: record.backend.clone(),
        })
    }

    /// ocijail, which reads annotations where the specification has a section by now.
    pub fn is_ocijail(&self) -> bool {
        self.program.file_name() == Some(OsStr::new("ocijail"))
    }

    /// The program with these arguments and the caller's environment.
    pub fn program(&self, argv: Vec<OsString>) -> Program {
        let name = self.program.file_name().unwrap_or(OsStr::new("runtime"));
        let all = std::iter::once(name.to_owned()).chain(argv);
        Program {
            path: c_string(self.program.as_os_str()),
            argv: all.map(|text| c_string(&text)).collect(),
            env: self.environment(std::env::vars_os()),
        }
    }

    /// The caller's variables, then the configured ones; PATH only where the caller has none.
    fn environment(&self, own: impl Iterator<Item = (OsString, OsString)>) -> Vec<CString> {
        let mut all: BTreeMap<OsString, OsString> = own.collect();
        all.entry("PATH".into())
            .or_insert_with(|| SEARCH.join(":").into());
        all.extend(self.env.iter().map(|(k, v)| (k.into(), v.into())));
        let joined = |(name, value): (OsString, OsString)| {
            let text = [name.as_bytes(), b"=", value.as_bytes()].concat();
            c_string(&OsString::from_vec(text))
        };
        all.into_iter().map(joined).collect()
    }
}

/// Arguments come from argv, the environment and the checked configuration: none holds a NUL.
fn c_string(text: &OsStr) -> CString {
    let bytes = text.as_bytes().iter().copied().take_while(|b| *b != 0);
    CString::new(bytes.collect::<Vec<u8>>()).unwrap_or_default()
}

/// A program by its absolute path, or by its name in [`SEARCH`].
pub fn locate(wanted: &Path) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        let meta = std::fs::metadata(path);
        meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if wanted.is_absolute() {
        return is_program(wanted).then(|| wanted.to_owned());
    }
    let all = SEARCH.iter().map(|dir| Path::new(dir).join(wanted));
    all.into_iter().find(|path| is_program(path))
}
