//! `linux.memoryPolicy`: the NUMA policy that the container starts with.
//! It must not look which nodes the host has.

use oci_spec::runtime::{
    Linux, LinuxMemoryPolicy, MemoryPolicyFlagType as Flag, MemoryPolicyModeType as Mode,
};

use super::cpu_list;
use super::report::{Report, show_text};
use super::shape::{Shape, blank, opt, req};

/// The recognised modes and flags (config-linux.md, "Memory policy"), sorted.
pub const MODES: &[&str] = &[
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];
pub const FLAGS: &[&str] = &[
    "MPOL_F_NUMA_BALANCING",
    "MPOL_F_RELATIVE_NODES",
    "MPOL_F_STATIC_NODES",
];

pub const SHAPE: Shape = Shape::Object(&[
    req(
        "mode",
        &Shape::OneOf {
            names: MODES,
            what: "a memory policy mode",
        },
    ),
    blank("nodes", &Shape::Text),
    opt(
        "flags",
        &Shape::List(&Shape::OneOf {
            names: FLAGS,
            what: "a memory policy flag",
        }),
    ),
]);

const NODES: &str = "linux.memoryPolicy.nodes";

/// set_mempolicy(2), "ERRORS": which modes take nodes, which flags go together.
pub fn check(linux: &Linux, report: &mut Report) {
    let Some(policy) = linux.memory_policy() else {
        return;
    };
    match (policy.nodes().as_deref(), takes_nodes(policy)) {
        (Some(nodes), _) if !cpu_list::valid(nodes) => {
            report.bad(NODES, &show_text(nodes), "a list of nodes such as `0-1,3`");
        }
        (Some(nodes), Nodes::Never) => {
            let expected = format!("no nodes with {}", policy.mode());
            report.bad(NODES, &show_text(nodes), &expected);
        }
        (None, Nodes::Always) => {
            let expected = format!("a list of nodes for {}", policy.mode());
            report.missing(NODES, &expected);
        }
        _ => {}
    }
    check_flags(policy, report);
}

enum Nodes {
    Never,
    Maybe,
    Always,
}

fn takes_nodes(policy: &LinuxMemoryPolicy) -> Nodes {
    match policy.mode() {
        Mode::MpolDefault | Mode::MpolLocal => Nodes::Never,
        Mode::MpolPreferred => Nodes::Maybe,
        _ => Nodes::Always,
    }
}

fn check_flags(policy: &LinuxMemoryPolicy, report: &mut Report) {
    let path = "linux.memoryPolicy.flags";
    let flags = policy.flags().as_deref().unwrap_or_default();
    let has = |flag| flags.contains(&flag);
    if has(Flag::MpolFStaticNodes) && has(Flag::MpolFRelativeNodes) {
        let found = "MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES";
        report.bad(path, found, "at most one of the two");
    }
    // MPOL_PREFERRED_MANY takes it since Linux 6.9.
    let balances = matches!(policy.mode(), Mode::MpolBind | Mode::MpolPreferredMany);
    if has(Flag::MpolFNumaBalancing) && !balances {
        let expected = "MPOL_F_NUMA_BALANCING only with MPOL_BIND or MPOL_PREFERRED_MANY";
        report.bad(path, &policy.mode().to_string(), expected);
    }
}
