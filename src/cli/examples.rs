//! One example a command, for the end of its help.
//! Texts alone; that each command has one is checked here.

use clap::builder::StyledStr;

/// Commands as they are typed.
const TABLE: &[(&str, &[&str])] = &[
    (
        "create",
        &["pxrun create --bundle /srv/web --pid-file /run/web.pid web"],
    ),
    ("start", &["pxrun start web"]),
    ("state", &["pxrun state web | jq .status"]),
    ("kill", &["pxrun kill web TERM", "pxrun kill --all web 9"]),
    ("delete", &["pxrun delete web", "pxrun delete --force web"]),
    (
        "run",
        &[
            "pxrun run --bundle /srv/web web",
            "pxrun run --detach --bundle /srv/web web",
        ],
    ),
    (
        "exec",
        &[
            "pxrun exec --tty web sh",
            "pxrun exec --user 1000:1000 --env LANG=C web ls -la /srv",
        ],
    ),
    (
        "ps",
        &[
            "pxrun ps web",
            "pxrun ps --format json web",
            "pxrun ps web -ef",
        ],
    ),
    (
        "list",
        &[
            "pxrun list",
            "pxrun list --format json",
            "pxrun list --quiet",
        ],
    ),
    ("pause", &["pxrun pause web"]),
    ("resume", &["pxrun resume web"]),
    (
        "update",
        &[
            "pxrun update --memory 512m --pids-limit 200 web",
            "echo '{\"memory\": {\"limit\": 536870912}}' | pxrun update --resources - web",
        ],
    ),
    (
        "events",
        &[
            "pxrun events --stats web",
            "pxrun events --interval 10s web",
        ],
    ),
    (
        "checkpoint",
        &["pxrun checkpoint --image-path /srv/images/web web"],
    ),
    (
        "restore",
        &["pxrun restore --bundle /srv/web --image-path /srv/images/web web"],
    ),
    ("spec", &["pxrun spec --bundle /srv/web"]),
    ("features", &["pxrun features | jq .linux.namespaces"]),
    (
        "setup",
        &[
            "pxrun setup podman --dry-run",
            "pxrun setup podman && podman run --runtime pxrun alpine echo hello",
            "pxrun setup podman --undo",
        ],
    ),
    (
        "route",
        &[
            "pxrun route --bundle /srv/web --id web",
            "pxrun route --format json",
        ],
    ),
    ("config", &["pxrun config check", "pxrun config show"]),
    (
        "pct",
        &["pxrun pct web config", "pxrun pct web set --cores 2"],
    ),
    ("doctor", &["pxrun doctor", "pxrun doctor --json"]),
    (
        "completion",
        &["pxrun completion bash >/etc/bash_completion.d/pxrun"],
    ),
];

/// The examples of a command.
pub fn of(command: &str) -> Option<&'static [&'static str]> {
    let row = TABLE.iter().find(|(name, _)| *name == command);
    row.map(|(_, lines)| *lines)
}

/// The end of a command's help.
pub fn block(lines: &[&str]) -> StyledStr {
    let head = match lines {
        [_] => "Example:",
        _ => "Examples:",
    };
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    format!("{head}{lines}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_one_that_parses() {
        let root = crate::cli::command();
        // The help of a command of commands lists those.
        let single = root.get_subcommands().filter(|c| !c.has_subcommands());
        for command in single {
            let name = command.get_name();
            let lines = of(name);
            let lines = lines.unwrap_or_else(|| panic!("no example of `{name}` in the table"));
            for line in lines {
                let start = line.find("pxrun").expect("it calls pxrun");
                let words = line[start..].split(' ');
                let words = words.take_while(|w| !["|", "&&"].contains(w) && !w.starts_with('>'));
                let parsed = crate::cli::Cli::parse_from_args(words.map(Into::into));
                assert!(parsed.is_ok(), "{line}: {parsed:?}");
            }
        }
    }
}
