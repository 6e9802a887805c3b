//! The options of a guest, as `pct` has them, and which of them are pxrun's own to set. Values are
//! checked here before Proxmox sees them. It must not touch guests or files.

pub mod props;
mod value;

pub use value::Wrong;

use value::{Field, Shape, bool_, field, int, need, number, text};
pub use value::{dns, is_tag};

/// Annotations with this before an option's name set it.
pub const ANNOTATION: &str = "dev.pxrun.proxmox.";

/// An option, or a row of numbered ones.
struct Row {
    name: &'static str,
    /// How many there are when they are numbered from 0.
    count: Option<u32>,
    shape: Shape,
    /// Why it can't be set from outside.
    own: Option<&'static str>,
}

/// Why a value isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Proxmox has no such option.
    #[error("`{0}` is no option of a Proxmox container")]
    Unknown(String),
    /// pxrun sets it.
    #[error("`{0}` is set by pxrun: {1}")]
    Own(String, &'static str),
    /// The value doesn't fit.
    #[error("`{option}`: {wrong}")]
    Wrong {
        /// The option.
        option: String,
        /// What is wrong.
        wrong: Wrong,
    },
}

const NETWORK: &[Field] = &[
    need("name", Shape::Word),
    field("bridge", Shape::Word),
    field("firewall", Shape::Bool),
    field("gw", Shape::Address(4)),
    field("gw6", Shape::Address(6)),
    field("host-managed", Shape::Bool),
    field("hwaddr", Shape::Mac),
    field("ip", Shape::Network(4, &["dhcp", "manual"])),
    field("ip6", Shape::Network(6, &["auto", "dhcp", "manual"])),
    field("link_down", Shape::Bool),
    field("mtu", Shape::Int(64, 65_535)),
    field("rate", Shape::Number(0, u64::MAX)),
    field("tag", Shape::Int(1, 4_094)),
    field("trunks", Shape::Numbers),
    field("type", Shape::OneOf(&["veth"])),
];

const MOUNT: &[Field] = &[
    need("volume", Shape::MountSource),
    need("mp", Shape::MountPoint),
    field("acl", Shape::Bool),
    field("backup", Shape::Bool),
    field("idmap", Shape::IdMap),
    field("keepattrs", Shape::Bool),
    field(
        "mountoptions",
        Shape::Words(&[
            "discard", "lazytime", "noatime", "nodev", "noexec", "nosuid",
        ]),
    ),
    field("quota", Shape::Bool),
    field("replicate", Shape::Bool),
    field("ro", Shape::Bool),
    field("shared", Shape::Bool),
    field("size", Shape::Size),
];

const DEVICE: &[Field] = &[
    need("path", Shape::DeviceNode),
    field("deny-write", Shape::Bool),
    field("gid", Shape::Int(0, u32::MAX as u64)),
    field("mode", Shape::Mode),
    field("uid", Shape::Int(0, u32::MAX as u64)),
];

const FEATURES: &[Field] = &[
    field("force_rw_sys", Shape::Bool),
    field("fuse", Shape::Bool),
    field("keyctl", Shape::Bool),
    field(
        "mknod",
        Shape::Refused("the bundle's own filter stands where Proxmox's would catch mknod(2)"),
    ),
    field(
        "mount",
        Shape::Refused("the bundle's capabilities and filter say what may be mounted"),
    ),
    field("nesting", Shape::Bool),
];

const STARTUP: &[Field] = &[
    field("order", Shape::Int(0, u32::MAX as u64)),
    field("up", Shape::Int(0, u32::MAX as u64)),
    field("down", Shape::Int(0, u32::MAX as u64)),
];

/// Most bytes of a description; pxrun's own lines need some of Proxmox's 8192.
const DESCRIPTION: usize = 6_000;

