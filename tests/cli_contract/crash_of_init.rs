//! A container's first process that is killed at any of its steps, before it is the user's: the
//! command that waits for it fails with a word, and nothing else is left than after any failure.

use super::steps::*;
use crate::*;

/// The calls of a traced process that aren't the command's.
fn own_steps(place: &Place, traces: &str, init: i32) -> Vec<Step> {
    let mut others: Vec<Step> = Vec::new();
    let mut own = Vec::new();
    for entry in fs::read_dir(&place.dir).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some(pid) = name.strip_prefix(traces).and_then(|n| n.strip_prefix('.')) else {
            continue;
        };
        let text = fs::read_to_string(entry.path()).unwrap();
        match pid == init.to_string() {
            true => own = steps(text.lines()),
            false => others.extend(calls(text.lines())),
        }
    }
    // strace counts each process's calls by themselves: another one would be killed, too.
    own.retain(|step| !others.contains(step));
    assert!(!own.is_empty(), "no trace of the first process");
    own
}

/// The runtime under strace with all of its processes. strace ends when they have ended.
fn traced(place: &Place, options: &[&str], args: &[&str]) -> std::process::Child {
    let options = [&["-f"], options].concat();
    strace(place, &options, args).spawn().expect("start strace")
}

/// Waits until the command is over one way or the other; whether the container waits for `start`.
fn created(place: &Place, strace: &mut std::process::Child) -> bool {
    let mut stands = false;
    wait_until("end of create", || {
        let state = place.run(&["state", "c"]);
        stands = state.code() == 0 && state.json()["status"] == "created";
        stands || strace.try_wait().unwrap().is_some()
    });
    stands
}

#[test]
fn init_killed_at_each_step_of_create() {
    if common::backend().is_some() {
        println!("skipped: LXC makes the first process, out of a trace of the command");
        return;
    }
    crash("crashinit", |place, _| {
        let bundle = place.bundle("plain", SLEEP, |c| {
            let mount = json!({"destination": "/mnt", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]});
            c["mounts"].as_array_mut().unwrap().push(mount);
        });
        let args = ["create", "--bundle", bundle.dir.to_str().unwrap(), "c"];
        let traces = place.dir.join("init");
        let mut strace = traced(place, &["-ff", "-o", traces.to_str().unwrap()], &args);
        assert!(created(place, &mut strace), "create under strace");
        let init = place.state("c")["pid"].as_i64().unwrap() as i32;
        place.run(&["delete", "--force", "c"]).ok();
        assert!(strace.wait().unwrap().success());
        let steps = own_steps(place, "init", init);
        // It waits for `start` from there on.
        let last = steps.iter().position(|step| step.call == "accept4");
        let steps = &steps[..last.expect("it accepts `start`")];
        for step in steps {
            let (trace, inject) = injection(step);
            let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
            let mut strace = traced(place, &options, &args);
            assert!(!created(place, &mut strace), "{step:?}: created");
            assert_eq!(strace.wait().unwrap().code(), Some(1), "{step:?}: create");
            assert_eq!(truth(place, "c", step), None, "{step:?}: taken back");
            gone(place, "c", step);
        }
        println!("create: init killed at {} steps", steps.len());
    });
}

#[test]
fn init_killed_at_each_step_of_start() {
    crash("crashrun", |place, bundle| {
        // strace at the waiting process; `start` then lets it go.
        let begin = |options: &[&str]| {
            detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
            let pid = place.state("c")["pid"].as_i64().unwrap() as i32;
            let init = common::init_of(pid);
            let mut strace = cmd("strace");
            strace.args(["-qq", "-p", &init.to_string()]).args(options);
            strace.stdin(Stdio::null()).stderr(Stdio::null());
            let strace = strace.spawn().expect("start strace");
            wait_until("strace at init", || {
                fs::read_to_string(format!("/proc/{init}/status"))
                    .is_ok_and(|status| status.contains(&format!("TracerPid:\t{}\n", strace.id())))
            });
            (strace, pid)
        };
        let file = place.dir.join("start");
        let (mut strace, _) = begin(&["-o", file.to_str().unwrap()]);
        place.run(&["start", "c"]).ok();
        place.run(&["delete", "--force", "c"]).ok();
        strace.wait().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let all: Vec<_> = text.lines().collect();
        let exec = all.iter().position(|line| line.starts_with("execve("));
        let own = &all[..exec.expect("it executes the user's process")];
        // It stands in the first call: that would be a kill of the waiting container.
        let steps = steps(own.iter().copied()).split_off(1);
        assert!(steps.len() > 2, "{text}");
        for step in &steps {
            let (trace, inject) = injection(step);
            let (mut strace, pid) = begin(&["-o", "/dev/null", "-e", &trace, "-e", &inject]);
            let start = place.run(&["start", "c"]);
            // From its word that execve is next on, its end is like one after execve.
            let told = step.call == "seccomp" && start.code() == 0;
            if !told {
                start.exits(1).says("start container `c`");
            }
            strace.wait().unwrap();
            // At once, but for a keeper, which has its own end to come to.
            if has_keeper() {
                wait_until("end of keeper", || place.status("c") == "stopped");
            }
            assert_eq!(
                truth(place, "c", step).as_deref(),
                Some("stopped"),
                "{step:?}"
            );
            place.run(&["start", "c"]).fails();
            gone(place, "c", step);
            assert!(!alive(pid), "{step:?}");
        }
        println!("start: init killed at {} steps", steps.len());
    });
}
