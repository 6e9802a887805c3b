//! Fenced blocks of Markdown, and the commands in them.
//! It must not run anything.

/// A block of commands.
#[derive(Debug)]
pub struct Block {
    /// Where it begins, counted from one.
    pub line: usize,
    pub kind: Kind,
    pub commands: Vec<Command>,
}

/// What is to become of a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Works,
    Fails,
    NotHere(String),
}

/// A command and what it is said to print.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub line: usize,
    pub text: String,
    pub output: Vec<String>,
}

/// The blocks of commands in a document.
pub fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let inside = lines.by_ref().map(|(at, line)| (at + 1, line));
        let inside: Vec<_> = inside
            .take_while(|(_, l)| !l.trim_start().starts_with("```"))
            .collect();
        let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
        match language {
            "console" => found.push(Block {
                line: at + 1,
                kind: kind(rest).map_err(|e| format!("{}: {e}", at + 1))?,
                commands: commands(&inside)?,
            }),
            "sh" | "bash" | "shell" => {
                return Err(format!(
                    "{}: `{language}`: make it `console`, so that it is tried",
                    at + 1
                ));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn kind(rest: &str) -> Result<Kind, String> {
    match (rest, rest.strip_prefix("not-here: ")) {
        ("", _) => Ok(Kind::Works),
        ("fails", _) => Ok(Kind::Fails),
        (_, Some(reason)) if !reason.trim().is_empty() => Ok(Kind::NotHere(reason.to_owned())),
        _ => Err(format!(
            "`{rest}` is none of `fails` and `not-here: REASON`"
        )),
    }
}

fn commands(lines: &[(usize, &str)]) -> Result<Vec<Command>, String> {
    let mut found: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for &(line, text) in lines {
        let prompt = ["$ ", "# "].iter().find_map(|p| text.strip_prefix(p));
        match (prompt, found.last_mut()) {
            (_, Some(last)) if goes_on => last.text += &format!("\n{text}"),
            (Some(command), _) => found.push(Command {
                line,
                text: command.to_owned(),
                output: Vec::new(),
            }),
            (None, Some(last)) => last.output.push(text.to_owned()),
            (None, None) => return Err(format!("{line}: output before any command")),
        }
        let last = found.last().map(|last| last.text.as_str());
        goes_on = last.is_some_and(|text| text.ends_with('\\')) && (goes_on || prompt.is_some());
    }
    match found.is_empty() {
        true => Err("a block without commands".to_owned()),
        false => Ok(found),
    }
}

/// Whether an output is what the document shows.
pub fn alike(shown: &[String], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line.trim() == "…" => {
            (0..=printed.len()).any(|n| alike(rest, &printed[n..]))
        }
        Some((line, rest)) => match printed.split_first() {
            Some((first, others)) => line_alike(line, first) && alike(rest, others),
            None => false,
        },
    }
}

fn line_alike(shown: &str, printed: &str) -> bool {
    let mut parts = shown.trim_end().split('…');
    let Some(mut rest) = parts
        .next()
        .and_then(|head| printed.trim_end().strip_prefix(head))
    else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((tail, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(tail)
}

#[test]
fn fences_are_read() {
    let text = "a\n```console\n$ one \\\n  two\nout\n\n# three\n```\n```\nplain\n```\n\
                ```console not-here: no cluster\n$ kubectl get pods\n```\n";
    let found = blocks(text).unwrap();
    assert_eq!((found.len(), found[0].line), (2, 2));
    assert_eq!(found[0].commands[0].text, "one \\\n  two");
    assert_eq!(found[0].commands[0].output, ["out", ""]);
    assert_eq!(found[0].commands[1].text, "three");
    assert_eq!(found[1].kind, Kind::NotHere("no cluster".into()));
    for bad in [
        "```sh\nls\n```",
        "```console\nls\n```",
        "```console maybe\n$ ls\n```",
        "```console\n```",
    ] {
        assert!(blocks(bad).is_err(), "{bad}");
    }
}

#[test]
fn outputs_are_compared() {
    let rows: [(&[&str], &[&str], bool); 9] = [
        (&["a"], &["a"], true),
        (&["a"], &["b"], false),
        (&["a"], &[], false),
        (&["a…"], &["abc"], true),
        (&["a…c…e"], &["abcde"], true),
        (&["a…c…e"], &["abde"], false),
        (&["…", "z"], &["x", "y", "z"], true),
        (&["a", "…"], &["a"], true),
        (&["a"], &["a", "b"], false),
    ];
    for (shown, printed, want) in rows {
        let lines: Vec<_> = shown.iter().map(|&l| l.to_owned()).collect();
        assert_eq!(alike(&lines, printed), want, "{shown:?} {printed:?}");
    }
}
