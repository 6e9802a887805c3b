//! Pods of the handler that is registered in the configuration, as kubelet makes them.

use crate::*;

/// NamespaceMode of the CRI.
const POD: u64 = 0;
const CONTAINER: u64 = 1;
const NODE: u64 = 2;

struct Pod {
    cri: Cri,
    id: String,
    config: Message,
    logs: PathBuf,
    containers: Vec<String>,
}

impl Pod {
    /// RunPodSandbox with our handler; None when the machine can't speak the CRI.
    fn run(network: u64, pid: u64) -> Option<Self> {
        if lacks("cri") {
            return None;
        }
        let sandbox = &containerd().sandbox;
        let name = unique("pod");
        let logs = sandbox.mkdir(&format!("{name}-logs"));
        let metadata = Message::new()
            .text(1, &name)
            .text(2, &name)
            .text(3, "default");
        let options = Message::new().number(1, network).number(2, pid);
        let linux = Message::new()
            .text(1, format!("/{}", sandbox.name))
            .message(2, Message::new().message(1, options));
        let mut config = Message::new()
            .message(1, metadata)
            .text(3, logs.to_string_lossy().as_bytes());
        if network != NODE {
            config = config.text(2, "in-a-pod");
        }
        if let Some(backend) = backend() {
            config = config.entry(7, BACKEND_ANNOTATION, &backend);
        }
        let config = config.message(8, linux);
        let cri = Cri {
            socket: containerd().socket.clone(),
        };
        let request = Message::new().message(1, config.clone()).text(2, "pxrun");
        let id = cri.call("RunPodSandbox", request).text_at(1);
        Some(Self {
            cri,
            id,
            config,
            logs,
            containers: Vec::new(),
        })
    }

    /// CreateContainer and StartContainer.
    #[track_caller]
    fn start(&mut self, name: &str, script: &str, linux: Message) -> String {
        let config = Message::new()
            .message(1, Message::new().text(1, name))
            .message(2, Message::new().text(1, IMAGE))
            .texts(3, &["sh", "-c", script])
            .message(6, Message::new().text(1, "COLOUR").text(2, "green"))
            .text(11, format!("{name}.log"))
            .message(15, linux);
        let config = match backend() {
            Some(backend) => config.entry(10, BACKEND_ANNOTATION, &backend),
            None => config,
        };
        let request = Message::new()
            .text(1, &self.id)
            .message(2, config)
            .message(3, self.config.clone());
        let id = self.cri.call("CreateContainer", request).text_at(1);
        self.containers.push(id.clone());
        self.cri.call("StartContainer", Message::new().text(1, &id));
        id
    }

    /// LinuxContainerConfig that shares the pod's pid namespace or not.
    fn linux(network: u64, pid: u64) -> Message {
        let options = Message::new().number(1, network).number(2, pid);
        Message::new().message(2, Message::new().message(3, options))
    }

    /// State (1 running, 2 exited) and exit code.
    #[track_caller]
    fn status(&self, id: &str) -> (u64, u64) {
        let status = self
            .cri
            .call("ContainerStatus", Message::new().text(1, id))
            .message_at(1);
        (status.number_at(3), status.number_at(7))
    }

    #[track_caller]
    fn exec(&self, id: &str, args: &[&str]) -> (u64, String) {
        let request = Message::new().text(1, id).texts(2, args).number(3, 20);
        let response = self.cri.call("ExecSync", request);
        (response.number_at(3), response.text_at(1))
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default()
    }

    #[track_caller]
    fn pid(&self, id: &str) -> i32 {
        let list = run(&mut containerd().ctr("k8s.io", &["tasks", "ls"])).ok();
        let line = list.stdout.lines().find(|l| l.starts_with(id));
        line.and_then(|l| l.split_whitespace().nth(1))
            .expect("its task")
            .parse()
            .expect("a pid")
    }

    /// StopPodSandbox and RemovePodSandbox, containers first.
    #[track_caller]
    fn remove(&mut self) {
        for id in self.containers.drain(..) {
            self.cri
                .call("StopContainer", Message::new().text(1, &id).number(2, 0));
            self.cri
                .call("RemoveContainer", Message::new().text(1, &id));
        }
        self.cri
            .call("StopPodSandbox", Message::new().text(1, &self.id));
        self.cri
            .call("RemovePodSandbox", Message::new().text(1, &self.id));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let _ = self
                .cri
                .try_call("RuntimeService", method, Message::new().text(1, &self.id));
        }
    }
}

