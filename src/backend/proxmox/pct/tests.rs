//! The runner against small programs in place of the tools.

use std::io::Write;
use std::process::Stdio;

use super::*;

/// Written by another process: while this one has the file open for writing, a test that forks on
/// another thread would keep it from being executed.
fn tool(script: &str) -> (tempfile::TempDir, Tool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pct");
    let mut install = Command::new("install")
        .args(["-m755", "/dev/stdin"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = install.stdin.take().unwrap();
    write!(stdin, "#!/bin/sh\n{script}\n").unwrap();
    drop(stdin);
    assert!(install.wait().unwrap().success());
    let tool = Tool::find("pct", Some(dir.path())).unwrap();
    (dir, tool)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn arguments_arrive_as_they_are_and_the_environment_is_ours() {
    let (_dir, tool) = tool(r#"printf '[%s]' "$@"; echo; env | sort; pwd"#);
    let said = tool.call(&["set", "a b", "$X;'\"", ""], LONG).unwrap();
    let mut lines = said.out.lines();
    assert_eq!(lines.next(), Some(r#"[set][a b][$X;'"][]"#));
    assert!(said.out.contains("LC_ALL=C\n"));
    assert!(said.out.contains(&format!("PATH={PATH}\n")));
    assert!(!said.out.contains("HOME="));
    assert!(said.out.ends_with("\n/\n"), "{}", said.out);
}

#[test]
fn a_failure_has_its_reason_and_keeps_the_text() {
    let (_dir, tool) = tool("echo 'CT is locked (backup)' >&2; exit 255");
    let error = tool.call(&["start", "101"], LONG).unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::Locked("backup".into())));
    let line = crate::error::one_line(&anyhow::Error::from(error));
    assert_eq!(
        line,
        "`pct start 101`: the guest is locked by Proxmox: backup"
    );
}

#[test]
fn a_call_without_end_is_ended_with_its_children() {
    let (dir, tool) = tool("sleep 60 & echo $! > $(dirname $0)/child; wait");
    let begun = Instant::now();
    let error = tool
        .call(&["start"], Duration::from_millis(300))
        .unwrap_err();
    assert!(matches!(error, PctError::Late { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let child = std::fs::read_to_string(dir.path().join("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    let runs = || std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z "));
    for _ in 0..100 {
        if !runs() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the child still runs");
}

#[test]
fn a_daemon_left_behind_holds_nothing_up() {
    let (_dir, tool) = tool("sleep 3 & echo done");
    let begun = Instant::now();
    let said = tool.call(&[], LONG).unwrap();
    assert_eq!(said.out, "done\n");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn much_output_neither_blocks_nor_fills_memory() {
    let (_dir, tool) = tool("head -c 1000000 /dev/zero | tr '\\0' x");
    assert_eq!(tool.call(&[], LONG).unwrap().out.len(), KEPT);
}

#[test]
fn secrets_are_in_no_text() {
    let (_dir, tool) = tool("exit 7");
    let error = tool.call(&["create", "--password", "hunter2", "x y"], LONG);
    let text = format!("{:#}", anyhow::Error::from(error.unwrap_err()));
    assert!(!text.contains("hunter2"), "{text}");
    assert!(
        text.starts_with("`pct create --password *** 'x y'`"),
        "{text}"
    );
}

#[test]
fn a_tool_is_never_looked_up_in_path() {
    let none = Tool::find("pct", Some(Path::new("/nonexistent")));
    assert!(matches!(none, Err(PctError::Absent("pct"))));
    assert!(Tool::find("pct", Some(Path::new("."))).is_err());
}
