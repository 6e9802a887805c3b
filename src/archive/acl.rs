//! Access control lists between the text that archives carry (acl(5), ids as numbers) and the
//! attribute that the kernel keeps (`struct posix_acl_xattr_header`, linux/posix_acl_xattr.h).
//! Names, which GNU tar writes for ids that its host knows, are the caller's to look up.

/// The kernel's attribute for the access ACL.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The kernel's attribute for the default ACL of a directory.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

/// Tag in the kernel's form, name in the text, whether an id belongs to it.
const TAGS: [(u16, &str, bool); 6] = [
    (0x01, "user", false),
    (0x02, "user", true),
    (0x04, "group", false),
    (0x08, "group", true),
    (0x10, "mask", false),
    (0x20, "other", false),
];

/// Gives the id of a name.
pub type Lookup<'a> = dyn Fn(bool, &str) -> Option<u32> + 'a;

/// The kernel's form as text, entries separated by commas.
pub fn to_text(attribute: &[u8]) -> Option<String> {
    let (version, entries) = attribute.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let lines: Option<Vec<String>> = entries.chunks_exact(8).map(entry_text).collect();
    Some(lines?.join(","))
}

fn entry_text(entry: &[u8]) -> Option<String> {
    let tag = u16::from_le_bytes([entry[0], entry[1]]);
    let permissions = u16::from_le_bytes([entry[2], entry[3]]);
    let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
    let (_, name, with_id) = TAGS.iter().find(|(t, ..)| *t == tag)?;
    let id = if *with_id {
        id.to_string()
    } else {
        String::new()
    };
    let flags = [(4, 'r'), (2, 'w'), (1, 'x')];
    let flags: String = flags
        .map(|(bit, letter)| if permissions & bit != 0 { letter } else { '-' })
        .iter()
        .collect();
    Some(format!("{name}:{id}:{flags}"))
}

/// Text as the kernel's form. A fourth field, where there is one, is the id behind a name
/// (star's form): it wins. `lookup` gives the id of a name of a group (true) or a user.
pub fn from_text(text: &str, lookup: &Lookup<'_>) -> Option<Vec<u8>> {
    let mut entries = text
        .split([',', '\n'])
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(|line| parse_entry(line, lookup))
        .collect::<Option<Vec<_>>>()?;
    // The kernel wants them by tag, then by id (posix_acl_valid).
    entries.sort_unstable();
    let mut attribute = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        attribute.extend(tag.to_le_bytes());
        attribute.extend(permissions.to_le_bytes());
        attribute.extend(id.to_le_bytes());
    }
    Some(attribute)
}

fn parse_entry(line: &str, lookup: &Lookup<'_>) -> Option<(u16, u32, u16)> {
    let fields: Vec<&str> = line.split(':').collect();
    let (name, qualifier, permissions) = match fields[..] {
        // `mask:r--` and `other:r--`, without the empty field.
        [name, permissions] => (name, "", permissions),
        [name, qualifier, permissions] => (name, qualifier, permissions),
        [name, _, permissions, id] => (name, id, permissions),
        _ => return None,
    };
    let name = match name {
        "u" => "user",
        "g" => "group",
        "m" => "mask",
        "o" => "other",
        name => name,
    };
    let with_id = !qualifier.is_empty();
    let (tag, ..) = TAGS.iter().find(|(_, n, w)| *n == name && *w == with_id)?;
    let id = match with_id {
        true => match qualifier.parse() {
            Ok(id) => id,
            Err(_) => lookup(name == "group", qualifier)?,
        },
        false => NO_ID,
    };
    Some((*tag, id, parse_permissions(permissions)?))
}

fn parse_permissions(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |bits, letter| match letter {
        'r' => Some(bits | 4),
        'w' => Some(bits | 2),
        'x' => Some(bits | 1),
        '-' => Some(bits),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(_: bool, _: &str) -> Option<u32> {
        None
    }

    #[test]
    fn names_are_looked_up_by_their_kind() {
        let lookup = |group: bool, name: &str| (name == "x").then_some(if group { 5 } else { 6 });
        let text = "user::rwx,user:x:r--,group::r-x,group:x:---,mask::rwx,other::r--";
        let read = from_text(text, &lookup).and_then(|a| to_text(&a)).unwrap();
        assert!(read.contains("user:6:r--") && read.contains("group:5:---"));
        assert_eq!(from_text("user:y:r--", &lookup), None);
    }

    #[test]
    fn text_and_attribute_round_trip() {
        let text = "user::rwx,user:0:r--,user:1000:rw-,group::r-x,group:7:---,mask::rwx,other::r--";
        let attribute = from_text(text, &nobody).unwrap();
        assert_eq!(attribute.len(), 4 + 7 * 8);
        assert_eq!(to_text(&attribute).as_deref(), Some(text));
    }

    #[test]
    fn other_spellings_are_understood() {
        let plain = from_text(
            "user::rw-,user:12:r--,group::r--,mask::r--,other::---",
            &nobody,
        )
        .unwrap();
        let spelled = "o:---\nu::rw-,user:joe:r--:12,g::r--,mask:r-- # effective";
        assert_eq!(from_text(spelled, &nobody), Some(plain));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "user",
            "user:joe:rwx",
            "who::rwx",
            "user::rwz",
            "mask:5:r--",
            "a:b:c:d:e",
        ] {
            assert_eq!(from_text(bad, &nobody), None, "{bad}");
        }
        for bad in [
            &b""[..],
            b"\x02\0\0",
            b"\x01\0\0\0",
            b"\x02\0\0\0\x01",
            &[2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(to_text(bad), None, "{bad:?}");
        }
    }
}
