//! Tells the binary which commit it was built from, and the linker to keep it small.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=PXRUN_COMMIT");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    let commit = std::env::var("PXRUN_COMMIT").ok().or_else(|| {
        let output = Command::new("git")
            .args(["rev-parse", "--short=12", "HEAD"])
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success()).then(|| text.trim().to_owned())
    });
    let commit = commit
        .filter(|c| !c.is_empty())
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=PXRUN_COMMIT={commit}");
    pack_relocations();
}

/// A static-pie relocates itself when it starts: 15,000 entries of 24 bytes, or a bitmap of a
/// fiftieth of that. glibc's start code reads the bitmap since 2.36, the one of Debian 12.
fn pack_relocations() {
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
