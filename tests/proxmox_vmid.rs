//! Numbers for guests, on the simulated node's cluster file system: many at once, rivals on other
//! nodes, dead claimants, no quorum.

mod node_dir;

use std::collections::BTreeSet;

use node_dir::Node;
use pxrun::backend::proxmox::cluster::{Cluster, ClusterError};
use pxrun::backend::proxmox::settings::{Range, Settings};
use pxrun::backend::proxmox::vmid::{VmidError, Wish, allocate};

fn settings(node: &Node) -> Settings {
    Settings {
        conf_dir: node.path("etc/pve"),
        lock_dir: node.path("run/lock/lxc"),
        ..Settings::default()
    }
}

fn range(first: u32, last: u32) -> Wish {
    Wish::Any(Range { first, last })
}

fn text(vmid: u32) -> String {
    format!("hostname: c{vmid}\nmemory: 64\n")
}

fn none() -> BTreeSet<u32> {
    BTreeSet::new()
}

#[test]
fn fifty_at_once_get_fifty_numbers_and_leave_none() {
    let node = Node::start(&["--others", "pve2"]);
    let settings = settings(&node);
    let numbers: Vec<u32> = std::thread::scope(|scope| {
        let one = || {
            let cluster = Cluster::open(&settings).unwrap();
            allocate(&cluster, range(500, 560), &none(), text).unwrap()
        };
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let different: BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!(different.len(), 50, "{numbers:?}");
    let cluster = Cluster::open(&settings).unwrap();
    let known: BTreeSet<u32> = cluster.guests().unwrap().into_keys().collect();
    assert_eq!(known, different);
    for vmid in different {
        assert_eq!(cluster.read(vmid).unwrap(), Some(text(vmid)));
        let _lock = cluster.lock(vmid, std::time::Duration::ZERO).unwrap();
        cluster.remove(vmid).unwrap();
    }
    assert!(cluster.guests().unwrap().is_empty());
    let claims = std::fs::read_dir(node.path("etc/pve/priv/lock")).unwrap();
    assert_eq!(claims.count(), 0);
    let here = std::fs::read_dir(node.path("etc/pve/lxc")).unwrap();
    assert_eq!(here.count(), 0, "temporary files are left");
}

#[test]
fn numbers_of_others_and_of_records_are_passed_by() {
    let node = Node::start(&["--others", "pve2"]);
    node.control(&["guest", "500", "--node", "pve2", "--qemu"]);
    node.control(&["guest", "501"]);
    let cluster = Cluster::open(&settings(&node)).unwrap();
    let recorded = BTreeSet::from([502]);
    let first = allocate(&cluster, range(500, 504), &recorded, text).unwrap();
    assert_eq!(first, 503);
    // A claim of a process that died is passed by, too.
    assert!(cluster.claim("pxrun-504").unwrap());
    let second = allocate(&cluster, range(500, 504), &recorded, text);
    assert!(matches!(second, Err(VmidError::Exhausted(_))), "{second:?}");
    cluster.release("pxrun-504");
    assert_eq!(
        allocate(&cluster, range(500, 504), &recorded, text).unwrap(),
        504
    );
}

#[test]
fn a_rival_on_another_node_costs_one_number() {
    let node = Node::start(&["--others", "pve2"]);
    node.control(&["fault", "rival", "--times", "2"]);
    let cluster = Cluster::open(&settings(&node)).unwrap();
    let vmid = allocate(&cluster, range(500, 510), &none(), text).unwrap();
    let guests = cluster.guests().unwrap();
    assert_eq!(guests[&vmid].node, "pvetest");
    let rivals = guests.values().filter(|known| known.node == "pve2");
    assert_eq!(rivals.count(), 2);
    assert_eq!(guests.len(), 3);
}

#[test]
fn a_pinned_number_is_that_one_or_none() {
    let node = Node::start(&["--others", "pve2"]);
    node.control(&["guest", "700", "--node", "pve2"]);
    let cluster = Cluster::open(&settings(&node)).unwrap();
    assert_eq!(
        allocate(&cluster, Wish::This(701), &none(), text).unwrap(),
        701
    );
    let error = allocate(&cluster, Wish::This(700), &none(), text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "VMID 700 belongs to another guest, on node `pve2`"
    );
    let recorded = BTreeSet::from([702]);
    let error = allocate(&cluster, Wish::This(702), &recorded, text).unwrap_err();
    assert!(matches!(error, VmidError::Recorded(702)));
    // `pct` at work on that number.
    let _lock = cluster.lock(703, std::time::Duration::ZERO).unwrap();
    let error = allocate(&cluster, Wish::This(703), &none(), text).unwrap_err();
    assert!(matches!(error, VmidError::Cluster(ClusterError::Busy(703))));
}

#[test]
fn without_quorum_nothing_is_taken() {
    let node = Node::start(&[]);
    let cluster = Cluster::open(&settings(&node)).unwrap();
    node.control(&["fault", "no-quorum"]);
    let error = allocate(&cluster, range(500, 510), &none(), text).unwrap_err();
    assert!(matches!(error, VmidError::Cluster(ClusterError::ReadOnly)));
    node.control(&["heal"]);
    assert!(cluster.guests().unwrap().is_empty());
    assert_eq!(
        allocate(&cluster, range(500, 510), &none(), text).unwrap(),
        500
    );
}

#[test]
fn a_host_without_proxmox_says_so() {
    let empty = tempfile::tempdir().unwrap();
    let settings = Settings {
        conf_dir: empty.path().into(),
        ..Settings::default()
    };
    let error = Cluster::open(&settings).unwrap_err().to_string();
    assert!(error.contains("the host is no Proxmox node"), "{error}");
}
