//! The manifest of a module, parsed once into types that cannot be wrong.
//!
//! Embedded in the component as the custom section `cofferdam:manifest` (TOML, UTF-8, at most
//! 256 KiB). Unknown keys are refused: a word that this host does not know may be a limit that the
//! author relied on.

pub(crate) mod parameter;
mod read;
mod section;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cofferdam_policy::name::{
    CommandName, DataKey, GroupName, ModuleName, ParameterName, PathName, RoleName, SecretHandle,
    TemplateName, VariableName,
};
use cofferdam_policy::request::{ObjectKind, TemplateParameter};

pub use parameter::{Parameter, ParameterType, Setting};
pub(crate) use section::{contents, with_section};
pub use template::{Part, Template, TemplateError};

/// The custom section of the component in which the manifest lies.
pub const SECTION: &str = "cofferdam:manifest";

/// Why a text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is longer than [`limits::MANIFEST_BYTES`](crate::limits::MANIFEST_BYTES).
    #[error("the manifest is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// It is not UTF-8.
    #[error("the manifest is not UTF-8")]
    Encoding,
    /// It is no TOML.
    #[error("the manifest is no TOML: line {line}: {problem}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A key is unknown, missing, of the wrong type, or its value makes no sense.
    #[error("`{key}` in the manifest: {problem}")]
    Key {
        /// The key with its tables, such as `commands.dump.argv`.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// All that a module declares about itself.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its name.
    pub name: ModuleName,
    /// Its version, `major.minor.patch`.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// The roles that the site binds, each with a line for people.
    pub targets: BTreeMap<RoleName, String>,
    /// Those that a site may leave unbound. Asking for such a one is `not-bound` then.
    pub optional_targets: BTreeSet<RoleName>,
    /// What the site may set.
    pub parameters: BTreeMap<ParameterName, Parameter>,
    /// The secrets that the site binds, each with a line for people.
    pub secrets: BTreeMap<SecretHandle, String>,
    /// Those that a site may leave unbound. A command's variable from such a one is not set then.
    pub optional_secrets: BTreeSet<SecretHandle>,
    /// The commands that the module may run.
    pub commands: BTreeMap<CommandName, Command>,
    /// The files and folders that it may touch.
    pub paths: BTreeMap<PathName, DeclaredPath>,
    /// The objects that it may touch.
    pub objects: BTreeMap<GroupName, ObjectGroup>,
    /// The OpenShift Templates that it may have processed.
    pub templates: BTreeMap<TemplateName, DeclaredTemplate>,
    /// What it may do with the workloads of its targets.
    pub rollouts: BTreeMap<RoleName, Vec<RolloutVerb>>,
}

/// A command template.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its name.
    pub name: CommandName,
    /// The role in whose container it runs.
    pub target: RoleName,
    /// One line for people; may be empty.
    pub summary: String,
    /// The words, with holes. The first has none.
    pub argv: Vec<Template>,
    /// The holes that the module fills. Every other hole is filled by the host with the parameter
    /// of its name.
    pub holes: BTreeMap<ParameterName, Parameter>,
    /// Variables set for it, sorted by name.
    pub environment: Vec<(VariableName, DeclaredSource)>,
    /// What may be fed to it.
    pub stdin: DeclaredStdin,
    /// What becomes of its output.
    pub stdout: DeclaredStdout,
    /// After this long it is given up.
    pub timeout: Duration,
}

/// Where a variable of a command comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredSource {
    /// A variable that the container has already.
    Pod(VariableName),
    /// A secret that the site binds. Optional and not bound: the variable is not set.
    Secret(SecretHandle),
    /// An optional secret; where the site binds none, a variable that the container has already.
    SecretOrPod(SecretHandle, VariableName),
}

/// What may be fed to a command.
#[derive(Debug, Clone)]
pub enum DeclaredStdin {
    /// Nothing.
    None,
    /// Only bytes that the host moves straight from the repository.
    Artifact,
    /// A script of the manifest with typed holes.
    Template(Template),
    /// Whatever the module writes.
    Free,
}

/// What becomes of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredStdout {
    /// A stream of any length.
    Stream,
    /// Kept in memory up to this many bytes.
    Capture(u32),
}