const ROWS: &[Row] = &[
    own("arch", "it follows `linux.personality` and the host"),
    own("cmode", "the container has no Proxmox console"),
    own("console", "the caller has the terminal"),
    row("cores", int(1, 8_192)),
    row("cpulimit", number(0, 8_192)),
    row("cpuunits", int(0, 500_000)),
    row("debug", bool_()),
    row("description", Shape::Lines(DESCRIPTION)),
    rows("dev", 256, Shape::Fields(DEVICE, Some("path"))),
    own("entrypoint", "it starts pxrun's own first process"),
    own("env", "`process.env` has it"),
    row("features", Shape::Fields(FEATURES, None)),
    row("hookscript", Shape::VolumeId),
    row("hostname", Shape::Dns),
    own("lock", "it is Proxmox's"),
    row("memory", int(16, u32::MAX as u64)),
    rows("mp", 256, Shape::Fields(MOUNT, Some("volume"))),
    row("nameserver", Shape::Addresses),
    rows("net", 32, Shape::Fields(NETWORK, None)),
    own("onboot", "the caller restarts its containers"),
    own("ostype", "Proxmox must not change files of an image"),
    own("parent", "it is Proxmox's"),
    row("protection", bool_()),
    own("rootfs", "`root.path` has it"),
    row("searchdomain", text(4_096)),
    own("snaptime", "it is Proxmox's"),
    row("startup", Shape::Fields(STARTUP, Some("order"))),
    row("swap", int(0, u32::MAX as u64)),
    row("tags", Shape::Tags),
    own("template", "a container is no template"),
    row("timezone", Shape::Zone),
    own("tty", "the container has no Proxmox console"),
    own("unprivileged", "it follows `linux.namespaces`"),
    own_rows("unused", 256, "it is Proxmox's"),
];

const fn row(name: &'static str, shape: Shape) -> Row {
    Row {
        name,
        count: None,
        shape,
        own: None,
    }
}

const fn rows(name: &'static str, count: u32, shape: Shape) -> Row {
    Row {
        name,
        count: Some(count),
        shape,
        own: None,
    }
}

const fn own(name: &'static str, reason: &'static str) -> Row {
    Row {
        name,
        count: None,
        shape: Shape::Bool,
        own: Some(reason),
    }
}

const fn own_rows(name: &'static str, count: u32, reason: &'static str) -> Row {
    Row {
        name,
        count: Some(count),
        shape: Shape::Bool,
        own: Some(reason),
    }
}

/// Checks an option and its value.
///
/// # Errors
/// There is no such option, it is pxrun's own, or the value doesn't fit.
pub fn check(name: &str, value: &str) -> Result<(), OptionError> {
    let row = find(name).ok_or_else(|| OptionError::Unknown(name.to_owned()))?;
    if let Some(reason) = row.own {
        return Err(OptionError::Own(name.to_owned(), reason));
    }
    row.shape.check(value).map_err(|wrong| OptionError::Wrong {
        option: name.to_owned(),
        wrong,
    })
}

/// Why an option can't be changed from outside; `None` when it can.
pub fn owner(name: &str) -> Option<OptionError> {
    match find(name) {
        None => Some(OptionError::Unknown(name.to_owned())),
        Some(row) => row
            .own
            .map(|reason| OptionError::Own(name.to_owned(), reason)),
    }
}

fn find(name: &str) -> Option<&'static Row> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let index = &name[stem.len()..];
    ROWS.iter().find(|row| match row.count {
        None => row.name == name,
        Some(count) => {
            // `net00` is no name.
            let plain = index == "0" || !index.starts_with('0');
            row.name == stem && plain && index.parse().is_ok_and(|i: u32| i < count)
        }
    })
}

