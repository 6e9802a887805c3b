//! The environment of the user's process, in the order in which it was written. Reads the
//! container's `/etc/passwd` and nothing else.

use oci_spec::runtime::Process;

use super::user;

/// Where a command without a slash is looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the environment and the directories for a command without a slash.
///
/// Of several variables of one name the last counts and stands where it was written. `HOME` is
/// added when it is missing or empty; `LISTEN_FDS` and `LISTEN_PID` when descriptors are handed
/// down for it.
pub fn build(process: &Process, listen_fds: u32) -> (Vec<String>, String) {
    let mut variables = deduplicated(process.env().iter().flatten());
    let value = |variables: &[String], name: &str| {
        let prefix = format!("{name}=");
        let found = variables.iter().find_map(|v| v.strip_prefix(&prefix));
        found.filter(|v| !v.is_empty()).map(str::to_owned)
    };
    if value(&variables, "HOME").is_none() {
        variables.retain(|v| v != "HOME=");
        variables.push(format!("HOME={}", user::home_of(process.user().uid())));
    }
    if listen_fds > 0 {
        variables.retain(|v| !v.starts_with("LISTEN_FDS=") && !v.starts_with("LISTEN_PID="));
        variables.push(format!("LISTEN_FDS={listen_fds}"));
        variables.push(format!("LISTEN_PID={}", std::process::id()));
    }
    let path = value(&variables, "PATH").unwrap_or_else(|| DEFAULT_PATH.to_owned());
    (variables, path)
}

fn deduplicated<'a>(variables: impl DoubleEndedIterator<Item = &'a String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<String> = variables
        .rev()
        .filter(|v| v.contains('=') && !v.contains('\0'))
        .filter(|v| seen.insert(v.split('=').next().unwrap_or_default()))
        .cloned()
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn process(env: &[&str]) -> Process {
        serde_json::from_value(json!({"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": env}))
            .unwrap()
    }

    #[test]
    fn order_is_kept_and_the_last_of_a_name_counts() {
        let (env, path) = build(&process(&["B=1", "PATH=/x", "A=2", "B=3", "HOME=/h", "odd"]), 0);
        assert_eq!(env, ["PATH=/x", "A=2", "B=3", "HOME=/h"]);
        assert_eq!(path, "/x");
    }

    #[test]
    fn a_missing_home_and_path_are_made_up_for() {
        let (env, path) = build(&process(&["HOME="]), 0);
        assert_eq!(env, ["HOME=/root"]);
        assert_eq!(path, DEFAULT_PATH);
    }

    #[test]
    fn listeners_are_told_their_process() {
        let (env, _) = build(&process(&["HOME=/", "LISTEN_PID=9"]), 2);
        let pid = format!("LISTEN_PID={}", std::process::id());
        assert_eq!(env, ["HOME=/", "LISTEN_FDS=2", pid.as_str()]);
    }
}
