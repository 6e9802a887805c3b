//! The file's form, mostly as Proxmox itself was seen to write it.

use super::*;

const FULL: &str = "\
#line1
#line2 %C3%A4 #%2541 %3Ax
arch: amd64
hostname: h501
memory: 64
mp0: /a b,mp=/x
rootfs: /srv/b5
unheard_of: of
tags: a;b;c
lxc.init.cmd: /sbin/init
lxc.prlimit.nofile = 1024
nonsense

[pve:pending]
rootfs: /srv/b6

[before-upgrade]
#a snapshot's own words
memory: 32
";

#[test]
fn reading_and_writing_changes_nothing() {
    let shuffled = "swap: 0\narch: amd64\n# odd\n\nmemory: 1\n";
    for text in [FULL, shuffled, "", "[a1]\nx: y\n", "memory: 64\n"] {
        assert_eq!(Conf::parse(text).to_string().trim_start(), text);
    }
}

#[test]
fn options_are_read_from_the_guests_own_part() {
    let conf = Conf::parse(FULL);
    assert_eq!(conf.get("memory"), Some("64"));
    assert_eq!(conf.get("rootfs"), Some("/srv/b5"));
    assert_eq!(conf.get("swap"), None);
    assert_eq!(conf.tags().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(conf.lxc("lxc.init.cmd").collect::<Vec<_>>(), ["/sbin/init"]);
    assert_eq!(conf.lxc("lxc.prlimit.nofile").collect::<Vec<_>>(), ["1024"]);
    assert!(conf.has_pending());
    assert_eq!(conf.snapshots(), ["before-upgrade"]);
    assert_eq!(Conf::parse("a: 1\na: 2\n").get("a"), Some("2"));
}

#[test]
fn a_change_touches_its_line_alone() {
    let mut conf = Conf::parse(FULL);
    conf.set("memory", "128");
    conf.set("swap", "7");
    conf.remove("mp0");
    conf.add_lxc("lxc.include", "/x");
    let expected = FULL
        .replacen("memory: 64", "memory: 128", 1)
        .replacen("mp0: /a b,mp=/x\n", "", 1)
        .replacen("unheard_of", "swap: 7\nunheard_of", 1)
        .replacen("nonsense\n", "nonsense\nlxc.include: /x\n", 1);
    assert_eq!(conf.to_string(), expected);
}

#[test]
fn a_new_file_comes_out_sorted() {
    let mut conf = Conf::default();
    conf.add_lxc("lxc.include", "/i");
    for key in ["swap", "arch", "memory"] {
        conf.set(key, "1");
    }
    conf.set_description("Größe: 5 %\nzwei");
    assert_eq!(
        conf.to_string(),
        "#Gr%C3%B6%C3%9Fe%3A 5 %25\n#zwei\narch: 1\nmemory: 1\nswap: 1\nlxc.include: /i\n"
    );
    assert_eq!(conf.description(), "Größe: 5 %\nzwei");
}

#[test]
fn descriptions_survive_their_escapes() {
    for text in [
        "",
        "a",
        "%",
        "%41",
        "100%: ü\u{7f}\t#",
        "日本",
        "%C3",
        "% 1",
    ] {
        assert_eq!(decode(&encode(text)), text);
        assert!(encode(text).is_ascii());
    }
    assert_eq!(decode("%EF%BF%BD"), "\u{fffd}");
    assert_eq!(decode("%zz%4"), "%zz%4");
    assert_eq!(decode("%+1"), "%+1");
}

#[test]
fn no_text_makes_it_stumble() {
    let parts = [
        "[", "]", ":", "lxc.", "=", "#", "%", "\n", "a", "9", " ", "é", "\0",
    ];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text += parts[(seed >> 33) as usize % parts.len()];
        }
        let mut conf = Conf::parse(&text);
        let _ = (conf.get("a"), conf.description(), conf.snapshots().len());
        conf.set("a", "1");
        assert_eq!(
            Conf::parse(&conf.to_string()).get("a"),
            Some("1"),
            "{text:?}"
        );
    }
}

#[test]
fn a_carriage_return_at_the_end_stays_what_it_is() {
    for text in ["arch: amd64\r", "#a\r\n\r", "\r", "a: b\r\n[snap]\r"] {
        let once = Conf::parse(text).to_string();
        assert_eq!(Conf::parse(&once).to_string(), once, "{text:?}");
    }
}
