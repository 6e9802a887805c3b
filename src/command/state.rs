//! `state`: what a container is and what it does, as runc prints it.

use anyhow::Context as _;
use serde_json::json;

use super::{Context, print_json};
use crate::state::Status;

pub fn run(context: &Context, id: &str) -> anyhow::Result<()> {
    story(context, id).with_context(|| format!("state of container `{id}`"))
}

fn story(context: &Context, id: &str) -> anyhow::Result<()> {
    let container = context.find(id)?;
    let record = &container.record;
    let status = container.status();
    let pid = match (status, record.init) {
        (Status::Stopped, _) | (_, None) => 0,
        (_, Some(init)) => init.pid,
    };
    let mut state = json!({
        "ociVersion": crate::spec::OCI_VERSION,
        "id": record.id,
        "pid": pid,
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
    });
    if !record.annotations.is_empty() {
        state["annotations"] = json!(record.annotations);
    }
    state["owner"] = json!("");
    print_json(&state)
}
