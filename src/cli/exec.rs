//! Arguments of `exec`, and the small grammars inside of them.
//! Users and groups by name stay names: only the container's own files can resolve them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// Arguments of `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Exec {
    /// file with the whole process description, as `process` in config.json
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// don't wait for the command's end
    #[arg(short, long)]
    pub detach: bool,
    /// give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// file to write the command's process id to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// socket that receives the master end of the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// socket that receives a pidfd of the command
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// working directory in the container
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// set a variable, or pass on the caller's when there is no `=`; can be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<EnvVar>,
    /// user and group, by id or by the container's names
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<User>,
    /// additional group id; can be repeated
    #[arg(short = 'g', long, value_name = "GID", value_delimiter = ',')]
    pub additional_gids: Vec<u32>,
    /// add a capability; can be repeated
    #[arg(short, long, value_name = "CAPABILITY")]
    pub cap: Vec<String>,
    /// never gain privileges by execve
    #[arg(long)]
    pub no_new_privs: bool,
    /// selinux label of the command
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// apparmor profile of the command
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// don't adopt processes that the command leaves behind
    #[arg(long)]
    pub no_subreaper: bool,
    /// pass N descriptors after stdio and $LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t)]
    pub preserve_fds: i32,
    /// cgroup below the container's, with cgroup v1 for these controllers; can be repeated
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    pub cgroup: Vec<SubCgroup>,
    /// allow a paused container: the command runs once it is resumed
    #[arg(long)]
    pub ignore_paused: bool,
    /// container to run in
    pub container_id: String,
    /// command and its arguments; needed without --process
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "process"
    )]
    pub command: Vec<String>,
}

/// One `--env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvVar {
    /// `NAME=VALUE`.
    Set(String, String),
    /// `NAME` alone: take the value that pxrun itself was given, nothing if it has none.
    Inherit(String),
}

/// `--user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Before the colon.
    pub user: Principal,
    /// After the colon.
    pub group: Option<Principal>,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Decimal number.
    Id(u32),
    /// Anything else: a name of the container's `/etc/passwd` or `/etc/group`.
    Name(String),
}

/// One `--cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubCgroup {
    /// Cgroup v1 controllers that the path is for; none means all.
    pub controllers: Vec<String>,
    /// Path relative to the container's own cgroup, not yet checked for `..`.
    pub path: PathBuf,
}

/// An argument that doesn't follow its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecArgError {
    /// `--env` without a name, or with a NUL.
    #[error("expected NAME=VALUE or NAME")]
    Env,
    /// `--user` with an empty part, or with more than one colon.
    #[error("expected USER or USER:GROUP")]
    User,
    /// A number above what an id can hold.
    #[error("id is above 4294967294")]
    Id,
    /// `--cgroup` with an empty part.
    #[error("expected PATH or CONTROLLER,...:PATH")]
    Cgroup,
}

impl EnvVar {
    /// The pair to set; `own` looks a name up in pxrun's own environment.
    pub fn resolve(&self, own: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
        match self {
            Self::Set(name, value) => Some((name.clone(), value.clone())),
            Self::Inherit(name) => own(name).map(|value| (name.clone(), value)),
        }
    }
}

impl FromStr for EnvVar {
    type Err = ExecArgError;

    fn from_str(text: &str) -> Result<Self, ExecArgError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if name.is_empty() || text.contains('\0') {
            return Err(ExecArgError::Env);
        }
        let name = name.to_owned();
        Ok(match value {
            Some(value) => Self::Set(name, value.to_owned()),
            None => Self::Inherit(name),
        })
    }
}

impl FromStr for User {
    type Err = ExecArgError;

    fn from_str(text: &str) -> Result<Self, ExecArgError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        Ok(Self {
            user: user.parse()?,
            group: group.map(str::parse).transpose()?,
        })
    }
}

impl FromStr for Principal {
    type Err = ExecArgError;

    fn from_str(text: &str) -> Result<Self, ExecArgError> {
        if text.is_empty() || text.contains([':', '\0']) {
            return Err(ExecArgError::User);
        }
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self::Name(text.to_owned()));
        }
        // The highest number means "leave as it is" to setresuid(2).
        match text.parse() {
            Ok(id) if id != u32::MAX => Ok(Self::Id(id)),
            _ => Err(ExecArgError::Id),
        }
    }
}

impl FromStr for SubCgroup {
    type Err = ExecArgError;

    fn from_str(text: &str) -> Result<Self, ExecArgError> {
        let (controllers, path) = match text.split_once(':') {
            Some((names, path)) => (names.split(',').map(str::to_owned).collect(), path),
            None => (Vec::new(), text),
        };
        if path.is_empty() || controllers.iter().any(String::is_empty) {
            return Err(ExecArgError::Cgroup);
        }
        Ok(Self {
            controllers,
            path: path.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Principal {
        Principal::Name(text.to_owned())
    }

    #[test]
    fn users() {
        let rows = [
            ("0", Principal::Id(0), None),
            ("1000:5", Principal::Id(1000), Some(Principal::Id(5))),
            ("web", name("web"), None),
            ("web:staff", name("web"), Some(name("staff"))),
            ("7:staff", Principal::Id(7), Some(name("staff"))),
            ("-1", name("-1"), None),
        ];
        for (text, user, group) in rows {
            assert_eq!(text.parse(), Ok(User { user, group }), "{text}");
        }
        for text in ["", ":", "a:", ":a", "a:b:c", "4294967295", "99999999999"] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
    }

    #[test]
    fn variables() {
        let set = |n: &str, v: &str| Ok(EnvVar::Set(n.to_owned(), v.to_owned()));
        assert_eq!("A=1".parse(), set("A", "1"));
        assert_eq!("A=".parse(), set("A", ""));
        assert_eq!("A=b=c".parse(), set("A", "b=c"));
        assert_eq!("A".parse(), Ok(EnvVar::Inherit("A".to_owned())));
        assert!("".parse::<EnvVar>().is_err() && "=x".parse::<EnvVar>().is_err());

        let own = |name: &str| (name == "A").then(|| "mine".to_owned());
        let pair = |n: &str, v: &str| Some((n.to_owned(), v.to_owned()));
        assert_eq!(EnvVar::Inherit("A".into()).resolve(own), pair("A", "mine"));
        assert_eq!(EnvVar::Inherit("B".into()).resolve(own), None);
        assert_eq!(
            EnvVar::Set("A".into(), "x".into()).resolve(own),
            pair("A", "x")
        );
    }

    #[test]
    fn cgroups() {
        let parsed: SubCgroup = "cpu,memory:a/b".parse().unwrap();
        assert_eq!(parsed.controllers, ["cpu", "memory"]);
        assert_eq!(parsed.path, PathBuf::from("a/b"));
        let parsed: SubCgroup = "/a".parse().unwrap();
        assert!(parsed.controllers.is_empty());
        for text in ["", "cpu:", ":a", "cpu,:a"] {
            assert!(text.parse::<SubCgroup>().is_err(), "{text}");
        }
    }
}
