//! How long a profile as large as podman's takes to compile, and to read back.
//! It must not be part of an ordinary run: it measures, and checks only the order of the two.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Program;

/// podman's profile as it hands it to a runtime: without the rules for single capabilities, and
/// with its architectures spelt out.
pub fn podman_profile() -> Option<oci_spec::runtime::LinuxSeccomp> {
    let text = std::fs::read_to_string("/usr/share/containers/seccomp.json").ok()?;
    let file: Value = serde_json::from_str(&text).unwrap();
    let rules = file["syscalls"].as_array().unwrap().iter().filter(|rule| {
        let includes = rule["includes"].as_object();
        includes.is_none_or(|includes| includes.is_empty())
    });
    let rule = |rule: &Value| {
        let mut plain = json!({"names": rule["names"], "action": rule["action"]});
        for field in ["errnoRet", "args"] {
            if !rule[field].is_null() {
                plain[field] = rule[field].clone();
            }
        }
        plain
    };
    let rules: Vec<_> = rules.map(rule).collect();
    let profile = json!({
        "defaultAction": file["defaultAction"], "defaultErrnoRet": file["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    });
    Some(serde_json::from_value(profile).unwrap())
}

fn median(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}

#[test]
#[ignore = "measures"]
fn a_cached_program_is_faster_than_a_compiled_one() {
    let Some(profile) = podman_profile() else {
        println!("skipped: podman's seccomp.json is not installed");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let program = Program::load_or_compile(&profile, Some(root.path())).unwrap();
    let compile = median(31, || drop(Program::compile(&profile).unwrap()));
    let cached = median(301, || {
        drop(Program::load_or_compile(&profile, Some(root.path())).unwrap());
    });
    println!("{} instructions", program.instructions());
    println!("compile {compile:?}, cached {cached:?}");
    assert!(cached < compile);
}
