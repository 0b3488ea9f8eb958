//! Requests: everything that can be asked of the cluster or the repository, as closed types.
//!
//! A request carries the whole effect (target, argv, environment, stdin), so that what policy
//! decided on is exactly what is done. No request holds a secret's value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{
    ApplicationName, ArtifactName, CommandName, ContainerName, DataKey, DataSetName, GroupName,
    ModuleName, Namespace, ObjectName, PathName, PodPath, RoleName, SecretHandle, TemplateName,
    VariableName,
};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Principal {
    /// A module, while it runs.
    Module(ModuleIdentity),
    /// The host itself: pre-flight reads, and putting leases back.
    Host,
}

/// What names a module for policy and audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleIdentity {
    /// The name in its manifest.
    pub name: ModuleName,
    /// The version in its manifest, such as `0.1.0`.
    pub version: String,
    /// SHA-256 of the component file, as `sha256:` and 64 hex digits.
    pub digest: String,
    /// Who signed it, where a signature was checked.
    pub signer: Option<String>,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// Data goes from the cluster to the repository.
    Backup,
    /// Data goes from the repository to the cluster.
    Restore,
    /// The data set proves that what it kept can be used.
    Verify,
}

impl RunKind {
    /// The lower-case word, as in the audit log and in Cedar's context.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
        }
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For whom and in what a request is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Who asks.
    pub principal: Principal,
    /// The application.
    pub application: ApplicationName,
    /// The namespace of the application: every request stays in it.
    pub namespace: Namespace,
    /// The data set; `None` for requests of the host for the whole application.
    pub data_set: Option<DataSetName>,
    /// What the run does.
    pub run: RunKind,
}

/// The kinds of workload that can be a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// `apps/v1`.
    Deployment,
    /// `apps.openshift.io/v1`.
    DeploymentConfig,
    /// `apps/v1`.
    StatefulSet,
}

impl WorkloadKind {
    /// The kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::DeploymentConfig => "DeploymentConfig",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

/// A workload of the application's namespace. Displayed as kubectl writes it: `deployment/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: ObjectName,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}",
            self.kind.as_str().to_ascii_lowercase(),
            self.name
        )
    }
}

/// A role of a manifest, bound by the site to a workload and one of its containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The role.
    pub role: RoleName,
    /// The namespace.
    pub namespace: Namespace,
    /// The workload.
    pub workload: Workload,
    /// The container, always named.
    pub container: ContainerName,
}

/// A typed value for a hole of a command, checked against the manifest before it gets here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type", content = "value")]
pub enum Value {
    /// A database identifier: letters, digits, `_`, `$`, not beginning with a digit.
    Identifier(String),
    /// A whole number within the bounds of the manifest.
    Integer(i64),
    /// One of the words that the manifest lists.
    Choice(String),
    /// An absolute path in the pod.
    Path(PodPath),
    /// Any text without NUL.
    Text(String),
    /// A duration, in whole milliseconds.
    Duration(Duration),
    /// A number of bytes.
    Bytes(u64),
}

impl fmt::Display for Value {
    /// The text that goes into an argument; durations in seconds, as most tools take them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identifier(text) | Self::Choice(text) | Self::Text(text) => f.write_str(text),
            Self::Path(path) => write!(f, "{path}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Bytes(number) => write!(f, "{number}"),
            Self::Duration(duration) => write!(f, "{}", duration.as_secs()),
        }
    }
}

/// Where the value of an environment variable of a command comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "from")]
pub enum EnvironmentSource {
    /// A variable that the container already has; its value never leaves the pod.
    Pod {
        /// The variable in the container.
        variable: VariableName,
    },
    /// A key of a Secret that the site bound to a handle of the manifest.
    Secret {
        /// The handle of the manifest.
        handle: SecretHandle,
        /// The Secret.
        object: ObjectName,
        /// The key of its data.
        key: DataKey,
    },
}

/// What may be fed to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Stdin {
    /// Nothing: stdin is not opened.
    None,
    /// Only bytes that the host moves straight from the repository.
    Artifact,
    /// A script of the manifest with its typed holes filled. The text is here for the audit.
    Template {
        /// The filled script.
        text: String,
    },
    /// Whatever the module writes.
    Free,
}

impl Stdin {
    /// The word of the manifest.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Artifact => "artifact",
            Self::Template { .. } => "template",
            Self::Free => "free",
        }
    }
}

/// Look up a target: its workload, its selector, its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveTarget {
    /// The target.
    pub target: Target,
}

