//! Discovery: versions, groups, resource lists and the small OpenAPI documents that `kubectl
//! apply` asks for. Schemas are left empty: the server checks objects itself.

use serde_json::{Map, Value, json};

use crate::document::set;
use crate::resources::{self, Resource};
use crate::store::Store;

/// The answer to a discovery path, if it is one.
pub(crate) fn answer(store: &Store, path: &str, address: &str) -> Option<Value> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["version"] => Some(version()),
        ["api"] => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        })),
        ["api", "v1"] => resource_list(store, "", "v1"),
        ["apis"] => Some(group_list(store)),
        ["apis", group] => group_of(store, group),
        ["apis", group, version] => resource_list(store, group, version),
        ["openapi", "v3"] => Some(openapi_index(store)),
        ["openapi", "v3", "api", "v1"] => openapi(store, "", "v1"),
        ["openapi", "v3", "apis", group, version] => openapi(store, group, version),
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0+local-cluster",
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn groups(store: &Store) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for resource in resources::all(store) {
        if resource.group.is_empty() {
            continue;
        }
        match groups
            .iter_mut()
            .find(|(group, _)| *group == resource.group)
        {
            Some((_, versions)) if versions.contains(&resource.version) => {}
            Some((_, versions)) => versions.push(resource.version),
            None => groups.push((resource.group, vec![resource.version])),
        }
    }
    groups
}

fn describe(group: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": group, "versions": versions, "preferredVersion": preferred})
}

fn group_list(store: &Store) -> Value {
    let groups: Vec<Value> = groups(store)
        .iter()
        .map(|(group, versions)| describe(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group_of(store: &Store, wanted: &str) -> Option<Value> {
    let groups = groups(store);
    let (group, versions) = groups.iter().find(|(group, _)| group == wanted)?;
    let mut described = json!({"kind": "APIGroup", "apiVersion": "v1"});
    for (key, value) in describe(group, versions).as_object().into_iter().flatten() {
        set(&mut described, &format!("/{key}"), value.clone());
    }
    Some(described)
}

fn in_version(store: &Store, group: &str, version: &str) -> Vec<Resource> {
    let mut found: Vec<Resource> = resources::all(store)
        .into_iter()
        .filter(|resource| resource.group == group && resource.version == version)
        .collect();
    found.sort_by(|one, two| one.plural.cmp(&two.plural));
    found
}

fn resource_list(store: &Store, group: &str, version: &str) -> Option<Value> {
    let found = in_version(store, group, version);
    let first = found.first()?;
    let mut listed = Vec::new();
    for resource in &found {
        listed.push(list_entry(resource));
        for subresource in &resource.subresources {
            listed.push(subresource_entry(resource, subresource));
        }
    }
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first.api_version(),
        "resources": listed,
    }))
}

fn list_entry(resource: &Resource) -> Value {
    let verbs: &[&str] = if resource.virtual_only {
        &["create"]
    } else {
        &[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ]
    };
    let mut entry = json!({
        "name": resource.plural, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs,
    });
    if !resource.short.is_empty() {
        set(&mut entry, "/shortNames", json!(resource.short));
    }
    let workload = matches!(resource.group.as_str(), "" | "apps" | "apps.openshift.io")
        && (resource.has("scale") || matches!(resource.kind.as_str(), "Pod" | "Service"));
    if workload {
        set(&mut entry, "/categories", json!(["all"]));
    }
    entry
}

fn subresource_entry(resource: &Resource, subresource: &str) -> Value {
    let (kind, verbs): (&str, &[&str]) = match subresource {
        "scale" => ("Scale", &["get", "patch", "update"]),
        "exec" => ("PodExecOptions", &["create", "get"]),
        "log" => ("Pod", &["get"]),
        "instantiate" => ("DeploymentRequest", &["create"]),
        _ => (&resource.kind, &["get", "patch", "update"]),
    };
    let mut entry = json!({
        "name": format!("{}/{subresource}", resource.plural), "singularName": "",
        "namespaced": resource.namespaced, "kind": kind, "verbs": verbs,
    });
    if subresource == "scale" {
        set(&mut entry, "/group", json!("autoscaling"));
        set(&mut entry, "/version", json!("v1"));
    }
    entry
}

fn openapi_index(store: &Store) -> Value {
    let mut paths = Map::new();
    let mut add = |path: String| {
        let address = json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
        paths.insert(path, address);
    };
    add("api/v1".to_owned());
    for (group, versions) in groups(store) {
        for version in versions {
            add(format!("apis/{group}/{version}"));
        }
    }
    json!({"paths": paths})
}

/// The operations of a group and version: enough to learn which parameters a kind takes.
fn openapi(store: &Store, group: &str, version: &str) -> Option<Value> {
    let found = in_version(store, group, version);
    let root = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    found.first()?;
    let mut paths = Map::new();
    for resource in &found {
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("{root}{scope}/{}", resource.plural);
        paths.insert(
            collection.clone(),
            json!({"post": operation(resource, "post")}),
        );
        if !resource.virtual_only {
            let one = json!({
                "put": operation(resource, "put"), "patch": operation(resource, "patch"),
            });
            paths.insert(format!("{collection}/{{name}}"), one);
        }
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.33.0"},
        "paths": paths, "components": {"schemas": {}},
    }))
}

fn operation(resource: &Resource, action: &str) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    json!({
        "operationId": format!("{action}{}", resource.kind),
        "parameters": [
            parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"),
        ],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": resource.group, "version": resource.version, "kind": resource.kind,
        },
    })
}
