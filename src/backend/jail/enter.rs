//! How a process comes into a jail: every step between the fork and the execve, in its order, for the
//! jail's first process and for `exec`. Pure; the kernel stands behind [`Kernel`].

use super::process::Process;

/// One step. The first group needs the host's rights, what follows [`Step::Attach`] has the jail's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A session of its own (setsid(2)).
    Session,
    /// The terminal becomes the session's own and standard input, output and error.
    Terminal,
    /// setrlimit(2): resource, soft, hard. More than the host's takes the host's rights.
    Limit(&'static str, u64, u64),
    /// jail_attach(2): the root directory is the jail's from here on.
    Attach(i32),
    /// chdir(2), in the jail, while every directory may be entered.
    Directory(String),
    /// setgroups(2): the first one is the effective group on FreeBSD.
    Groups(Vec<u32>),
    /// setresgid(2).
    Group(u32),
    /// umask(2).
    Mask(u32),
    /// setresuid(2): nothing that takes rights can follow.
    User(u32),
    /// execve(2), the program looked for in the PATH of `env`.
    Execute {
        /// Program and arguments.
        args: Vec<String>,
        /// `NAME=VALUE`.
        env: Vec<String>,
    },
}

/// The steps of `process` into the jail `jid`.
pub fn steps(process: &Process, jid: i32) -> Vec<Step> {
    let mut all = vec![Step::Session];
    all.extend(process.terminal.then_some(Step::Terminal));
    let limits = process.limits.iter();
    all.extend(limits.map(|(name, soft, hard)| Step::Limit(name, *soft, *hard)));
    all.push(Step::Attach(jid));
    all.push(Step::Directory(process.cwd.clone()));
    let groups = std::iter::once(process.gid).chain(process.groups.iter().copied());
    all.push(Step::Groups(groups.collect()));
    all.push(Step::Group(process.gid));
    all.extend(process.umask.map(Step::Mask));
    all.push(Step::User(process.uid));
    all.push(Step::Execute {
        args: process.args.clone(),
        env: process.env.clone(),
    });
    all
}

/// Where the program of `args` may be: by its path, or in the PATH of `env` (execvp(3)).
pub fn programs(args: &[String], env: &[String]) -> Vec<String> {
    let name = args.first().map_or("", String::as_str);
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let given = env.iter().rev().find_map(|text| text.strip_prefix("PATH="));
    let dirs = given.unwrap_or("/usr/bin:/bin").split(':');
    let dirs = dirs.map(|dir| if dir.is_empty() { "." } else { dir });
    dirs.map(|dir| format!("{dir}/{name}")).collect()
}

/// What takes the steps, or writes them down.
pub trait Kernel {
    /// Takes one. [`Step::Execute`] returns only when it failed.
    ///
    /// # Errors
    /// The kernel's.
    fn step(&mut self, step: &Step) -> std::io::Result<()>;
}

/// Why a process didn't get into its jail.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct EnterError {
    /// The step.
    doing: String,
    /// The cause.
    #[source]
    cause: std::io::Error,
}

/// Takes all steps. On a host the last one doesn't return.
///
/// # Errors
/// The first step that failed: none after it is taken.
pub fn enter(process: &Process, jid: i32, kernel: &mut dyn Kernel) -> Result<(), EnterError> {
    for step in steps(process, jid) {
        kernel.step(&step).map_err(|cause| EnterError {
            doing: doing(&step),
            cause,
        })?;
    }
    Ok(())
}

fn doing(step: &Step) -> String {
    match step {
        Step::Session => "begin a session".to_owned(),
        Step::Terminal => "take the terminal".to_owned(),
        Step::Limit(name, ..) => format!("process.rlimits: set `{name}`"),
        Step::Attach(jid) => format!("attach to jail `{jid}`"),
        Step::Directory(path) => format!("process.cwd: change to `{path}`"),
        Step::Groups(_) => "process.user.additionalGids: set groups".to_owned(),
        Step::Group(id) => format!("process.user.gid: become group `{id}`"),
        Step::Mask(_) => "process.user.umask: set".to_owned(),
        Step::User(id) => format!("process.user.uid: become user `{id}`"),
        Step::Execute { args, .. } => {
            let program = args.first().map_or("", String::as_str);
            format!("exec: `{program}`")
        }
    }
}
