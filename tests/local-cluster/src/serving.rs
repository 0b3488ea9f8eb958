//! A running server inside this process: store, controllers, kubelet and door put together. It
//! writes nothing outside the folder it is given.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::controllers::{self, Ground};
use crate::document;
use crate::faults::Board;
use crate::kubelet::Kubelet;
use crate::request::Target;
use crate::runtime::ContainerRuntime;
use crate::seen::Seen;
use crate::server::{self, Api};
use crate::store::Store;
use crate::{kubeconfig, objects, resources, tls, volume_templates};

/// How clients reach a server.
#[derive(Debug, Clone)]
pub struct Access {
    /// Such as `https://127.0.0.1:41234`.
    pub url: String,
    /// The certificate of the authority, in PEM.
    pub authority: String,
    /// The bearer token.
    pub token: String,
    address: SocketAddr,
}

impl Access {
    /// A client for single requests.
    ///
    /// # Errors
    /// If the authority's certificate cannot be read.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::new(self.address, &self.authority, &self.token)
    }

    /// A kubeconfig (JSON, which is YAML) whose context is in a namespace.
    #[must_use]
    pub fn kubeconfig(&self, namespace: &str) -> Value {
        kubeconfig::document(&self.url, &self.authority, &self.token, namespace)
    }
}

/// Where a server keeps things.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The folder below which volumes are made.
    pub state: PathBuf,
    /// The port on 127.0.0.1; 0 takes any that is free.
    pub port: u16,
    /// Folders of initialised volumes, each with the name of the claim that it is for.
    pub templates: Option<PathBuf>,
}

/// A server that runs until it is stopped.
#[derive(Debug)]
pub struct Server {
    access: Access,
    store: Arc<Store>,
    volumes: PathBuf,
    runtime: Arc<dyn ContainerRuntime>,
    cancelled: CancellationToken,
    work: JoinSet<()>,
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// If the port is taken or the folder cannot be made.
    pub async fn start(runtime: Arc<dyn ContainerRuntime>, place: Place) -> anyhow::Result<Self> {
        let volumes = place.state.join("volumes");
        let port = place.port;
        fs_err::create_dir_all(&volumes).context("failed to make the folder for volumes")?;
        let identity = tls::identity()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("failed to listen on port `{port}`"))?;
        let address = listener.local_addr().context("failed to learn the port")?;
        let store = Arc::new(Store::new());
        let faults = Arc::new(Board::default());
        furnish(&store);
        let kubelet = Arc::new(Kubelet::new(
            Arc::clone(&store),
            Arc::clone(&faults),
            Arc::clone(&runtime),
            volumes.clone(),
        ));
        let access = Access {
            url: format!("https://{address}"),
            authority: identity.authority,
            token: document::new_uid(),
            address,
        };
        let ground = Ground {
            store: Arc::clone(&store),
            faults: Arc::clone(&faults),
            runtime: Arc::clone(&runtime),
            volumes: volumes.clone(),
            templates: place.templates,
            authority: access.authority.clone(),
        };
        let api = Arc::new(Api {
            store: Arc::clone(&store),
            faults,
            kubelet: Arc::clone(&kubelet),
            seen: Seen::default(),
            token: access.token.clone(),
            address,
        });
        let cancelled = CancellationToken::new();
        let mut work = JoinSet::new();
        work.spawn(controllers::run(ground, cancelled.clone()));
        work.spawn(kubelet.run(cancelled.clone()));
        let served = server::serve(api, listener, identity.acceptor, cancelled.clone());
        work.spawn(async move {
            if let Err(error) = served.await {
                tracing::error!("the server ended: {error:#}");
            }
        });
        Ok(Self {
            access,
            store,
            volumes,
            runtime,
            cancelled,
            work,
        })
    }

    /// How to reach it.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Ends the server and every pod, and keeps the volumes as templates if a folder is given for
    /// them.
    ///
    /// # Errors
    /// If a volume cannot be copied.
    pub async fn stop(mut self, templates: Option<&Path>) -> anyhow::Result<()> {
        if templates.is_some() {
            self.end_pods().await;
        }
        self.cancelled.cancel();
        while self.work.join_next().await.is_some() {}
        self.runtime.shutdown().await;
        match templates {
            Some(templates) => volume_templates::keep(&self.store, &self.volumes, templates),
            None => Ok(()),
        }
    }

    /// Ends every workload and waits until its pods have ended in good order, as far as their
    /// grace allows.
    async fn end_pods(&self) {
        for collection in [
            "apps/deployments",
            "apps/statefulsets",
            "apps.openshift.io/deploymentconfigs",
        ] {
            for object in self.store.list(collection, None).1 {
                let (namespace, name) = (document::namespace(&object), document::name(&object));
                self.store.remove(collection, namespace, name, None);
            }
        }
        let mut versions = self.store.subscribe();
        while !self.store.list("pods", None).1.is_empty() {
            if versions.changed().await.is_err() {
                return;
            }
        }
    }
}

/// What every cluster has from the start.
fn furnish(store: &Store) {
    for name in ["default", "kube-system"] {
        let namespace = json!({"metadata": {"name": name}});
        create(store, "namespaces", namespace);
    }
    let ready =
        json!({"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]});
    let node = json!({"metadata": {"name": "local-cluster"}, "status": ready});
    create(store, "nodes", node);
}

fn create(store: &Store, plural: &str, object: Value) {
    let Some(resource) = resources::find(store, "", "v1", plural) else {
        return;
    };
    let target = Target {
        resource,
        namespace: String::new(),
        name: String::new(),
        subresource: String::new(),
    };
    if let Err(error) = objects::create_object(store, &target, object, false, None) {
        tracing::error!("failed to make one of `{plural}`: {}", error.object());
    }
}