#[test]
fn a_pod_of_the_registered_handler() {
    let Some(mut pod) = Pod::run(POD, CONTAINER) else {
        return;
    };
    let handler = containerd().sandbox.path("handler/k8s.io");
    assert!(
        handler.join(&pod.id).exists(),
        "the handler's runtime didn't run the sandbox"
    );
    let script = "echo $COLOUR from $(hostname); trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let one = pod.start("one", script, Pod::linux(POD, CONTAINER));
    let two = pod.start("two", "echo error >&2; exit 7", Pod::linux(POD, CONTAINER));
    wait_until("one's log", || {
        pod.log("one").contains("stdout F green from in-a-pod")
    });
    wait_until("two's end", || pod.status(&two) == (2, 7));
    assert!(pod.log("two").contains("stderr F error"));
    let ns =
        |pid: i32, kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", init_of(pid))).unwrap();
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(
            ns(pod.pid(&pod.id), kind),
            ns(pod.pid(&one), kind),
            "{kind}"
        );
    }
    assert_ne!(ns(pod.pid(&pod.id), "pid"), ns(pod.pid(&one), "pid"));
    assert_eq!(
        pod.exec(&one, &["sh", "-c", "echo $COLOUR; exit 5"]),
        (5, "green\n".into())
    );
    pod.cri
        .call("StopContainer", Message::new().text(1, &one).number(2, 10));
    assert_eq!(pod.status(&one), (2, 0));
    let (ids, pid) = (pod.containers.clone(), pod.pid(&pod.id));
    pod.remove();
    assert!(!alive(pid));
    for id in ids.iter().chain([&pod.id]) {
        assert!(
            !handler.join(id).exists(),
            "the runtime's record of {id} stays"
        );
        assert!(cgroup::all_with(id).is_empty(), "cgroups of {id} stay");
    }
}

#[test]
fn a_pod_that_shares_its_pid_namespace() {
    let Some(mut pod) = Pod::run(POD, POD) else {
        return;
    };
    let one = pod.start("one", "exec sleep 294", Pod::linux(POD, POD));
    let two = pod.start("two", FOREVER, Pod::linux(POD, POD));
    let (code, seen) = pod.exec(&two, &["ps", "-o", "args"]);
    assert_eq!(code, 0);
    for text in ["sleep 1000", "sleep 294", "sleep 300"] {
        assert!(seen.contains(text), "no `{text}` in {seen}");
    }
    pod.cri
        .call("StopContainer", Message::new().text(1, &one).number(2, 0));
    assert_eq!(pod.status(&one), (2, 137));
    assert_eq!(pod.status(&two).0, 1);
    pod.remove();
}

#[test]
fn a_pod_in_the_hosts_network_with_limits_that_change() {
    let Some(mut pod) = Pod::run(NODE, CONTAINER) else {
        return;
    };
    let resources = |memory: u64, quota: u64| {
        Message::new()
            .number(1, 100_000)
            .number(2, quota)
            .number(3, 512)
            .number(4, memory)
    };
    let linux = Message(
        [
            Message::new().message(1, resources(64 << 20, 50_000)).0,
            Pod::linux(NODE, CONTAINER).0,
        ]
        .concat(),
    );
    let one = pod.start("one", FOREVER, linux);
    let pid = pod.pid(&one);
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/ns/net")).unwrap(), own);
    let quota = || cgroup::value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(["50000", "50000 100000"].contains(&quota().as_str()));
    // The shim's `update --resources=-`.
    let update = Message::new()
        .text(1, &one)
        .message(2, resources(96 << 20, 25_000));
    pod.cri.call("UpdateContainerResources", update);
    assert!(
        ["25000", "25000 100000"].contains(&quota().as_str()),
        "{}",
        quota()
    );
    if !lacks("memory-controller") {
        assert_eq!(
            cgroup::value(pid, "memory", "memory.limit_in_bytes", "memory.max"),
            (96 << 20).to_string()
        );
    }
    let stats = pod
        .cri
        .call("ContainerStats", Message::new().text(1, &one))
        .message_at(1);
    assert!(!stats.bytes_at(2).is_empty(), "no cpu figures");
    pod.remove();
}

#[test]
fn pods_at_once() {
    if lacks("cri") {
        return;
    }
    let threads: Vec<_> = (0..3)
        .map(|n| {
            std::thread::spawn(move || {
                let mut pod = Pod::run(POD, CONTAINER).expect("the CRI is there");
                let id = pod.start("one", &format!("exit {n}"), Pod::linux(POD, CONTAINER));
                wait_until("its end", || pod.status(&id) == (2, n));
                pod.remove();
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a pod's whole life");
    }
}
