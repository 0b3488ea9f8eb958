//! Templates against an API that answers from a function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use cofferdam_policy::request::{
    ObjectKind, ParameterSource, ProcessTemplate, TemplateParameter, ValuePart,
};
use serde_json::{Value, json};

use super::{Filled, Processed, part};
use crate::error::Error;
use crate::objects::{Loaded, WhenPresent};
use crate::testing::{Asked, Reply, cluster, namespace, permit, status};

/// A value that must never be seen where it does not belong.
const PASSWORD: &str = "hunter2:/@x";

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a good name")
}

fn parameter(source: ParameterSource, part: ValuePart, optional: bool) -> TemplateParameter {
    TemplateParameter {
        source,
        part,
        optional,
    }
}

fn secret(object: &str, key: &str) -> ParameterSource {
    ParameterSource::Secret {
        object: name(object),
        key: name(key),
    }
}

fn request() -> ProcessTemplate {
    let environment = || name("system-environment");
    let label = ParameterSource::Label {
        object: environment(),
        label: name("app"),
    };
    let domain = ParameterSource::ConfigMap {
        object: environment(),
        key: name("THREESCALE_SUPERDOMAIN"),
    };
    let url = || secret("system-database", "URL");
    let whole = ValuePart::Whole;
    let kind = |api_version: &str, kind: &str| ObjectKind {
        api_version: api_version.into(),
        kind: kind.into(),
    };
    ProcessTemplate {
        namespace: namespace(),
        template: name("application"),
        group: name("template"),
        name: name("amp"),
        parameters: BTreeMap::from([
            (name("APP_LABEL"), parameter(label, whole, false)),
            (name("WILDCARD_DOMAIN"), parameter(domain, whole, false)),
            (
                name("SYSTEM_DATABASE"),
                parameter(url(), ValuePart::UrlDatabase, false),
            ),
            (
                name("ROOT_PASSWORD"),
                parameter(url(), ValuePart::UrlPassword, false),
            ),
            (
                name("NAMESPACE"),
                parameter(secret("system-redis", "NAMESPACE"), whole, true),
            ),
            (
                name("NOT_THERE"),
                parameter(secret("never-read", "KEY"), whole, false),
            ),
        ]),
        kinds: BTreeSet::from([kind("v1", "Secret"), kind("v1", "ConfigMap")]),
    }
}

fn template() -> Value {
    let parameter = |name: &str| json!({ "name": name });
    json!({
        "apiVersion": "template.openshift.io/v1", "kind": "Template", "metadata": { "name": "amp" },
        "parameters": [
            parameter("APP_LABEL"), parameter("WILDCARD_DOMAIN"), parameter("SYSTEM_DATABASE"),
            parameter("ROOT_PASSWORD"), { "name": "NAMESPACE", "value": "" },
            { "name": "AMP_RELEASE", "value": "2.6.0" },
            { "name": "TOKEN", "generate": "expression", "from": "[a-z]{8}" },
        ],
        "objects": [],
    })
}

fn made() -> Value {
    json!([
        { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "system-database" },
          "stringData": { "URL": format!("mysql2://root:{PASSWORD}@system-mysql/system") } },
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "system" }, "data": { "a": "b" } },
    ])
}

/// An API that has the sources, processes every template into `objects`, and takes what is created.
struct Api {
    sources: BTreeMap<&'static str, Value>,
    objects: Value,
    refuses: Option<&'static str>,
}

impl Api {
    fn new() -> Self {
        let url = format!("mysql2://root:{PASSWORD}@system-mysql/system?pool=5");
        let encoded = base64::Engine::encode(&super::STANDARD, url);
        Self {
            sources: BTreeMap::from([
                (
                    "secrets/system-database",
                    json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                        "metadata": { "name": "system-database" }, "data": { "URL": encoded } }),
                ),
                (
                    "secrets/system-redis",
                    json!({ "metadata": { "name": "system-redis" }, "data": {} }),
                ),
                (
                    "configmaps/system-environment",
                    json!({ "metadata": { "name": "system-environment", "labels": { "app": "3scale" } },
                        "data": { "THREESCALE_SUPERDOMAIN": "example.com" } }),
                ),
            ]),
            objects: made(),
            refuses: None,
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let place = asked
            .path
            .split_once("/namespaces/3scale/")
            .map_or("", |(_, place)| place);
        match (asked.method.as_str(), place) {
            ("GET", "") if asked.path == "/api/v1" => Reply::Json(
                200,
                json!({ "resources": [
                    { "name": "secrets", "kind": "Secret", "namespaced": true, "verbs": ["create", "get"] },
                    { "name": "configmaps", "kind": "ConfigMap", "namespaced": true, "verbs": ["create", "get"] },
                ] }),
            ),
            ("POST", "processedtemplates") => {
                let mut processed = asked.body.clone();
                processed["objects"] = self.objects.clone();
                processed["message"] = json!(format!("Login as admin/{PASSWORD}"));
                Reply::Json(201, processed)
            }
            ("POST", collection) => match self.refuses {
                Some(refused) if refused == collection => {
                    let mut refusal =
                        status(422, "Invalid", &format!("Invalid value: \"{PASSWORD}\""));
                    refusal["details"] =
                        json!({ "causes": [{ "field": "data[a]", "message": PASSWORD }] });
                    Reply::Json(422, refusal)
                }
                _ => Reply::Json(201, asked.body.clone()),
            },
            ("GET", place) => match self.sources.get(place) {
                Some(found) => Reply::Json(200, found.clone()),
                None => Reply::Json(404, status(404, "NotFound", "not found")),
            },
            (method, place) => panic!("{method} {place}"),
        }
    }
}

