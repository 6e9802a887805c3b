//! A command that is killed at any of its steps: `state` goes on telling the truth, and
//! `delete --force` removes processes, cgroups, mounts and record. The steps are those of a trace by
//! strace, which then kills the command at each of them.

use super::steps::*;
use crate::*;

/// Kills `args` at each step of `steps`. `before` makes the container, `after` looks at it; then
/// nothing may be left.
fn at_each(
    place: &Place,
    steps: &[Step],
    args: &[&str],
    before: impl Fn(),
    after: impl Fn(&Step, Option<String>),
) {
    let mut killed = 0;
    for step in steps {
        before();
        killed += usize::from(kill_at(place, step, args));
        after(step, truth(place, "c", step));
        gone(place, "c", step);
    }
    println!("{}: killed at {killed} of {} steps", args[0], steps.len());
    // A few calls come and go with what other containers have left in the cgroups above.
    assert!(killed * 10 >= steps.len() * 9, "{killed} of {steps:?}");
}

#[test]
fn create_killed_at_each_step() {
    crash("crashcreate", |place, bundle| {
        let pid_file = place.dir.join("pid");
        let args = [
            "create",
            "--bundle",
            bundle,
            "--pid-file",
            pid_file.to_str().unwrap(),
            "c",
        ];
        // The first one fills the filter cache.
        detach(&mut place.cmd(&args));
        place.run(&["delete", "--force", "c"]).ok();
        let steps = trace(place, &args);
        place.run(&["delete", "--force", "c"]).ok();
        at_each(
            place,
            &steps,
            &args,
            || (),
            |step, status| match status.as_deref() {
                // Only the last word to init and the exit were missing: init goes on without them.
                Some("created") => {
                    place.run(&["start", "c"]).ok();
                    assert_eq!(place.status("c"), "running", "{step:?}");
                }
                None | Some("stopped") => {
                    place.run(&["start", "c"]).fails();
                }
                other => panic!("{step:?}: {other:?}"),
            },
        );
    });
}

#[test]
fn start_killed_at_each_step() {
    crash("crashstart", |place, bundle| {
        let create = || detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
        create();
        let steps = trace(place, &["start", "c"]);
        place.run(&["delete", "--force", "c"]).ok();
        at_each(
            place,
            &steps,
            &["start", "c"],
            create,
            |step, status| match status.as_deref() {
                Some("created") => {
                    place.run(&["start", "c"]).ok();
                    assert_eq!(place.status("c"), "running", "{step:?}");
                }
                Some("running") => {}
                other => panic!("{step:?}: {other:?}"),
            },
        );
    });
}

#[test]
fn exec_killed_at_each_step() {
    crash("crashexec", |place, bundle| {
        detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
        place.run(&["start", "c"]).ok();
        let pid_file = place.dir.join("pid");
        let args = [
            "exec",
            "--detach",
            "--pid-file",
            pid_file.to_str().unwrap(),
            "c",
            "sleep",
            "300",
        ];
        let steps = trace(place, &args);
        for step in &steps {
            kill_at(place, step, &args);
            assert_eq!(truth(place, "c", step).as_deref(), Some("running"));
            // The container goes on, and takes others.
            place.run(&["exec", "c", "true"]).ok();
        }
        println!("exec: {} steps", steps.len());
        // The orphans of killed commands are this process's to reap, else init can't end.
        std::thread::scope(|scope| {
            let (done, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                while wait.recv_timeout(Duration::from_millis(20))
                    == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    reap_adopted(place);
                }
            });
            gone(place, "c", &steps[0]);
            drop(done);
        });
    });
}

#[test]
fn delete_killed_at_each_step() {
    crash("crashdelete", |place, bundle| {
        let running = || {
            detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
            place.run(&["start", "c"]).ok();
        };
        running();
        let steps = trace(place, &["delete", "--force", "c"]);
        at_each(
            place,
            &steps,
            &["delete", "--force", "c"],
            running,
            |step, status| {
                assert!(
                    [None, Some("running"), Some("stopped")].contains(&status.as_deref()),
                    "{step:?}: {status:?}"
                );
            },
        );
    });
}

/// `pause` may leave some of the hierarchy's files written: what it says then is so.
#[test]
fn pause_and_resume_killed_at_each_step() {
    crash("crashpause", |place, bundle| {
        detach(&mut place.cmd(&["create", "--bundle", bundle, "c"]));
        place.run(&["start", "c"]).ok();
        for (args, undo) in [
            (["pause", "c"], ["resume", "c"]),
            (["resume", "c"], ["pause", "c"]),
        ] {
            let steps = trace(place, &args);
            place.run(&undo).ok();
            for step in &steps {
                kill_at(place, step, &args);
                let status = truth(place, "c", step).unwrap();
                assert!(
                    ["running", "paused"].contains(&status.as_str()),
                    "{step:?}: {status}"
                );
                // The opposite of what is so can always be done, and is so then.
                let (next, then) = match status.as_str() {
                    "paused" => ("resume", "running"),
                    _ => ("pause", "paused"),
                };
                place.run(&[next, "c"]).ok();
                assert_eq!(place.status("c"), then, "{step:?}");
                let status = place.status("c");
                if (status == "paused") != (args[0] == "resume") {
                    place.run(&undo).ok();
                }
            }
            place.run(&args).ok();
        }
        gone(
            place,
            "c",
            &Step {
                call: "none".into(),
                nth: 0,
            },
        );
    });
}
