//! What is found, refused and executed, and what the process finds open.
//! It must not repeat `executable`'s table.

use serde_json::json;

use super::rig::Trial;

#[test]
fn what_cannot_be_executed_says_so_in_the_words_of_runc() {
    for (args, text) in [
        (
            json!(["foo"]),
            "exec: \"foo\": executable file not found in $PATH",
        ),
        (
            json!(["/foo"]),
            "exec: \"/foo\": stat /foo: no such file or directory",
        ),
        (json!(["/bin"]), "exec: \"/bin\": is a directory"),
        (
            json!(["/etc/passwd"]),
            "exec: \"/etc/passwd\": permission denied",
        ),
        (
            json!(["/bin/garbage"]),
            r#"exec: "/bin/garbage": exec format error"#,
        ),
        (json!([]), "args must not be empty"),
    ] {
        let trial = Trial::new(&[]).with("args", args);
        assert_eq!(trial.run(), text);
    }
}

#[test]
fn relative_entries_of_path_are_refused_and_relative_names_are_not() {
    let trial = Trial::new(&["true"])
        .with("cwd", json!("/bin"))
        .with("env", json!(["PATH=."]));
    let trial = trial.with("args", json!(["busybox", "true"]));
    let text = "exec: \"busybox\": cannot run executable found relative to current directory";
    assert_eq!(trial.run(), text);
    let trial = trial.with("args", json!(["./busybox", "echo", "ran"]));
    assert_eq!(trial.run(), "ran\n");
}

#[test]
fn a_name_is_looked_up_in_the_process_s_path() {
    let trial = Trial::new(&[]).with("args", json!(["env"]));
    assert_eq!(trial.run(), "PATH=/bin\nHOME=/root\n");
}

#[test]
fn no_inherited_descriptor_is_left() {
    let open = ["ls", "/proc/self/fd"];
    let shell = "exec 5</dev/null 7</; exec \"$@\"";
    let mut trial = Trial::new(&open);
    trial.shell = shell;
    // 3 is ls's own.
    assert_eq!(trial.run(), "0\n1\n2\n3\n");
    trial.preserve_fds = 1;
    trial.listen_fds = 2;
    assert_eq!(trial.run(), "0\n1\n2\n3\n5\n");
}

#[test]
fn listen_variables_name_the_process_itself() {
    let mut trial = Trial::new(&[
        "sh",
        "-c",
        "echo $LISTEN_FDS; test $LISTEN_PID = $$ && echo same",
    ]);
    trial.listen_fds = 2;
    assert_eq!(trial.run(), "2\nsame\n");
}

#[test]
fn affinity_is_freed_or_set() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if cpus < 2 {
        println!("skipped: one cpu leaves no choice");
        return;
    }
    let list = |trial: &Trial| trial.status("Cpus_allowed_list");
    let mut trial = Trial::new(&["cat", "/proc/self/status"]);
    let free = list(&trial);
    trial.spoil = vec!["pin"];
    assert_eq!(list(&trial), free);
    assert_ne!(free, "0");
    trial.init = false;
    let trial = trial.with("execCPUAffinity", json!({"initial": "0", "final": "1"}));
    assert_eq!(list(&trial), "1");
    let mut trial = trial;
    trial.init = true;
    assert_eq!(list(&trial), free, "it is for exec alone");
}

#[test]
fn scheduler_and_io_priority_reach_the_kernel() {
    // stat: the 19th field is nice, the 41st the policy (proc_pid_stat(5)).
    let fields =
        "set -- $(cat /proc/self/stat); shift 18; echo $1; shift 22; echo $1; ionice -p $$";
    for (scheduler, io, expected) in [
        (
            json!({"policy": "SCHED_BATCH", "nice": 7}),
            ("IOPRIO_CLASS_BE", 5),
            "7\n3\nbest-effort: prio 5\n",
        ),
        (
            json!({"policy": "SCHED_OTHER", "nice": 3}),
            ("IOPRIO_CLASS_IDLE", 0),
            "3\n0\nidle\n",
        ),
    ] {
        let io = json!({"class": io.0, "priority": io.1});
        let mut trial = Trial::new(&["sh", "-c", fields]);
        trial = trial.with("scheduler", scheduler).with("ioPriority", io);
        assert_eq!(trial.run(), expected);
        trial.userns = true;
        assert_eq!(trial.run(), expected, "from the host");
    }
    let trial = Trial::new(&["true"]).with("scheduler", json!({"policy": "SCHED_RR"}));
    assert_eq!(trial.run(), "set process.scheduler: invalid argument");
}

#[test]
fn memory_policy_reaches_the_kernel() {
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0"});
    let trial = Trial::new(&["cat", "/proc/self/numa_maps"]).linux("memoryPolicy", policy);
    let printed = trial.run();
    if printed.contains("ENOSYS") || printed.contains("numa_maps") {
        println!("skipped: this kernel has no NUMA: {printed}");
        return;
    }
    assert!(printed.contains(" bind:0 "), "{printed}");
}
