//! How things of the vocabulary are named in Cedar.
//!
//! The one place that joins names into ids: the gate and the policy writer must agree on each byte.

use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid};

use crate::name::{ApplicationName, DataSetName, ObjectName};
use crate::request::{Scope, Workload};

/// Entity types of the schema, and of Cedar itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Module,
    Host,
    Application,
    DataSet,
    Target,
    Command,
    Path,
    Object,
    Workload,
    Secret,
    Artifact,
    Holes,
    Words,
    Changes,
    Action,
}

/// In the order of [`Kind`].
static TYPE_NAMES: LazyLock<[EntityTypeName; 15]> = LazyLock::new(|| {
    [
        "Module",
        "Host",
        "Application",
        "DataSet",
        "Target",
        "Command",
        "Path",
        "Object",
        "Workload",
        "Secret",
        "Artifact",
        "Holes",
        "Words",
        "Changes",
        "Action",
    ]
    .map(|name| name.parse().expect("a plain word is an entity type name"))
});

impl Kind {
    fn type_name(self) -> EntityTypeName {
        let [
            module,
            host,
            application,
            data_set,
            target,
            command,
            path,
            object,
            workload,
            secret,
            artifact,
            holes,
            words,
            changes,
            action,
        ] = &*TYPE_NAMES;
        match self {
            Self::Module => module,
            Self::Host => host,
            Self::Application => application,
            Self::DataSet => data_set,
            Self::Target => target,
            Self::Command => command,
            Self::Path => path,
            Self::Object => object,
            Self::Workload => workload,
            Self::Secret => secret,
            Self::Artifact => artifact,
            Self::Holes => holes,
            Self::Words => words,
            Self::Changes => changes,
            Self::Action => action,
        }
        .clone()
    }

    /// The entity of this kind with this id.
    pub(crate) fn uid(self, id: impl AsRef<str>) -> EntityUid {
        EntityUid::from_type_name_and_id(self.type_name(), EntityId::new(id))
    }
}

/// An action of the schema.
pub(crate) fn action(capability: &str) -> EntityUid {
    Kind::Action.uid(capability)
}

/// The host as a principal.
pub(crate) fn host() -> EntityUid {
    Kind::Host.uid("host")
}

/// Application and data set, as every id of a resource begins.
///
/// `-` is no data set name, so what is asked for a whole application cannot be taken for a data set.
pub(crate) fn place(application: &ApplicationName, data_set: Option<&DataSetName>) -> String {
    format!(
        "{application}/{}",
        data_set.map_or("-", DataSetName::as_str)
    )
}

/// [`place`] of a scope.
pub(crate) fn place_of(scope: &Scope) -> String {
    place(&scope.application, scope.data_set.as_ref())
}

/// Something of the manifest that has a name there.
pub(crate) fn named(kind: Kind, place: &str, name: &str) -> EntityUid {
    kind.uid(format!("{place}/{name}"))
}

/// A Kubernetes object. Only the kind may hold a `/`, and it stands between parts that cannot.
pub(crate) fn object(place: &str, kind: &str, name: &ObjectName) -> EntityUid {
    Kind::Object.uid(format!("{place}/{kind}/{name}"))
}

/// A workload.
pub(crate) fn workload(place: &str, workload: &Workload) -> EntityUid {
    Kind::Workload.uid(format!("{place}/{workload}"))
}