/// A file or folder that a module may touch.
#[derive(Debug, Clone)]
pub struct DeclaredPath {
    /// Its name.
    pub name: PathName,
    /// The role in whose container it is.
    pub target: RoleName,
    /// Its place; the holes are parameters.
    pub path: Template,
    /// What may be done with it.
    pub access: Access,
    /// Whether it is a folder that is saved and loaded as a whole, and nothing else.
    pub tree: bool,
}

/// What may be done with a declared path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look at it, read it, save it as a tree.
    Read,
    /// All that `Read` allows; write, rename, remove, load a tree into it.
    Write,
}

/// Kubernetes objects that a module may touch: one kind, fixed names.
#[derive(Debug, Clone)]
pub struct ObjectGroup {
    /// Its name.
    pub name: GroupName,
    /// The kind, or the parameter that holds it.
    pub kind: KindTemplate,
    /// The names, or the parameters that hold them.
    pub names: Vec<NameTemplate>,
    /// What may be done.
    pub verbs: BTreeSet<ObjectVerb>,
    /// The keys of `data` that a lease may change; some exactly where `verbs` has `Lease`.
    pub keys: Vec<KeyTemplate>,
}

/// The kind of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindTemplate {
    /// A kind.
    Literal(ObjectKind),
    /// A parameter of type `object-kind`: never a kind of the core group, so never a Secret.
    Parameter(ParameterName),
}

impl std::fmt::Display for KindTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(kind) => f.write_str(&kind.kind),
            Self::Parameter(parameter) => write!(f, "{{{parameter}}}"),
        }
    }
}

/// An OpenShift Template that a module may have processed, and all that goes into it.
#[derive(Debug, Clone)]
pub struct DeclaredTemplate {
    /// Its name.
    pub name: TemplateName,
    /// The group of `[objects]` that names the Template.
    pub group: GroupName,
    /// How its parameters are filled. The host does that; the values go past the module.
    pub parameters: BTreeMap<VariableName, TemplateParameter>,
    /// The kinds of objects that may come of it.
    pub kinds: BTreeSet<ObjectKind>,
}

/// One key that a lease may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyTemplate {
    /// A key.
    Literal(DataKey),
    /// A parameter of type `data-key`.
    Parameter(ParameterName),
}

/// One entry of a group's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameTemplate {
    /// A name.
    Literal(cofferdam_policy::name::ObjectName),
    /// A parameter of type `object-name` or `object-names`.
    Parameter(ParameterName),
}

/// What may be done with the objects of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectVerb {
    /// Read one into the module. Never for Secrets.
    Get,
    /// Save all to an artifact, past the module.
    Save,
    /// Load them from an artifact, past the module.
    Load,
    /// Apply what the module wrote. Never for Secrets.
    Apply,
    /// Wait for a condition.
    Wait,
    /// Change keys of a ConfigMap for a time.
    Lease,
}

/// What may be done with the workload of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolloutVerb {
    /// Replace its pods.
    Restart,
    /// Wait until it is rolled out.
    Wait,
    /// Read its number of replicas.
    Replicas,
    /// Change its number of replicas for a time.
    Scale,
    /// Set its number of replicas for good.
    SetReplicas,
    /// Let nobody else in the run replace its pods.
    Guard,
}

impl Manifest {
    /// Parses the text of a manifest.
    ///
    /// # Errors
    /// [`ManifestError`], which names the key.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        read::manifest(text)
    }
}

impl Command {
    /// The type of a hole of this command: the module's, or the parameter's that the host fills in.
    pub fn hole<'a>(
        &'a self,
        manifest: &'a Manifest,
        name: &ParameterName,
    ) -> Option<&'a Parameter> {
        self.holes
            .get(name)
            .or_else(|| manifest.parameters.get(name))
    }

    /// All templates of the command: its words, and its script where it has one.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.argv.iter().chain(self.script())
    }

    /// Its script, where it has one.
    pub fn script(&self) -> Option<&Template> {
        match &self.stdin {
            DeclaredStdin::Template(script) => Some(script),
            DeclaredStdin::None | DeclaredStdin::Artifact | DeclaredStdin::Free => None,
        }
    }
}
