//! The kinds this server knows: the built-in table, and those that CustomResourceDefinitions add.
//! It must stay a table: behaviour of a kind belongs to `defaults`, `validation` or a controller.

use serde_json::{Value, json};

use crate::document;
use crate::store::Store;

/// One resource of one version of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// The group, empty for the core one.
    pub(crate) group: String,
    /// The version, such as `v1`.
    pub(crate) version: String,
    /// The name in paths, such as `deployments`.
    pub(crate) plural: String,
    /// The name of one, such as `deployment`.
    pub(crate) singular: String,
    /// The kind, such as `Deployment`.
    pub(crate) kind: String,
    /// Whether objects live in a namespace.
    pub(crate) namespaced: bool,
    /// Short names for command lines.
    pub(crate) short: Vec<String>,
    /// Sub-resources that are served.
    pub(crate) subresources: Vec<String>,
    /// Whether `metadata.generation` counts changes outside of metadata and status.
    pub(crate) counts_generations: bool,
    /// Whether nothing is stored: the answer to a create is all there is.
    pub(crate) virtual_only: bool,
}

impl Resource {
    /// The key of the collection in the store: versions share one.
    pub(crate) fn collection(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}/{}", self.group, self.plural)
        }
    }

    /// `apps/v1`, or `v1` in the core group.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `deployments.apps`, or `pods` in the core group.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The `details` of a `Status` about one object.
    pub(crate) fn details(&self, name: &str) -> Value {
        let mut details = json!({"name": name});
        if !self.group.is_empty() {
            document::set(&mut details, "/group", json!(self.group));
        }
        document::set(&mut details, "/kind", json!(self.plural));
        details
    }

    /// Whether a sub-resource is served.
    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|known| known == subresource)
    }

    /// Whether status is written through its sub-resource only.
    pub(crate) fn has_status(&self) -> bool {
        self.has("status")
    }

    /// Built-in kinds understand strategic merge patches, custom ones do not.
    pub(crate) fn is_custom(&self) -> bool {
        self.group.ends_with("3scale.net") || !BUILT_IN_GROUPS.contains(&self.group.as_str())
    }
}

const BUILT_IN_GROUPS: &[&str] = &[
    "",
    "apps",
    "batch",
    "apps.openshift.io",
    "template.openshift.io",
    "route.openshift.io",
    "authorization.k8s.io",
    "apiextensions.k8s.io",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
];

/// Group and version, plural, kind, short names, sub-resources.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const NAMESPACED: &[Row] = &[
    ("", "v1", "configmaps", "ConfigMap", &["cm"], &[]),
    ("", "v1", "events", "Event", &["ev"], &[]),
    (
        "",
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        &["pvc"],
        &["status"],
    ),
    ("", "v1", "pods", "Pod", &["po"], &["exec", "log", "status"]),
    (
        "",
        "v1",
        "replicationcontrollers",
        "ReplicationController",
        &["rc"],
        &["scale", "status"],
    ),
    ("", "v1", "secrets", "Secret", &[], &[]),
    ("", "v1", "serviceaccounts", "ServiceAccount", &["sa"], &[]),
    ("", "v1", "services", "Service", &["svc"], &["status"]),
    (
        "apps",
        "v1",
        "deployments",
        "Deployment",
        &["deploy"],
        &["scale", "status"],
    ),
    (
        "apps",
        "v1",
        "replicasets",
        "ReplicaSet",
        &["rs"],
        &["scale", "status"],
    ),
    (
        "apps",
        "v1",
        "statefulsets",
        "StatefulSet",
        &["sts"],
        &["scale", "status"],
    ),
    (
        "apps.openshift.io",
        "v1",
        "deploymentconfigs",
        "DeploymentConfig",
        &["dc"],
        &["instantiate", "scale", "status"],
    ),
    (
        "template.openshift.io",
        "v1",
        "processedtemplates",
        "Template",
        &[],
        &[],
    ),
    (
        "template.openshift.io",
        "v1",
        "templates",
        "Template",
        &[],
        &[],
    ),
    (
        "route.openshift.io",
        "v1",
        "routes",
        "Route",
        &[],
        &["status"],
    ),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", &[], &[]),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "rolebindings",
        "RoleBinding",
        &[],
        &[],
    ),
    (
        "apps.3scale.net",
        "v1alpha1",
        "apimanagers",
        "APIManager",
        &[],
        &["status"],
    ),
    (
        "apps.3scale.net",
        "v1alpha1",
        "apimanagerbackups",
        "APIManagerBackup",
        &[],
        &["status"],
    ),
    (
        "apps.3scale.net",
        "v1alpha1",
        "apimanagerrestores",
        "APIManagerRestore",
        &[],
        &["status"],
    ),
    (
        "capabilities.3scale.net",
        "v1beta1",
        "tenants",
        "Tenant",
        &[],
        &["status"],
    ),
    (
        "capabilities.3scale.net",
        "v1beta1",
        "products",
        "Product",
        &[],
        &["status"],
    ),
    (
        "capabilities.3scale.net",
        "v1beta1",
        "backends",
        "Backend",
        &[],
        &["status"],
    ),
];

