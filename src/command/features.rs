//! `features`: what this runtime can do.

pub fn run() -> anyhow::Result<()> {
    super::print_json(&crate::features::features(&crate::host::feature_facts()))
}
