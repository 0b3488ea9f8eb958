//! From a kubeconfig, or the service account of a pod, to a client.
//!
//! Must never read the environment for a kubeconfig: the binary's settings say which files. The
//! client repeats nothing by itself, because it cannot know what is safe; `call.rs` does.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tower::{BoxError, ServiceBuilder};

use crate::error::Error;

/// A connection that takes longer than this to come about will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A quiet connection is probed this often, so that routers do not forget it and a vanished server
/// is noticed. Not `TCP_USER_TIMEOUT`: it would end a restore whose database is busy for a while.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How to reach the cluster.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The kubeconfig files, merged as kubectl does. Empty: the service account of this pod.
    pub kubeconfig: Vec<PathBuf>,
    /// The context; `None` is the current one.
    pub context: Option<String>,
}

/// A client, and what it is connected to.
pub(crate) struct Connected {
    pub(crate) client: kube::Client,
    pub(crate) url: String,
    pub(crate) namespace: String,
}

/// Reads the configuration and builds a client. Makes no request.
pub(crate) async fn connect(connection: &Connection) -> Result<Connected, Error> {
    let config = if connection.kubeconfig.is_empty() {
        Config::incluster().map_err(|source| Error::NotInCluster { source })?
    } else {
        from_files(connection).await?
    };
    if let Some(proxy) = &config.proxy_url {
        let host = proxy.host().unwrap_or_default();
        return Err(Error::Unsupported {
            what: format!("the proxy `{host}`"),
        });
    }
    let url = display(&config.cluster_url);
    let client = client(&config).map_err(|source| Error::Setup {
        url: url.clone(),
        source: Box::new(source),
    })?;
    Ok(Connected {
        client,
        url,
        namespace: config.default_namespace,
    })
}

async fn from_files(connection: &Connection) -> Result<Config, Error> {
    let mut files = String::new();
    for file in &connection.kubeconfig {
        let gap = if files.is_empty() { "" } else { ", " };
        // Writing to a `String` cannot fail.
        let _ = write!(files, "{gap}`{}`", file.display());
    }
    let failed = |source| Error::Kubeconfig { files, source };
    let mut merged: Option<Kubeconfig> = None;
    for file in &connection.kubeconfig {
        let next = match Kubeconfig::read_from(file) {
            Ok(next) => next,
            Err(source) => return Err(failed(source)),
        };
        merged = Some(match merged {
            None => next,
            Some(earlier) => match earlier.merge(next) {
                Ok(both) => both,
                Err(source) => return Err(failed(source)),
            },
        });
    }
    let options = KubeConfigOptions {
        context: connection.context.clone(),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(merged.unwrap_or_default(), &options)
        .await
        .map_err(failed)
}

/// Our own stack instead of `ClientBuilder`, for what that does not offer: no hidden retries (they
/// would repeat an exec), no write timeout (a database may take minutes to swallow the next bytes
/// of a restore), `TCP_NODELAY` (the line with a secret must not wait for an acknowledgement).
fn client(config: &Config) -> Result<kube::Client, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// The URL without user information, which could hold a password.
fn display(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let host = url.host().unwrap_or_default();
    let path = url.path().trim_end_matches('/');
    match url.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_shows_no_password() {
        let url = Uri::from_static("https://user:secret@api.example:6443/prefix/");
        assert_eq!(display(&url), "https://api.example:6443/prefix");
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let connection = Connection {
            kubeconfig: vec![PathBuf::from("/nowhere/config")],
            context: None,
        };
        let error = connect(&connection).await.err().expect("no such file");
        assert_eq!(
            error.to_string(),
            "failed to read the kubeconfig `/nowhere/config`"
        );
    }
}