async fn process(api: Api, present: WhenPresent) -> (Result<Processed, Error>, Vec<Asked>) {
    let (cluster, log): (_, Arc<Mutex<Vec<Asked>>>) = cluster(move |asked| api.answer(asked));
    let result = cluster
        .process_template(&permit(request()), &template(), present)
        .await;
    let log = log.lock().expect("no panic").clone();
    (result, log)
}

/// The requests that change something.
fn writes(log: &[Asked]) -> Vec<String> {
    let writes = log
        .iter()
        .filter(|asked| asked.method != "GET" && !asked.path.ends_with("/processedtemplates"));
    writes.map(Asked::line).collect()
}

#[tokio::test]
async fn parameters_are_filled_from_secrets_config_maps_labels_and_parts_of_urls() {
    let (result, log) = process(Api::new(), WhenPresent::Keep).await;
    let processed = result.expect("processed");
    let posted = log
        .iter()
        .find(|asked| asked.path.ends_with("/processedtemplates"))
        .expect("posted");
    assert_eq!(
        posted.path,
        "/apis/template.openshift.io/v1/namespaces/3scale/processedtemplates"
    );
    let value = |name: &str| {
        let parameters = posted.body["parameters"].as_array().expect("a list");
        let found = parameters.iter().find(|one| one["name"] == name);
        found.expect("there")["value"].clone()
    };
    assert_eq!(value("APP_LABEL"), "3scale");
    assert_eq!(value("WILDCARD_DOMAIN"), "example.com");
    assert_eq!(value("SYSTEM_DATABASE"), "system");
    assert_eq!(value("ROOT_PASSWORD"), PASSWORD);
    assert_eq!(value("AMP_RELEASE"), "2.6.0");
    let states: BTreeMap<_, _> = processed.parameters.iter().cloned().collect();
    let expected = [
        ("APP_LABEL", Filled::Filled),
        ("WILDCARD_DOMAIN", Filled::Filled),
        ("SYSTEM_DATABASE", Filled::Filled),
        ("ROOT_PASSWORD", Filled::Filled),
        ("NAMESPACE", Filled::Missing),
        ("AMP_RELEASE", Filled::Unnamed),
        ("TOKEN", Filled::Generated),
        ("NOT_THERE", Filled::Unknown),
    ];
    assert_eq!(
        states,
        expected
            .map(|(name, state)| (name.to_owned(), state))
            .into()
    );
    // What the Template does not have is not read.
    assert!(!log.iter().any(|asked| asked.path.ends_with("/never-read")));
}

#[tokio::test]
async fn what_comes_of_it_is_created_and_a_secret_in_plain_text_is_compared_as_it_is_kept() {
    let (result, log) = process(Api::new(), WhenPresent::Keep).await;
    let objects = result.expect("processed").objects;
    // The live URL ends with `?pool=5`, so the Secret differs and stays.
    let differs = vec!["data.URL".to_owned()];
    let kept = Loaded::Kept { differs };
    assert_eq!(
        objects,
        [
            ("Secret/system-database".to_owned(), kept),
            ("ConfigMap/system".to_owned(), Loaded::Created),
        ]
    );
    assert_eq!(
        writes(&log),
        ["POST /api/v1/namespaces/3scale/configmaps".to_owned()]
    );
    let mut api = Api::new();
    let url = api.objects[0]["stringData"]["URL"].clone();
    let encoded = base64::Engine::encode(&super::STANDARD, url.as_str().expect("text"));
    let live = api
        .sources
        .get_mut("secrets/system-database")
        .expect("there");
    live["data"]["URL"] = json!(encoded);
    let (result, _) = process(api, WhenPresent::Fail).await;
    let objects = result.expect("processed").objects;
    assert_eq!(
        objects.first().map(|(_, loaded)| loaded),
        Some(&Loaded::Equal)
    );
}

