//! File names of templates: `NAME-TAG_sha256-DIGEST_ARCH.tar.zst`. Pure.

use crate::image::config::RunConfig;

/// Digits of the digest that a name keeps.
const DIGITS: usize = 12;
/// Between the image and its digest.
const SIGN: &str = "_sha256-";

/// The name for what `run` describes. `digest` is hexadecimal.
pub fn file_name(base: &str, digest: &str, arch: &str, extension: &str) -> String {
    let digits = &digest[..digest.len().min(DIGITS)];
    let base = plain(base);
    format!("{base}{SIGN}{digits}_{arch}.{extension}")
}

/// What a name begins with: the image's last component and its tag, or `fallback`.
pub fn base(run: &RunConfig, fallback: &str) -> String {
    let name = run.image.as_deref().unwrap_or(fallback);
    let last = name.rsplit('/').next().unwrap_or(name);
    let last = last.split('@').next().unwrap_or(last);
    plain(last)
}

/// Letters that stand in a volume id without quotes; anything else becomes `-`.
fn plain(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    let mapped: String = text
        .chars()
        .map(|c| if keep(c) { c } else { '-' })
        .collect();
    let trimmed = mapped.trim_matches(['-', '.']);
    let cut: String = trimmed.chars().take(100).collect();
    if cut.is_empty() {
        "rootfs".to_owned()
    } else {
        cut
    }
}

/// Base and short digest of a name that [`file_name`] made.
pub fn parts(name: &str) -> Option<(&str, &str)> {
    let (base, rest) = name.rsplit_once(SIGN)?;
    let (digits, _) = rest.split_once('_')?;
    let hex = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then_some((base, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_image_and_digest() {
        let rows = [
            ("host:5000/a/web:1.2", "web-1.2"),
            ("web@sha256:abc", "web"),
            ("a/ü b;c", "b-c"),
            ("..", "rootfs"),
            ("", "rootfs"),
        ];
        for (image, expected) in rows {
            let run = RunConfig {
                image: Some(image.into()),
                ..RunConfig::default()
            };
            assert_eq!(base(&run, "x"), expected, "{image}");
        }
        let digest = "0123456789abcdef";
        let name = file_name("web-1.2", digest, "amd64", "tar.zst");
        assert_eq!(name, "web-1.2_sha256-0123456789ab_amd64.tar.zst");
        assert_eq!(parts(&name), Some(("web-1.2", "0123456789ab")));
        assert_eq!(parts("debian-12-standard_12.2-1_amd64.tar.zst"), None);
        assert_eq!(parts("x_sha256-zz_amd64.tar"), None);
    }
}