const CLUSTER_WIDE: &[Row] = &[
    ("", "v1", "namespaces", "Namespace", &["ns"], &["status"]),
    ("", "v1", "nodes", "Node", &["no"], &["status"]),
    (
        "",
        "v1",
        "persistentvolumes",
        "PersistentVolume",
        &["pv"],
        &["status"],
    ),
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        &[],
        &[],
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        &["crd", "crds"],
        &["status"],
    ),
    (
        "storage.k8s.io",
        "v1",
        "storageclasses",
        "StorageClass",
        &["sc"],
        &[],
    ),
];

const COUNTED: &[&str] = &[
    "replicationcontrollers",
    "deployments",
    "replicasets",
    "statefulsets",
    "deploymentconfigs",
    "apimanagers",
    "apimanagerbackups",
    "apimanagerrestores",
    "tenants",
    "products",
    "backends",
];

const VIRTUAL: &[&str] = &["selfsubjectaccessreviews", "processedtemplates"];

/// Every resource that is served now.
pub(crate) fn all(store: &Store) -> Vec<Resource> {
    let rows = |rows: &'static [Row], namespaced: bool| {
        rows.iter().map(move |row| from_row(row, namespaced))
    };
    let mut resources: Vec<Resource> = rows(NAMESPACED, true)
        .chain(rows(CLUSTER_WIDE, false))
        .collect();
    for definition in store
        .list("apiextensions.k8s.io/customresourcedefinitions", None)
        .1
    {
        resources.extend(from_definition(&definition));
    }
    resources
}

/// The resource of a group, version and plural.
pub(crate) fn find(store: &Store, group: &str, version: &str, plural: &str) -> Option<Resource> {
    let row = |rows: &'static [Row], namespaced: bool| {
        rows.iter()
            .find(|row| row.0 == group && row.1 == version && row.2 == plural)
            .map(|row| from_row(row, namespaced))
    };
    row(NAMESPACED, true)
        .or_else(|| row(CLUSTER_WIDE, false))
        .or_else(|| {
            all(store).into_iter().find(|resource| {
                resource.group == group && resource.version == version && resource.plural == plural
            })
        })
}

fn from_row(row: &Row, namespaced: bool) -> Resource {
    let (group, version, plural, kind, short, subresources) = row;
    Resource {
        group: (*group).to_owned(),
        version: (*version).to_owned(),
        plural: (*plural).to_owned(),
        singular: kind.to_lowercase(),
        kind: (*kind).to_owned(),
        namespaced,
        short: short.iter().map(ToString::to_string).collect(),
        subresources: subresources.iter().map(ToString::to_string).collect(),
        counts_generations: COUNTED.contains(plural),
        virtual_only: VIRTUAL.contains(plural),
    }
}

/// The served versions of one CustomResourceDefinition. Schemas are not looked at: custom objects
/// are opaque here.
fn from_definition(definition: &Value) -> Vec<Resource> {
    document::items(definition, "/spec/versions")
        .iter()
        .filter(|version| document::flag(version, "/served"))
        .map(|version| Resource {
            group: document::text(definition, "/spec/group").to_owned(),
            version: document::text(version, "/name").to_owned(),
            plural: document::text(definition, "/spec/names/plural").to_owned(),
            singular: document::text(definition, "/spec/names/singular").to_owned(),
            kind: document::text(definition, "/spec/names/kind").to_owned(),
            namespaced: document::text(definition, "/spec/scope") == "Namespaced",
            short: document::texts(definition, "/spec/names/shortNames"),
            subresources: document::entries(version, "/subresources")
                .map(|(name, _)| name.to_owned())
                .collect(),
            counts_generations: true,
            virtual_only: false,
        })
        .collect()
}