/// Run a command of the manifest in the container of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCommand {
    /// Where it runs.
    pub target: Target,
    /// Its name in the manifest.
    pub command: CommandName,
    /// The filled command line, program first. Never a secret: it stands in the API server's log.
    pub argv: Vec<String>,
    /// The values that filled the holes.
    pub holes: BTreeMap<String, Value>,
    /// Variables that are set for the command, in this order.
    pub environment: Vec<(VariableName, EnvironmentSource)>,
    /// What may be fed to it.
    pub stdin: Stdin,
    /// After this long the command is given up.
    pub timeout: Duration,
}

/// What is done with a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOperation {
    /// Size, mode and time.
    Stat,
    /// Read the content.
    Read,
    /// Write beside and rename into place.
    Write,
    /// Rename to another declared path.
    Rename {
        /// The name of the other path in the manifest.
        to: PathName,
        /// Its place.
        to_path: PodPath,
    },
    /// Remove the file or the tree.
    Remove,
    /// Save the tree to an artifact.
    SaveTree,
    /// Load the tree from an artifact.
    LoadTree,
}

/// Touch a path of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessFile {
    /// Where the path is.
    pub target: Target,
    /// Its name in the manifest.
    pub name: PathName,
    /// Its place in the container.
    pub path: PodPath,
    /// What is done.
    pub operation: FileOperation,
}

/// A kind of Kubernetes object, fixed by the manifest or by a parameter of the site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectKind {
    /// Such as `v1` or `apps.3scale.net/v1alpha1`.
    pub api_version: String,
    /// Such as `ConfigMap`.
    pub kind: String,
}

impl fmt::Display for ObjectKind {
    /// Version and kind, such as `v1/ConfigMap` or `apps/v1/Deployment`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_version, self.kind)
    }
}

impl ObjectKind {
    /// Whether the contents must never reach a guest.
    pub fn is_secret(&self) -> bool {
        self.api_version == "v1" && self.kind == "Secret"
    }
}

/// What is done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectOperation {
    /// Read it for the module (never a Secret) .
    Get,
    /// Read it into an artifact, scrubbed, past the module.
    Save,
    /// Create or replace it from an artifact, past the module.
    Load,
    /// Server-side apply of what the module wrote (never a Secret).
    Apply,
    /// Wait for a condition.
    Wait,
}

/// Touch one Kubernetes object of a group of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessObject {
    /// The namespace.
    pub namespace: Namespace,
    /// The group of the manifest.
    pub group: GroupName,
    /// The kind.
    pub kind: ObjectKind,
    /// The object.
    pub name: ObjectName,
    /// What is done.
    pub operation: ObjectOperation,
}

/// Where the value of a parameter of a template comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ParameterSource {
    /// A key of a Secret.
    Secret {
        /// The Secret.
        object: ObjectName,
        /// The key of its data.
        key: DataKey,
    },
    /// A key of a ConfigMap.
    ConfigMap {
        /// The ConfigMap.
        object: ObjectName,
        /// The key of its data.
        key: DataKey,
    },
    /// A label of a ConfigMap.
    Label {
        /// The ConfigMap.
        object: ObjectName,
        /// The label, one without a prefix.
        label: DataKey,
    },
}

/// How much of a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValuePart {
    /// All of it.
    Whole,
    /// Of a URL, the password.
    UrlPassword,
    /// Of a URL, the first part of the path: the name of a database.
    UrlDatabase,
}

/// How a parameter of a template is filled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateParameter {
    /// Where the value comes from.
    pub source: ParameterSource,
    /// How much of it counts.
    pub part: ValuePart,
    /// Whether the source may be missing: then the template's own value counts.
    pub optional: bool,
}

impl fmt::Display for TemplateParameter {
    /// As the schema writes it: `Secret/system-seed/TENANT_NAME`,
    /// `ConfigMap/system-environment@app`, `Secret/system-database/URL#password`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            ParameterSource::Secret { object, key } => write!(f, "Secret/{object}/{key}")?,
            ParameterSource::ConfigMap { object, key } => write!(f, "ConfigMap/{object}/{key}")?,
            ParameterSource::Label { object, label } => write!(f, "ConfigMap/{object}@{label}")?,
        }
        match self.part {
            ValuePart::Whole => Ok(()),
            ValuePart::UrlPassword => f.write_str("#password"),
            ValuePart::UrlDatabase => f.write_str("#database"),
        }
    }
}

