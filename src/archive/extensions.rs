//! What stands before an entry's own header and goes before it: pax records, long names of GNU tar.
//! It must not read the stream.

use std::io;

use tar::Header;

use super::{Pairs, Piece, Time, acl, pax, sparse};
use crate::users;

/// What stood before an entry's own header.
#[derive(Default)]
pub struct Extensions {
    pub long_name: Option<Vec<u8>>,
    pub long_link: Option<Vec<u8>>,
    pub pax: Pairs,
}

impl Extensions {
    pub fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.pax.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.pax.iter().rev().find(|(k, _)| k == key.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    pub fn number(&self, key: &str) -> Result<Option<u64>, &'static str> {
        let parse = |value| std::str::from_utf8(value).ok()?.parse().ok();
        let value = self.get(key);
        value
            .map(|value| parse(value).ok_or("number in an extended header"))
            .transpose()
    }
}

pub fn path(header: &Header, extensions: &Extensions) -> Vec<u8> {
    // In form 0.1 and 1.0 `path` is made up, for programs that don't know sparse files.
    let found = extensions.get("GNU.sparse.name");
    let found = found.or_else(|| extensions.get("path"));
    let found = found.or(extensions.long_name.as_deref());
    found.map_or_else(|| header.path_bytes().into_owned(), <[u8]>::to_vec)
}

pub fn id(
    header: io::Result<u64>,
    extensions: &Extensions,
    key: &str,
) -> Result<u32, &'static str> {
    let id = match extensions.number(key)? {
        Some(id) => id,
        None => header.map_err(|_| "owner")?,
    };
    // The highest number means "leave as it is" to chown(2).
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or("owner")
}

pub fn mtime(header: &Header, extensions: &Extensions) -> Result<Time, &'static str> {
    if let Some(value) = extensions.get("mtime") {
        return pax::time(value).ok_or("time");
    }
    let seconds = header.mtime().map_err(|_| "time")?;
    Ok(Time {
        seconds: seconds.cast_signed(),
        nanos: 0,
    })
}

/// Form 0.0: one record for each number, in order.
pub fn numbered(extensions: &Extensions) -> Option<Vec<Piece>> {
    let wanted = |key: &[u8]| key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes";
    let values = extensions.pax.iter().filter(|(key, _)| wanted(key));
    let numbers: Option<Vec<u64>> = values
        .map(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok())
        .collect();
    sparse::pieces_of(&numbers?)
}

pub fn xattrs(extensions: &Extensions) -> Result<Pairs, &'static str> {
    let mut xattrs: Pairs = Vec::new();
    for (key, value) in &extensions.pax {
        let acl = |value| {
            let text = std::str::from_utf8(value).map_err(|_| "access control list")?;
            acl::from_text(text, &host_id).ok_or("access control list")
        };
        let (name, value) = match key.as_slice() {
            key if key == pax::ACL_ACCESS.as_bytes() => (acl::ACCESS.to_vec(), acl(value)?),
            key if key == pax::ACL_DEFAULT.as_bytes() => (acl::DEFAULT.to_vec(), acl(value)?),
            key => match key.strip_prefix(pax::XATTR.as_bytes()) {
                Some(name) if !name.is_empty() && !name.contains(&0) => {
                    (name.to_vec(), value.clone())
                }
                Some(_) => return Err("name of an extended attribute"),
                None => continue,
            },
        };
        xattrs.retain(|(known, _)| *known != name);
        xattrs.push((name, value));
    }
    Ok(xattrs)
}

/// The id that a name has on this host: what GNU tar takes when it reads what GNU tar wrote.
fn host_id(is_group: bool, name: &str) -> Option<u32> {
    let host = std::path::Path::new("/");
    match is_group {
        true => users::resolve(host, &format!("0:{name}"))
            .ok()
            .map(|id| id.gid),
        false => users::resolve(host, name).ok().map(|id| id.uid),
    }
}
