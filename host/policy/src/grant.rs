//! What a site is to be asked to allow, as data: the input of the policy writer and of `inspect`.
//!
//! Grants are wishes. Nothing here allows anything.

use std::collections::BTreeMap;

use crate::name::PodPath;
use crate::request::{
    AccessFile, AccessObject, AnyRequest, ArtifactOperation, ProcessTemplate, PutBack, Request,
    ResolveTarget, Roll, RunCommand, Scope, Stdin, TakeLease, UseArtifact, Value,
};

/// One wish of a module in its data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who wishes it, in what. Grants that differ only in the run kind become one rule.
    pub scope: Scope,
    /// What is wished.
    pub wish: Wish,
}

impl Grant {
    /// Exactly this request.
    pub fn request(scope: &Scope, request: impl Into<OwnedRequest>) -> Self {
        Self {
            scope: scope.clone(),
            wish: Wish::Request(request.into()),
        }
    }

    /// A request that stands for all that the wish covers: open holes are filled with a sample.
    pub fn sample(&self) -> OwnedRequest {
        match &self.wish {
            Wish::Request(request) => request.clone(),
            Wish::OpenCommand {
                command,
                open_holes,
            } => OwnedRequest::RunCommand(fill(command, open_holes)),
            Wish::AnyArtifact(operation) => OwnedRequest::UseArtifact(UseArtifact {
                artifact: "sample".parse().expect("a plain word is an artifact name"),
                operation: *operation,
            }),
        }
    }
}

/// What is wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Exactly this request. Of an edit lease the keys count, each by itself, and not their values;
    /// of a number of replicas that is set for good, the workload.
    Request(OwnedRequest),
    /// A command some of whose holes the module fills as it goes.
    OpenCommand {
        /// The command. In its argv and its script an open hole stands as `{name}`; `holes` has the
        /// values of the others only.
        command: RunCommand,
        /// The open holes and the type of each.
        open_holes: BTreeMap<String, ValueKind>,
    },
    /// Any artifact of the module's own data set: manifests do not name artifacts.
    AnyArtifact(ArtifactOperation),
}

/// The type of a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// See [`Value::Identifier`].
    Identifier,
    /// See [`Value::Integer`].
    Integer,
    /// See [`Value::Choice`].
    Choice,
    /// See [`Value::Path`].
    Path,
    /// See [`Value::Text`].
    Text,
    /// See [`Value::Duration`].
    Duration,
    /// See [`Value::Bytes`].
    Bytes,
}

impl ValueKind {
    /// The lower-case word, as in Cedar's `Hole`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identifier => "identifier",
            Self::Integer => "integer",
            Self::Choice => "choice",
            Self::Path => "path",
            Self::Text => "text",
            Self::Duration => "duration",
            Self::Bytes => "bytes",
        }
    }

    fn sample(self) -> Value {
        match self {
            Self::Identifier => Value::Identifier("sample".to_owned()),
            Self::Integer => Value::Integer(1),
            Self::Choice => Value::Choice("sample".to_owned()),
            Self::Path => {
                Value::Path(PodPath::parse("/sample").expect("an absolute path is a path"))
            }
            Self::Text => Value::Text("sample".to_owned()),
            Self::Duration => Value::Duration(std::time::Duration::from_secs(1)),
            Self::Bytes => Value::Bytes(1),
        }
    }
}

impl Value {
    /// Its type.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Identifier(_) => ValueKind::Identifier,
            Self::Integer(_) => ValueKind::Integer,
            Self::Choice(_) => ValueKind::Choice,
            Self::Path(_) => ValueKind::Path,
            Self::Text(_) => ValueKind::Text,
            Self::Duration(_) => ValueKind::Duration,
            Self::Bytes(_) => ValueKind::Bytes,
        }
    }
}

fn fill(command: &RunCommand, open_holes: &BTreeMap<String, ValueKind>) -> RunCommand {
    let mut filled = command.clone();
    for (name, kind) in open_holes {
        let value = kind.sample();
        let replace = |text: &String| text.replace(&format!("{{{name}}}"), &value.to_string());
        filled.argv = filled.argv.iter().map(replace).collect();
        if let Stdin::Template { text } = &mut filled.stdin {
            *text = replace(text);
        }
        filled.holes.insert(name.clone(), value);
    }
    filled
}

macro_rules! owned {
    ($($name:ident),+) => {
        /// Any request, owned: [`AnyRequest`] to keep.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum OwnedRequest {$(
            #[doc = concat!("See [`", stringify!($name), "`].")]
            $name($name),
        )+}

        impl OwnedRequest {
            /// The request, borrowed.
            pub fn any(&self) -> AnyRequest<'_> {
                match self {$( Self::$name(request) => request.any(), )+}
            }
        }

        $(impl From<$name> for OwnedRequest {
            fn from(request: $name) -> Self { Self::$name(request) }
        })+

        impl AnyRequest<'_> {
            /// The request, to keep.
            pub fn to_owned(self) -> OwnedRequest {
                match self {$( Self::$name(request) => OwnedRequest::$name(request.clone()), )+}
            }
        }
    };
}
owned!(
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