/// Names for the documentation: each option, and why it can't be set if so.
pub fn all() -> impl Iterator<Item = (String, Option<&'static str>)> {
    ROWS.iter().map(|row| {
        let name = match row.count {
            Some(count) => format!("{}0 to {}{}", row.name, row.name, count - 1),
            None => row.name.to_owned(),
        };
        (name, row.own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pct_takes_passes() {
        for (name, value) in [
            (
                "net0",
                "name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:00:00:01,ip=10.77.0.5/24,gw=10.77.0.1,tag=7",
            ),
            (
                "net31",
                "name=eth1,ip=dhcp,ip6=auto,mtu=1500,rate=2.5,trunks=1;2;3,type=veth,host-managed=1",
            ),
            ("cores", "4"),
            ("cpulimit", "0.5"),
            ("startup", "order=3,up=30"),
            ("startup", "3"),
            ("tags", "web;prod_1"),
            ("hostname", "a.b-c.example"),
            ("nameserver", "192.0.2.1 2001:db8::1"),
            ("timezone", "Europe/Vienna"),
            ("timezone", "host"),
            ("protection", "1"),
            ("hookscript", "local:snippets/hook.sh"),
            ("description", "free words: 100 %"),
            ("mp0", "/srv/x,mp=/x,ro=1,mountoptions=nosuid;nodev"),
            ("mp255", "tank:8,mp=/data,backup=1,size=8G"),
            (
                "mp1",
                "local:100/vm-100-disk-1.raw,mp=/data,idmap=passthrough",
            ),
            ("dev0", "/dev/fuse,mode=0666,uid=0,gid=0"),
            (
                "features",
                "nesting=1,keyctl=1,fuse=1,force_rw_sys=1,mknod=0",
            ),
        ] {
            assert_eq!(check(name, value), Ok(()), "{name}={value}");
        }
    }

    #[test]
    fn what_pct_refuses_is_refused_before_it() {
        for (name, value, word) in [
            ("net0", "foo", "no `key=value`"),
            ("net0", "bridge=vmbr0", "`name` is missing"),
            ("net0", "name=eth0,ip=1.2.3.4", "ip"),
            ("net0", "name=eth0,ip=1.2.3.4/33", "ip"),
            ("net0", "name=eth0,tag=4095", "1 to 4094"),
            ("net0", "name=eth0,name=eth1", "twice"),
            ("net32", "name=eth0", "no option"),
            ("net00", "name=eth0", "no option"),
            ("net", "name=eth0", "no option"),
            ("dev0", "null", "below `/dev`"),
            ("dev0", "/dev/null,mode=660", "a mode"),
            ("features", "nesting=maybe", "`0` or `1`"),
            ("features", "mknod=1", "filter"),
            ("features", "mount=nfs", "capabilities"),
            ("mp0", "/srv/x,mp=x", "absolute"),
            ("mp0", "/srv/x,mp=/", "absolute"),
            ("mp0", "/srv/x", "`mp` is missing"),
            ("mp0", "srv,mp=/x", "a directory, or a volume"),
            ("mp0", "/srv/x,mp=/x,mountoptions=suid", "some of"),
            ("mp256", "/srv/x,mp=/x", "no option"),
            ("searchdomain", "a\nlock: backup", "control character"),
            ("memory", "8", "16 to"),
            ("memory", "lots", "16 to"),
            ("hostname", "bad_host!", "DNS"),
            ("hostname", "-a", "DNS"),
            ("tags", "a b!", "tag"),
            ("debug", "maybe", "`0` or `1`"),
            ("rootfs", "/x", "set by pxrun"),
            ("unused3", "x", "set by pxrun"),
            ("lxc.init.cmd", "/bin/sh", "no option"),
            ("frob", "1", "no option"),
            ("timezone", "../../etc/passwd", "zone"),
        ] {
            let error = check(name, value).unwrap_err().to_string();
            assert!(error.contains(word), "{name}={value}: {error}");
        }
    }

    #[test]
    fn every_option_of_pct_has_a_row() {
        // `pct create`'s own list (pve-container 6.1.10), without what isn't kept in a guest.
        let known = "arch cmode console cores cpulimit cpuunits debug description dev0 dev255 entrypoint \
             env features hookscript hostname lock memory mp0 mp255 nameserver net0 net31 onboot ostype \
             parent protection rootfs searchdomain snaptime startup swap tags template timezone tty \
             unprivileged unused0";
        for name in known.split_whitespace() {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