/// Fill an OpenShift Template from Secrets and ConfigMaps, let the cluster process it, and bring the
/// objects that come of it into the namespace. All of it past the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessTemplate {
    /// The namespace: of the sources and of the objects.
    pub namespace: Namespace,
    /// Its name in the manifest.
    pub template: TemplateName,
    /// The group of the manifest that names the Template.
    pub group: GroupName,
    /// The Template.
    pub name: ObjectName,
    /// The parameters that are filled.
    pub parameters: BTreeMap<VariableName, TemplateParameter>,
    /// The kinds of objects that may come of it.
    pub kinds: BTreeSet<ObjectKind>,
}

impl ProcessTemplate {
    /// What a Template is for the API.
    pub fn kind() -> ObjectKind {
        ObjectKind {
            api_version: "template.openshift.io/v1".to_owned(),
            kind: "Template".to_owned(),
        }
    }

    /// Each parameter with its source, as the schema writes it: `TENANT_NAME=Secret/...`.
    pub fn sources(&self) -> Vec<String> {
        let source = |(name, from): (&VariableName, &TemplateParameter)| format!("{name}={from}");
        self.parameters.iter().map(source).collect()
    }

    /// The kinds as the schema writes them: `apps/v1/Deployment`.
    pub fn kind_words(&self) -> Vec<String> {
        self.kinds.iter().map(ToString::to_string).collect()
    }
}

/// What is done with a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RolloutOperation {
    /// Replace the pods.
    Restart,
    /// Wait until the newest generation is rolled out.
    Wait,
    /// Read the number of replicas.
    Replicas,
    /// Set the number of replicas for good.
    SetReplicas {
        /// The number.
        replicas: u32,
    },
    /// Refuse every later change of the pods in this run.
    Guard,
}

/// Roll a workload, or look at how that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roll {
    /// The target whose workload is meant.
    pub target: Target,
    /// What is done.
    pub operation: RolloutOperation,
}

/// A temporary change that the host puts back whatever happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Change {
    /// Another number of replicas.
    Scale {
        /// The namespace.
        namespace: Namespace,
        /// The workload.
        workload: Workload,
        /// The number for the time of the lease.
        replicas: u32,
    },
    /// Other values for keys of a ConfigMap's `data`.
    EditObject {
        /// The namespace.
        namespace: Namespace,
        /// The group of the manifest.
        group: GroupName,
        /// The kind: `v1` `ConfigMap`.
        kind: ObjectKind,
        /// The object.
        name: ObjectName,
        /// Keys and their values for the time of the lease.
        changes: BTreeMap<DataKey, String>,
    },
}

/// Make a temporary change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeLease {
    /// The change.
    pub change: Change,
}

/// Put a temporary change back. Asked by the host only, at the end of a run or at the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBack {
    /// The change that was made.
    pub change: Change,
}

/// What is done with an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArtifactOperation {
    /// Create it in the snapshot of this run.
    Create,
    /// Read it from the snapshot that is restored or verified.
    Open,
}

/// Touch an artifact of the module's own data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseArtifact {
    /// The artifact.
    pub artifact: ArtifactName,
    /// What is done.
    pub operation: ArtifactOperation,
}

/// Any request, for what is common to them: the audit line and the Cedar question.
#[derive(Debug, Clone, Copy)]
pub enum AnyRequest<'a> {
    /// See [`ResolveTarget`].
    ResolveTarget(&'a ResolveTarget),
    /// See [`RunCommand`].
    RunCommand(&'a RunCommand),
    /// See [`AccessFile`].
    AccessFile(&'a AccessFile),
    /// See [`AccessObject`].
    AccessObject(&'a AccessObject),
    /// See [`ProcessTemplate`].
    ProcessTemplate(&'a ProcessTemplate),
    /// See [`Roll`].
    Roll(&'a Roll),
    /// See [`TakeLease`].
    TakeLease(&'a TakeLease),
    /// See [`PutBack`].
    PutBack(&'a PutBack),
    /// See [`UseArtifact`].
    UseArtifact(&'a UseArtifact),
}

/// Something that policy can decide on. Sealed: the requests of this file and no others.
pub trait Request: sealed::Sealed + fmt::Debug {
    /// The request as one of the closed set.
    fn any(&self) -> AnyRequest<'_>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! requests {
    ($($name:ident),+) => {$(
        impl sealed::Sealed for $name {}
        impl Request for $name {
            fn any(&self) -> AnyRequest<'_> { AnyRequest::$name(self) }
        }
    )+};
}
requests!(
    ResolveTarget,
    RunCommand,
    AccessFile,
    AccessObject,
    ProcessTemplate,
    Roll,
    TakeLease,
    PutBack,
    UseArtifact
);
