//! What a request asks for, parsed once from method, path and query. Nothing here looks at bodies.

use axum::http::Method;

use crate::resources::{self, Resource};
use crate::selectors::Selector;
use crate::status::{ApiError, ApiResult};
use crate::store::Store;

/// A path below `/api` or `/apis`, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    /// Empty for cluster-wide objects and for lists over all namespaces.
    pub(crate) namespace: String,
    /// Empty for the collection.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

impl Target {
    /// Takes a path apart; `None` if it belongs to no resource that is served.
    pub(crate) fn parse(store: &Store, path: &str) -> Option<Self> {
        let decoded = decode_segments(path);
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, plural, name, subresource) = match *rest {
            ["namespaces", name, "status" | "finalize"] if group.is_empty() => {
                ("", "namespaces", name, rest.last().copied().unwrap_or(""))
            }
            ["namespaces", namespace, plural] => (namespace, plural, "", ""),
            ["namespaces", namespace, plural, name] => (namespace, plural, name, ""),
            ["namespaces", namespace, plural, name, sub] => (namespace, plural, name, sub),
            [plural] => ("", plural, "", ""),
            [plural, name] => ("", plural, name, ""),
            [plural, name, sub] => ("", plural, name, sub),
            _ => return None,
        };
        let resource = resources::find(store, group, version, plural)?;
        if !subresource.is_empty() && !resource.has(subresource) {
            return None;
        }
        if resource.namespaced && namespace.is_empty() && !name.is_empty() {
            return None;
        }
        if !resource.namespaced && !namespace.is_empty() {
            return None;
        }
        Some(Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }

    /// The namespace to look in, or none for all.
    pub(crate) fn scope(&self) -> Option<&str> {
        if self.namespace.is_empty() {
            None
        } else {
            Some(&self.namespace)
        }
    }

    /// The verb as authorization names it.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> &'static str {
        let collection = self.name.is_empty();
        match method.as_str() {
            "GET" if query.watch() => "watch",
            "GET" if self.subresource == "exec" => "create",
            "GET" if collection => "list",
            "GET" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if collection => "deletecollection",
            "DELETE" => "delete",
            _ => "unknown",
        }
    }
}

fn decode_segments(path: &str) -> Vec<String> {
    path.trim_matches('/')
        .split('/')
        .map(|segment| {
            let pair = format!("x={}", segment.replace('+', "%2B"));
            form_urlencoded::parse(pair.as_bytes())
                .next()
                .map_or_else(String::new, |(_, value)| value.into_owned())
        })
        .collect()
}

/// The query of a request; names may repeat.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses what follows the `?`.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or("").as_bytes());
        Self {
            pairs: pairs.into_owned().collect(),
        }
    }

    /// The first value of a name, or `""`.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// All values of a name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let pairs = self.pairs.iter().filter(|(key, _)| key == name);
        pairs.map(|(_, value)| value.clone()).collect()
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1" | "True" | "TRUE" | "t" | "T")
    }

    /// A whole number, if one is given.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    /// Whether this is a watch.
    pub(crate) fn watch(&self) -> bool {
        self.flag("watch")
    }

    /// Whether nothing is to be stored.
    pub(crate) fn dry_run(&self) -> ApiResult<bool> {
        match self.all("dryRun").as_slice() {
            [] => Ok(false),
            [all] if all == "All" => Ok(true),
            other => Err(ApiError::new(
                axum::http::StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                format!(
                    "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \
                     \"{}\": supported values: \"All\"",
                    other.join(",")
                ),
            )),
        }
    }

    /// The selectors.
    pub(crate) fn selector(&self, resource: &Resource) -> ApiResult<Selector> {
        Selector::parse(
            self.text("labelSelector"),
            self.text("fieldSelector"),
            resource,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<(&str, &str, &str, &str)>) {
        let store = Store::new();
        let target = Target::parse(&store, path);
        let found = target.as_ref().map(|target| {
            (
                target.resource.plural.as_str(),
                target.namespace.as_str(),
                target.name.as_str(),
                target.subresource.as_str(),
            )
        });
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn paths_are_taken_apart_as_the_api_defines_them() {
        check(
            "/api/v1/namespaces/a/pods/b/exec",
            Some(("pods", "a", "b", "exec")),
        );
        check("/api/v1/namespaces", Some(("namespaces", "", "", "")));
        check("/api/v1/namespaces/a", Some(("namespaces", "", "a", "")));
        check("/api/v1/pods", Some(("pods", "", "", "")));
        check(
            "/apis/apps/v1/namespaces/a/deployments/b/scale",
            Some(("deployments", "a", "b", "scale")),
        );
        check("/apis/apps/v1/namespaces/a/deployments/b/exec", None);
        check("/apis/apps/v2/namespaces/a/deployments", None);
        check("/api/v1/pods/b", None);
    }

    #[test]
    fn repeated_names_keep_their_order() {
        let query = Query::parse(Some("command=sh&command=-c&command=echo%20a%2Bb+c"));
        assert_eq!(query.all("command"), ["sh", "-c", "echo a+b c"]);
    }
}
