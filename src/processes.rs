//! The host's `ps` narrowed to the processes of a container. Starts one child with a fixed PATH and
//! touches nothing else.

use std::process::Command;

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum PsError {
    /// It could not be run.
    #[error("run `ps`")]
    Run(#[source] std::io::Error),
    /// It ended with an error; its words.
    #[error("`ps`: {0}")]
    Failed(String),
    /// No PID column to narrow by.
    #[error("`ps` printed no PID column")]
    NoPidColumn,
}

/// Runs `ps` with the options (by default `-ef`) and keeps the heading and the lines of `pids`.
pub fn table(pids: &[i32], options: &[String]) -> Result<String, PsError> {
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() {
        &default[..]
    } else {
        options
    };
    let output = Command::new("/bin/ps")
        .args(options)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .map_err(PsError::Run)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(PsError::Failed(
            words.lines().next().unwrap_or("failed").to_owned(),
        ));
    }
    narrow(&String::from_utf8_lossy(&output.stdout), pids)
}

fn narrow(text: &str, pids: &[i32]) -> Result<String, PsError> {
    let mut lines = text.lines();
    let heading = lines.next().ok_or(PsError::NoPidColumn)?;
    let column = heading.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or(PsError::NoPidColumn)?;
    let wanted = |line: &&str| {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|p| p.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    let kept: Vec<&str> = std::iter::once(heading)
        .chain(lines.filter(wanted))
        .collect();
    Ok(kept.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::narrow;

    #[test]
    fn only_the_containers_lines_are_kept() {
        let text = "UID   PID  CMD\nroot    1  init\nroot   12  sleep 1\nroot  112  sh";
        assert_eq!(
            narrow(text, &[12]).unwrap(),
            "UID   PID  CMD\nroot   12  sleep 1"
        );
        assert!(narrow("UID CMD\n", &[1]).is_err());
    }
}
