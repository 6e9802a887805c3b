use super::leftovers::mount_points;
use super::*;

fn report() -> Report {
    Report {
        host: host(),
        backends: vec![BackendReport {
            name: "crun".into(),
            needed: true,
            version: Some("crun version 1".into()),
            program: Some("/usr/bin/crun".into()),
            unusable: None,
            lacks: BTreeMap::from([("checkpoint".into(), "criu is not installed".into())]),
            findings: Vec::new(),
        }],
        configuration: vec![Finding::new("file", Verdict::Good, "absent")],
        leftovers: vec![Leftover::new("container `c` has stopped", "pxrun delete c")],
    }
}

#[test]
fn good_means_that_what_is_needed_is_there() {
    let mut report = report();
    report
        .host
        .retain(|finding| finding.verdict != Verdict::Bad);
    assert!(
        report.is_good(),
        "what lacks and what is left over is no fault"
    );
    report.backends[0].unusable = Some("no program".into());
    assert!(!report.is_good());
    report.backends[0].needed = false;
    assert!(report.is_good());
    report.configuration[0].verdict = Verdict::Bad;
    assert!(!report.is_good());
}

#[test]
fn the_text_names_each_thing_and_what_mends_it() {
    let text = report().to_string();
    for part in [
        "kernel",
        "cgroups",
        "crun version 1",
        "checkpoint: criu",
        "mend: pxrun delete c",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn an_old_kernel_is_bad() {
    let verdict = |version, name: &str| {
        let all = host::kernel(version);
        all.iter()
            .find(|finding| finding.name == name)
            .unwrap()
            .verdict
    };
    assert_eq!(verdict((5, 4), "clone3"), Verdict::Bad);
    assert_eq!(verdict((6, 1), "clone3"), Verdict::Good);
    assert_eq!(verdict((6, 1), "exit status"), Verdict::Lacking);
    assert_eq!(verdict((6, 15), "exit status"), Verdict::Good);
}

#[test]
fn mounts_below_the_root_without_a_record_are_found() {
    let text =
        "22 1 0:5 / /run/p\\040x/gone/rootfs rw - tmpfs t rw\n23 1 0:5 / /proc rw - proc p rw\n";
    assert_eq!(
        mount_points(text),
        [Path::new("/run/p x/gone/rootfs"), Path::new("/proc")]
    );
    // The real table holds no mount below a directory that nobody made.
    assert_eq!(stray_mounts(Path::new("/nowhere"), &[]), []);
}

#[test]
fn cgroups_without_a_record_are_found() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["known", "idle", "busy"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("busy/cgroup.procs"), "7\n8\n").unwrap();
    let mut mends: Vec<String> = stray_cgroups(dir.path(), &["known"])
        .into_iter()
        .map(|leftover| leftover.mend)
        .collect();
    mends.sort();
    let at = dir.path().display();
    assert_eq!(
        mends,
        [
            format!("kill -KILL 7 8 && rmdir {at}/busy"),
            format!("rmdir {at}/idle")
        ]
    );
}

#[test]
fn a_file_that_others_may_write_is_bad() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    let rights = |mode| std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode));
    rights(0o644).unwrap();
    assert_eq!(file_rights(file.path()), None);
    rights(0o666).unwrap();
    assert_eq!(file_rights(file.path()).unwrap().verdict, Verdict::Bad);
}