#[tokio::test]
async fn a_missing_source_stops_it_before_anything_is_asked_of_the_cluster() {
    let mut api = Api::new();
    api.sources.remove("secrets/system-database");
    api.sources.remove("configmaps/system-environment");
    let (result, log) = process(api, WhenPresent::Keep).await;
    let error = result.expect_err("refused");
    assert_eq!(error.code(), "no-value");
    let text = error.to_string();
    for missing in [
        "`APP_LABEL` from ConfigMap/system-environment@app (it does not exist)",
        "`ROOT_PASSWORD` from Secret/system-database/URL#password (it does not exist)",
    ] {
        assert!(text.contains(missing), "{text}");
    }
    assert!(log.iter().all(|asked| asked.method == "GET"), "{log:?}");
}

#[tokio::test]
async fn an_object_of_another_kind_or_elsewhere_stops_it_before_any_is_made() {
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "mine" } });
    let elsewhere = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "x", "namespace": "kube-system" } });
    let nameless =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "../x" } });
    for (stranger, shown) in [
        (role, "`rbac.authorization.k8s.io/v1/RoleBinding`"),
        (elsewhere, "`v1/ConfigMap`"),
        (nameless, "`v1/ConfigMap`"),
    ] {
        let mut api = Api::new();
        api.objects.as_array_mut().expect("a list").push(stranger);
        let (result, log) = process(api, WhenPresent::Replace).await;
        let error = result.expect_err("refused");
        assert_eq!(error.code(), "kind-not-declared");
        assert!(error.to_string().ends_with(shown), "{error}");
        assert!(writes(&log).is_empty(), "{log:?}");
    }
}

#[tokio::test]
async fn no_value_is_ever_in_an_answer_or_an_error() {
    let mut api = Api::new();
    api.refuses = Some("configmaps");
    let (result, _) = process(api, WhenPresent::Keep).await;
    let processed = result.expect("refused objects are no error");
    let shown = format!("{processed:?}");
    assert!(
        shown.contains("Refused") && shown.contains("data[a]"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let (cluster, _) = cluster(|asked| match asked.path.as_str() {
        path if path.ends_with("/processedtemplates") => {
            let message = format!("parameter ROOT_PASSWORD is \"{PASSWORD}\"");
            Reply::Json(422, status(422, "Invalid", &message))
        }
        _ => Api::new().answer(asked),
    });
    let error = cluster
        .process_template(&permit(request()), &template(), WhenPresent::Keep)
        .await
        .expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("process Template `amp`"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_cluster_without_templates_and_another_template_are_said() {
    let (bare, _) = cluster(|asked| match asked.path.as_str() {
        path if path.ends_with("/processedtemplates") => {
            Reply::Json(404, status(404, "NotFound", "the server could not find it"))
        }
        _ => Api::new().answer(asked),
    });
    let error = bare
        .process_template(&permit(request()), &template(), WhenPresent::Keep)
        .await
        .expect_err("no such kind");
    assert_eq!(error.code(), "no-kind");
    let mut other = template();
    other["metadata"]["name"] = json!("other");
    let error = bare
        .process_template(&permit(request()), &other, WhenPresent::Keep)
        .await
        .expect_err("another Template");
    assert!(matches!(error, Error::WrongPermit { .. }), "{error}");
}

#[test]
fn the_parts_of_a_url_are_taken_as_they_stand() {
    for (url, password, database) in [
        (
            "mysql2://root:pa%24s@system-mysql/system",
            Some("pa%24s"),
            Some("system"),
        ),
        (
            "mysql2://root:a:b@c@host:3306/db?x=1",
            Some("a:b@c"),
            Some("db"),
        ),
        ("postgresql://u:p@h/db/more", Some("p"), Some("db")),
        ("redis://system-redis:6379/1", None, Some("1")),
        ("mysql2://root@host/", None, None),
        ("root:password@host/db", None, None),
        ("", None, None),
    ] {
        let of = |wanted| part(url.to_owned(), wanted).ok();
        assert_eq!(of(ValuePart::UrlPassword).as_deref(), password, "{url}");
        assert_eq!(of(ValuePart::UrlDatabase).as_deref(), database, "{url}");
        assert_eq!(of(ValuePart::Whole).as_deref(), Some(url));
    }
}
