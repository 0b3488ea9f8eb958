//! What a pod is made of, as the controllers hand it to the runtime.
//!
//! Plain data: nothing here touches a file, a process or the network.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A pod: containers that share one network namespace and the same volumes.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// The Kubernetes namespace; it decides which service names the pod can resolve.
    pub namespace: String,
    /// The name, which is also the host name inside the pod.
    pub name: String,
    /// A word unique to this pod for the life of the cluster; it names the pod's scratch folder.
    pub uid: String,
    /// The containers to start, in this order. May be empty; see `Pod::start_container`.
    pub containers: Vec<ContainerSpec>,
    /// The volumes that the containers' mounts may name.
    pub volumes: Vec<VolumeSpec>,
}

/// One container: a main process with a mount and pid namespace of its own.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The name, unique in the pod.
    pub name: String,
    /// The program and its arguments. A program without `/` is looked up in `PATH`.
    pub command: Vec<String>,
    /// The whole environment; `PATH`, `HOME` and `HOSTNAME` are added where missing.
    pub env: Vec<(String, String)>,
    /// Where the main process and every exec start; `/` if not given.
    pub working_dir: Option<String>,
    /// The user id of the main process and of every exec; 0 if not given.
    pub run_as_user: Option<u32>,
    /// Where the pod's volumes are seen in this container.
    pub mounts: Vec<MountSpec>,
}

/// A volume seen at a path of a container.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct MountSpec {
    /// The name of the volume in the pod.
    pub volume: String,
    /// The absolute path in the container; made if it is missing.
    pub path: String,
    /// Whether writing fails with "read-only file system". Always so for `VolumeSource::Files`.
    pub read_only: bool,
    /// A relative path in the volume to show instead of its root; made if it is missing.
    pub sub_path: Option<String>,
}

/// A volume of a pod.
#[derive(Debug, Clone)]
pub struct VolumeSpec {
    /// The name that mounts refer to.
    pub name: String,
    /// Where its bytes live.
    pub source: VolumeSource,
}

/// Where the bytes of a volume live, and for how long.
#[derive(Debug, Clone)]
pub enum VolumeSource {
    /// A folder of the host, made if it is missing. It outlives the pod.
    HostFolder(PathBuf),
    /// An empty folder that ends with the pod.
    EmptyDir {
        /// The size in bytes at which writes fail with "no space left on device".
        size_limit: Option<u64>,
    },
    /// Named files, as of a ConfigMap or Secret; read-only in every container.
    Files(BTreeMap<String, Vec<u8>>),
}
