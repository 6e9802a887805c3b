//! `hostname` and `domainname`.
//! It must not set them.

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::namespaces;
use super::report::{Report, show_text};
use super::shape::{Field, Shape, blank};

pub const HOSTNAME: Field = blank("hostname", &Shape::Text);
pub const DOMAINNAME: Field = blank("domainname", &Shape::Text);

/// Longest name that sethostname(2) and setdomainname(2) take, in bytes (`__NEW_UTS_LEN`).
const LONGEST: usize = 64;

/// config.md, "Hostname", "Domainname". Without a UTS namespace of its own the container would
/// rename the host.
pub fn check(spec: &Spec, report: &mut Report) {
    let own = namespaces::has(spec.linux().as_ref(), LinuxNamespaceType::Uts);
    for (path, name) in [
        ("hostname", spec.hostname()),
        ("domainname", spec.domainname()),
    ] {
        let Some(name) = name else { continue };
        if !own {
            report.bad(path, &show_text(name), "a `uts` entry in linux.namespaces");
        }
        if name.len() > LONGEST {
            report.bad(path, &show_text(name), "a name of at most 64 bytes");
        }
    }
}
