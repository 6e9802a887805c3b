use super::*;

fn refused(text: &str) -> String {
    let path = Path::new("/etc/pxrun/config.toml");
    Config::parse(path, text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_default() {
    let config = Config::parse(Path::new("c"), "# nothing\n").unwrap();
    assert_eq!(config.default.backend, None);
    assert!(config.backend.delegates.is_empty());
}

#[test]
fn a_backend_and_its_table() {
    let text = r#"
        [default]
        backend = "mine"
        [backend.mine]
        path = "/opt/bin/crun"
        args = ["--debug"]
        env = { A = "1" }
        root = "/run/mine"
    "#;
    let config = Config::parse(Path::new("c"), text).unwrap();
    assert_eq!(config.default.backend.as_deref(), Some("mine"));
    let mine = &config.backend.delegates["mine"];
    assert_eq!(mine.path.as_deref(), Some(Path::new("/opt/bin/crun")));
    assert_eq!(mine.args, ["--debug"]);
    assert_eq!(mine.env["A"], "1");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let rows = [
        (
            "[default]\nbackends = 1\n",
            "line 2 column 1: unknown field `backends`",
        ),
        ("[default]\nbackend = 1\n", "line 2 column 11: invalid type"),
        ("x = 1\n", "line 1 column 1: unknown field `x`"),
        ("[default\n", "line 1 column 9"),
        ("[backend.crun]\nä = 1\n", "line 2 column 1"),
        (
            "[backend.crun]\npaths = \"x\"\n",
            "line 2 column 1: unknown field `paths`",
        ),
        (
            "[backend.crun]\npath = \"crun/x\"\n",
            "line 2 column 8: `crun/x`",
        ),
        ("[backend.crun]\nroot = \"x\"\n", "line 2 column 8: `x`"),
        (
            "[backend.crun]\nenv = { \"A=B\" = \"\" }\n",
            "line 2 column 7: `A=B`",
        ),
        ("[backend.\"a b\"]\n", "line 1 column 10: `a b`"),
        (
            "[backend.embedded]\npath = \"x\"\n",
            "line 2 column 1: unknown field `path`",
        ),
    ];
    for (text, want) in rows {
        let got = refused(text);
        assert!(
            got.starts_with("configuration `/etc/pxrun/config.toml` "),
            "{got}"
        );
        assert!(got.contains(want), "{text:?}: {got}");
        assert!(!got.contains('\n'), "{got}");
    }
}

#[test]
fn a_named_file_must_be_there_and_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    assert!(Config::load(&Source::Flag(absent.clone())).is_err());
    assert!(Config::load(&Source::Variable(absent)).is_err());
    assert!(Config::load(&Source::Flag(dir.path().into())).is_err());
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(Config::load(&Source::Flag(fifo)).is_err());
}

#[test]
fn flag_then_variable_then_default() {
    let flag = || Some(PathBuf::from("/f"));
    let variable = Some(OsStr::new("/v"));
    assert_eq!(Source::choose(flag(), variable).path(), Path::new("/f"));
    assert_eq!(Source::choose(None, variable).path(), Path::new("/v"));
    assert_eq!(Source::choose(None, Some(OsStr::new(""))), Source::Default);
    assert_eq!(Source::choose(None, None).path(), Path::new(DEFAULT_PATH));
}

#[test]
fn what_the_docs_show_is_right() {
    let example = include_str!("../../docs/config.example.toml");
    let config = Config::parse(Path::new("config.example.toml"), example).unwrap();
    assert_eq!(config.rule.len(), 3);
    let routing = include_str!("../../docs/routing.md");
    let blocks: Vec<&str> = routing
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 1);
    let fleet = Config::parse(Path::new("routing.md"), blocks[0]).unwrap();
    assert_eq!(fleet.rule[0].backend, "proxmox");
}

/// Every key that is commented out in the example is right as well.
#[test]
fn commented_keys_of_the_example_are_keys() {
    let example = include_str!("../../docs/config.example.toml");
    let is_key = |line: &str| {
        let rest = line.strip_prefix('#').unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ")
    };
    let lines = example.lines().map(|line| match is_key(line) {
        true => line.trim_start_matches('#'),
        false => line,
    });
    let all: Vec<&str> = lines.collect();
    Config::parse(Path::new("config.example.toml"), &all.join("\n")).unwrap();
}

/// The package's own file says nothing, and what it offers can be used.
#[test]
fn the_packaged_file_is_all_comments_that_parse() {
    let packaged = include_str!("../../contrib/config.toml");
    let path = Path::new("contrib/config.toml");
    let config = Config::parse(path, packaged).unwrap();
    assert!(config.rule.is_empty() && config.default.backend.is_none());
    let (_, offered) = packaged.split_once("\n\n").unwrap();
    let offered = offered.replace("\n# ", "\n").replacen("# ", "", 1);
    let config = Config::parse(path, &offered).unwrap();
    assert_eq!(config.default.backend.as_deref(), Some("embedded"));
    assert_eq!(config.rule.len(), 1);
}
