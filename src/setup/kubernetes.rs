//! What a cluster needs to use the handler: a RuntimeClass, and a pod to try it with.
//! Text alone; the cluster is kubectl's.

/// Kubernetes objects as YAML. The handler is the name that `setup containerd` and `setup crio`
/// give it.
pub const OBJECTS: &str = r#"# pxrun setup kubernetes | kubectl apply -f -
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata:
  name: pxrun
handler: pxrun
# Where only some nodes have pxrun, label them and let the pods follow:
# scheduling:
#   nodeSelector:
#     pxrun: "true"
---
apiVersion: v1
kind: Pod
metadata:
  name: hello-pxrun
spec:
  runtimeClassName: pxrun
  restartPolicy: Never
  containers:
    - name: hello
      image: busybox:1
      command: ["sh", "-c", "echo hello from $(hostname)"]
"#;
