//! What jls(8) and ps(1) are asked about a jail, and what their answers mean.

use super::run::{Call, RunError, Runner};

const JLS: &str = "/usr/sbin/jls";
const PS: &str = "/bin/ps";

/// The jail's number, by which the kernel's calls and ps(1) know it.
///
/// # Errors
/// There is no such jail, or the answer is no number.
pub fn jid(name: &str, runner: &mut dyn Runner) -> Result<i32, RunError> {
    let call = Call::new(JLS, ["-j", name, "jid"]);
    let answer = runner.run(&call)?;
    number(answer.trim()).ok_or_else(|| unread(call, &answer))
}

/// The pids of all its processes, ascending.
///
/// # Errors
/// They can't be listed.
pub fn pids(jid: i32, runner: &mut dyn Runner) -> Result<Vec<i32>, RunError> {
    let call = Call::new(
        PS,
        ["-J".to_owned(), jid.to_string(), "-o".into(), "pid=".into()],
    );
    let answer = match runner.run(&call) {
        // ps(1) fails without a word where it has nothing to print.
        Err(RunError::Failed { words, .. }) if words.is_empty() => return Ok(Vec::new()),
        answer => answer?,
    };
    let lines = answer
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let pids: Option<Vec<i32>> = lines.map(number).collect();
    let mut pids = pids.ok_or_else(|| unread(call, &answer))?;
    pids.sort_unstable();
    Ok(pids)
}

/// `ps` of a container as its caller wants it: the caller's own options, the jail's processes.
pub fn table(jid: i32, options: &[String]) -> Call {
    let mut args = vec!["-J".to_owned(), jid.to_string()];
    match options.is_empty() {
        true => args.push("-l".to_owned()),
        false => args.extend(options.iter().cloned()),
    }
    Call::new(PS, args)
}

/// The state of a container by its first process: ps(1)'s letter, `None` where there is no process.
pub fn status(pid: i32, started: bool, runner: &mut dyn Runner) -> &'static str {
    let pid = pid.to_string();
    let call = Call::new(PS, ["-p", &pid, "-o", "state="]);
    let letter = runner.run(&call).unwrap_or_default();
    match (letter.trim().chars().next(), started) {
        (None | Some('Z'), _) => "stopped",
        (Some(_), true) => "running",
        (Some(_), false) => "created",
    }
}

fn number(text: &str) -> Option<i32> {
    text.parse().ok().filter(|number| *number > 0)
}

fn unread(call: Call, answer: &str) -> RunError {
    RunError::Failed {
        call: Box::new(call),
        words: format!("unexpected answer `{}`", answer.trim().escape_debug()),
    }
}
