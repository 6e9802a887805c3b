//! What `--version` prints.
//! The form is runc's, line by line, for the callers that parse it.

/// Newest OCI runtime specification that pxrun follows.
pub const SPEC: &str = "1.3.0";

/// Lines for `--version`. The first is `pxrun version x.y.z`: moby's `parseRuntimeVersion`
/// (daemon/info_unix.go) looks for the word "version", go-runc's `parseVersion` splits at it.
#[must_use]
pub fn text() -> String {
    format!(
        "pxrun version {}\ncommit: {}\nspec: {SPEC}\nlibseccomp: {}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("PXRUN_COMMIT").unwrap_or("unknown"),
        libseccomp()
    )
}

fn libseccomp() -> String {
    libseccomp::ScmpVersion::current().map_or_else(
        |_| "unknown".to_owned(),
        |v| format!("{}.{}.{}", v.major, v.minor, v.micro),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn form() {
        let text = super::text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "pxrun version 0.1.0");
        assert!(lines[1].starts_with("commit: "));
        assert_eq!(lines[2], "spec: 1.3.0");
        let version = lines[3].strip_prefix("libseccomp: ").unwrap();
        assert_eq!(
            version
                .split('.')
                .filter(|p| p.parse::<u32>().is_ok())
                .count(),
            3
        );
    }
}
