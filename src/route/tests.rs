use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn facts(spec: &Value) -> Facts {
    Facts::new("web-1", Path::new("/bundles/web-1"), spec, 1000).unwrap()
}

fn config(text: &str) -> Config {
    Config::parse(Path::new("test.toml"), text).unwrap()
}

fn host() -> Host {
    let all = ["embedded", "crun", "runc", "lxc"];
    let mut backends: BTreeMap<String, Ability> =
        all.map(|name| (name.to_owned(), Ability::default())).into();
    backends.insert("gone".into(), Ability::unusable("no program"));
    let lacking = Ability::default().without(Need::Checkpoint, "it has no criu");
    backends.insert("embedded".into(), lacking);
    Host {
        own: "embedded".into(),
        backends,
        partner: None,
    }
}

fn goes_to(text: &str, spec: &Value) -> String {
    match decide(&facts(spec), &config(text), &host()) {
        Ok(route) => route.backend,
        Err(refused) => format!("refused: {refused}"),
    }
}

fn pod() -> Value {
    json!({
        "hostname": "db0",
        "root": {"path": "rootfs"},
        "annotations": {
            "io.kubernetes.cri.image-name": "docker.io/library/postgres:16",
            "io.kubernetes.cri.sandbox-namespace": "prod-eu",
            "io.kubernetes.cri.sandbox-name": "db-0",
            "io.kubernetes.cri.container-name": "postgres",
        },
        "mounts": [{"destination": "/a", "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}],
        "linux": {"namespaces": [{"type": "user"}]},
    })
}

#[test]
fn a_rule_annotates_its_containers() {
    let text = r#"
        [[rule]]
        match = { hostname = "other" }
        backend = "lxc"
        annotate = { a = "never" }
        [[rule]]
        match = { image = "*/postgres:*" }
        backend = "lxc"
        annotate = { a = "1", "io.kubernetes.cri.sandbox-name" = "not over the own one" }
    "#;
    let annotated = |spec: &Value, host: &Host| {
        let route = decide(&facts(spec), &config(text), host).unwrap();
        (route.backend, route.annotate)
    };
    let one = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    assert_eq!(annotated(&pod(), &host()), ("lxc".to_owned(), one.clone()));
    // Whoever chose the backend.
    let mut host = host();
    host.partner = Some(Partner {
        id: "sandbox".into(),
        backend: "lxc".into(),
        shares: "its pod".into(),
    });
    assert_eq!(annotated(&pod(), &host).1, one);
    assert!(annotated(&json!({"hostname": "x"}), &host).1.is_empty());
}

#[test]
fn each_condition_decides() {
    let rows = [
        (r#"id = "web-*""#, true),
        (r#"id = "web""#, false),
        (r#"id = { regex = "^web-[0-9]$" }"#, true),
        (r#"id = { regex = "eb" }"#, true),
        (r#"id = { regex = "^eb" }"#, false),
        (r#"image = "*/postgres:*""#, true),
        (
            r#"image = ["*/redis:*", { regex = "postgres:1[0-9]$" }]"#,
            true,
        ),
        (r#"image = "postgres""#, false),
        (r#"namespace = "prod-*""#, true),
        (r#"pod = "db-?""#, true),
        (r#"container = "{postgres,mysql}""#, true),
        (r#"bundle = "/bundles/*""#, true),
        (r#"root = "/bundles/web-1/rootfs""#, true),
        (r#"hostname = "db[0-3]""#, true),
        (r#"hostname = "db[1-3]""#, false),
        ("uid = 1000", true),
        (r#"uid = [0, "999-1001"]"#, true),
        (r#"uid = "0-999""#, false),
        (r#"needs = "idmapped-mounts""#, true),
        (r#"needs = ["seccomp", "user-namespace"]"#, true),
        (r#"needs = ["checkpoint"]"#, false),
        (
            r#"annotations = { "io.kubernetes.cri.*-name" = "db-0" }"#,
            true,
        ),
        (r#"annotations = { "io.kubernetes.pod" = "*" }"#, false),
        (r#"id = "web-*", pod = "other""#, false),
    ];
    for (condition, want) in rows {
        let text = format!("[[rule]]\nmatch = {{ {condition} }}\nbackend = \"crun\"\n");
        let got = goes_to(&text, &pod());
        assert_eq!(got == "crun", want, "{condition}: {got}");
    }
}

#[test]
fn the_first_rule_that_holds_wins_and_unless_takes_it_back() {
    let text = r#"
        [default]
        backend = "lxc"
        [[rule]]
        match = { namespace = "prod-*" }
        unless = { container = "postgres" }
        backend = "runc"
        [[rule]]
        name = "all"
        backend = "crun"
    "#;
    let route = decide(&facts(&pod()), &config(text), &host()).unwrap();
    assert_eq!(route.backend, "crun");
    assert_eq!(route.reason, "rule 2 `all`: matches everything");
    assert!(route.before[0].starts_with("rule 1: unless: container `postgres`"));
    let other = json!({"annotations": {"io.kubernetes.pod.namespace": "prod-us"}});
    assert_eq!(goes_to(text, &other), "runc");
}

#[test]
fn without_rules_the_configured_default_then_the_hosts() {
    assert_eq!(goes_to("", &json!({})), "embedded");
    assert_eq!(goes_to("[default]\nbackend = \"lxc\"\n", &json!({})), "lxc");
}

#[test]
fn an_annotation_chooses_where_it_may() {
    let spec = json!({"annotations": {BACKEND_ANNOTATION: "crun"}});
    let rows = [
        ("", "crun"),
        ("[default]\nannotation = true\n", "crun"),
        ("[default]\nannotation = false\n", "embedded"),
        ("[default]\nannotation = [\"crun\"]\n", "crun"),
        ("[default]\nannotation = [\"runc\"]\n", "embedded"),
    ];
    for (text, want) in rows {
        assert_eq!(goes_to(text, &spec), want, "{text}");
    }
    let unknown = json!({"annotations": {BACKEND_ANNOTATION: "nope"}});
    assert!(goes_to("", &unknown).contains("`nope` is unknown"));
}

#[test]
fn a_partner_goes_before_everything() {
    let mut host = host();
    host.partner = Some(Partner {
        id: "sandbox".into(),
        backend: "lxc".into(),
        shares: "linux.namespaces[1].path".into(),
    });
    let spec = json!({"annotations": {BACKEND_ANNOTATION: "crun"}});
    let config = config("[[rule]]\nbackend = \"runc\"\n");
    let route = decide(&facts(&spec), &config, &host).unwrap();
    assert_eq!(route.backend, "lxc");
    assert!(route.reason.contains("`sandbox`") && route.reason.contains("namespaces[1]"));
}

#[test]
fn what_a_backend_lacks_is_refused_with_the_field_or_the_next_rule_is_tried() {
    let spec = json!({"annotations": {NEEDS_ANNOTATION: "checkpoint"}});
    let strict = "[[rule]]\nbackend = \"embedded\"\n[[rule]]\nbackend = \"crun\"\n";
    assert_eq!(
        goes_to(strict, &spec),
        "refused: annotations[\"dev.pxrun.needs\"]: backend `embedded` can't do checkpoint: it has no criu"
    );
    let soft = "[[rule]]\nbackend = \"embedded\"\nfallback = true\n[[rule]]\nbackend = \"crun\"\n";
    assert_eq!(goes_to(soft, &spec), "crun");
    let gone = "[[rule]]\nbackend = \"gone\"\nfallback = true\n";
    assert_eq!(goes_to(gone, &json!({})), "embedded");
    assert!(goes_to("[[rule]]\nbackend = \"gone\"\n", &json!({})).contains("no program"));
}

#[test]
fn needs_are_found_with_their_fields() {
    let spec = json!({
        "process": {"apparmorProfile": "x", "selinuxLabel": ""},
        "mounts": [{"options": ["rbind", "ridmap"]}],
        "linux": {
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent"},
            "namespaces": [{"type": "pid"}, {"type": "time"}],
            "netDevices": {},
        },
        "vm": {},
        "annotations": {"run.oci.handler": "wasm", NEEDS_ANNOTATION: " checkpoint , idmapped-mounts"},
    });
    let found: Vec<String> = needs(&spec)
        .unwrap()
        .iter()
        .map(|n| format!("{} {}", n.need, n.field))
        .collect();
    assert_eq!(
        found,
        [
            "seccomp linux.seccomp",
            "seccomp-notify linux.seccomp.listenerPath",
            "apparmor process.apparmorProfile",
            "idmapped-mounts mounts[0].options",
            "time-namespace linux.namespaces[1]",
            "wasm annotations[\"run.oci.handler\"]",
            "checkpoint annotations[\"dev.pxrun.needs\"]",
            "idmapped-mounts annotations[\"dev.pxrun.needs\"]",
        ]
    );
    assert!(needs(&json!({"annotations": {NEEDS_ANNOTATION: "wings"}})).is_err());
    let freebsd = needs(&json!({"freebsd": {}})).unwrap();
    assert_eq!(freebsd[0].need, Need::Freebsd);
}

#[test]
fn only_possible_backends_are_candidates() {
    let spec = json!({"annotations": {BACKEND_ANNOTATION: "mine"}});
    let config = config("[[rule]]\nbackend = \"crun\"\n");
    assert_eq!(
        candidates(&facts(&spec), &config, &host()),
        ["crun", "embedded", "mine"]
    );
}
