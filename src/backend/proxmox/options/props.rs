//! Property strings that have passed the check, taken apart: `value,key=value`. It must not check.

/// The value of a key. The first part may have none written; it is `default`'s.
pub fn get<'v>(value: &'v str, key: &str, default: &str) -> Option<&'v str> {
    value
        .split(',')
        .find_map(|part| match part.split_once('=') {
            Some((name, value)) => (name == key).then_some(value),
            None => (key == default).then_some(part),
        })
}

/// Whether a switch of it is on.
pub fn is_on(value: &str, key: &str) -> bool {
    get(value, key, "") == Some("1")
}

/// What a mount point's `volume` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume<'v> {
    /// A directory of the host.
    Dir(&'v str),
    /// A volume to be made.
    New,
    /// One that is there.
    There(&'v str),
}

/// The volume of a mount point.
pub fn volume(value: &str) -> Volume<'_> {
    let volume = get(value, "volume", "volume").unwrap_or_default();
    if volume.starts_with('/') {
        return Volume::Dir(volume);
    }
    let rest = volume.split_once(':').map_or("", |(_, rest)| rest);
    match rest.parse::<f64>() {
        Ok(_) => Volume::New,
        Err(_) => Volume::There(volume),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_their_keys() {
        let value = "tank:8,mp=/data,ro=1";
        assert_eq!(get(value, "volume", "volume"), Some("tank:8"));
        assert_eq!(get(value, "mp", "volume"), Some("/data"));
        assert_eq!(get("volume=/x,mp=/y", "volume", "volume"), Some("/x"));
        assert!(is_on(value, "ro") && !is_on(value, "backup"));
        assert_eq!(volume(value), Volume::New);
        assert_eq!(volume("/srv/x,mp=/x"), Volume::Dir("/srv/x"));
        let there = "local:100/vm-100-disk-1.raw";
        assert_eq!(volume(&format!("{there},mp=/x")), Volume::There(there));
    }
}
