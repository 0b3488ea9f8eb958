//! The cluster as a whole: connecting, its version, what these credentials may do.
//!
//! What is asked here without a permit says nothing about the application.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use cofferdam_policy::request::ObjectKind;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::{Call, Caller, Patience, Repeat};
use crate::connect::{Connected, Connection, connect};
use crate::error::Error;
use crate::text;

/// A Kubernetes cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) caller: Caller,
    namespace: Arc<str>,
    /// Whether a command showed that the server knows only the older sub-protocol.
    pub(crate) only_v4: Arc<AtomicBool>,
    /// Where the objects of a kind live: the path between namespace and name.
    pub(crate) places: Arc<Mutex<HashMap<ObjectKind, String>>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.caller.url)
    }
}

/// May these credentials do this?
///
/// A command in a pod needs both `get` and `create` on `pods/exec`: the WebSocket is a GET, and
/// newer servers ask for `create` too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessQuestion {
    /// The namespace; `None` for what has none.
    pub namespace: Option<String>,
    /// Such as `get`, `patch`.
    pub verb: String,
    /// The API group, empty for `v1`.
    pub group: String,
    /// The plural, such as `deployments`.
    pub resource: String,
    /// Such as `exec` or `scale`.
    pub subresource: Option<String>,
    /// One object; `None` for all.
    pub name: Option<String>,
}

impl fmt::Display for AccessQuestion {
    /// As in a Role: `patch deployments.apps/scale`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        self.subresource
            .iter()
            .try_for_each(|subresource| write!(f, "/{subresource}"))
    }
}

impl Cluster {
    /// Reads the kubeconfig, or the service account of this pod. Makes no request yet.
    ///
    /// # Errors
    /// When the configuration cannot be read or used.
    pub async fn connect(connection: &Connection) -> Result<Self, Error> {
        let Connected {
            client,
            url,
            namespace,
        } = connect(connection).await?;
        Ok(Self::over(client, url, &namespace, Patience::default()))
    }

    pub(crate) fn over(
        client: kube::Client,
        url: String,
        namespace: &str,
        patience: Patience,
    ) -> Self {
        Self {
            caller: Caller {
                client,
                url,
                patience,
            },
            namespace: namespace.into(),
            only_v4: Arc::new(AtomicBool::new(false)),
            places: Arc::default(),
        }
    }

    /// The URL of the API server, without credentials.
    pub fn url(&self) -> &str {
        &self.caller.url
    }

    /// The namespace of the context, `default` where it names none.
    pub fn default_namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether a command has shown that the server cannot close stdin alone.
    pub fn speaks_only_v4(&self) -> bool {
        self.only_v4.load(Ordering::Relaxed)
    }

    /// The version of the API server, such as `v1.33.1`.
    ///
    /// # Errors
    /// When the server does not answer or does not accept the credentials.
    pub async fn version(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let call = Call::get(
            "/version".into(),
            "ask for the version of the cluster".into(),
        );
        let version: Version = self.caller.answer(call).await?;
        Ok(text::sentence(&version.git_version))
    }

    /// Asks the cluster whether these credentials may do something (`SelfSubjectAccessReview`).
    ///
    /// # Errors
    /// When the question cannot be asked.
    pub async fn can_i(&self, question: &AccessQuestion) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Review {
            status: ReviewStatus,
        }
        #[derive(Deserialize)]
        struct ReviewStatus {
            #[serde(default)]
            allowed: bool,
        }
        let mut attributes = json!({
            "verb": question.verb, "group": question.group, "resource": question.resource,
        });
        let further = [
            ("namespace", &question.namespace),
            ("subresource", &question.subresource),
            ("name", &question.name),
        ];
        for (key, value) in further {
            if let (Some(value), Value::Object(attributes)) = (value, &mut attributes) {
                attributes.insert(key.to_owned(), Value::String(value.clone()));
            }
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": attributes },
        });
        let call = Call::post(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".into(),
            format!("ask for the right to `{question}`"),
            &review,
            Repeat::Safe,
        );
        let review: Review = self.caller.answer(call).await?;
        Ok(review.status.allowed)
    }
}
