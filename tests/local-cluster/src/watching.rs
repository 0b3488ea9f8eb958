//! Watches: initial events, changes from the history, bookmarks, and the end when the history is
//! gone. A watch never misses a change: what it cannot tell ends it with 410.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::SinkExt;
use futures::channel::mpsc;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::document;
use crate::faults::{Board, Circumstance, Fault};
use crate::request::{Query, Target};
use crate::selectors::Selector;
use crate::status::{ApiError, ApiResult};
use crate::store::{Change, Event, Store};

/// Between two bookmarks. The real server takes about a minute; a test should not wait for it.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(2);
/// How long a watch lives if the client does not say.
const LIFETIME: Duration = Duration::from_secs(1800);

/// Opens a watch.
pub(crate) fn watch(
    store: Arc<Store>,
    faults: &Arc<Board>,
    target: Target,
    query: &Query,
    path: &str,
) -> ApiResult<Response> {
    let selector = name_selector(&target, query)?;
    let initial = query.flag("sendInitialEvents");
    if initial && query.text("resourceVersionMatch") != "NotOlderThan" {
        return Err(ApiError::new(
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    let circumstance = Circumstance {
        name: &target.name,
        path,
        method: "GET",
    };
    let expired = faults
        .strike(circumstance, |fault| {
            (*fault == Fault::ExpireWatch).then_some(())
        })
        .is_some();
    let cut = faults
        .strike(circumstance, |fault| {
            (*fault == Fault::CutWatch).then_some(())
        })
        .is_some();
    let lifetime = query
        .number("timeoutSeconds")
        .map_or(LIFETIME, Duration::from_secs);
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(64);
    let watcher = Watcher {
        store,
        target,
        selector,
        sender,
        start: query.text("resourceVersion").parse().unwrap_or(0),
        initial,
        bookmarks: query.flag("allowWatchBookmarks"),
        end: Instant::now() + lifetime,
        expired,
        cut,
    };
    tokio::spawn(watcher.run());
    let mut response = Response::new(Body::from_stream(receiver));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// A watch on a single object's path is a watch on the collection by name.
fn name_selector(target: &Target, query: &Query) -> ApiResult<Selector> {
    if target.name.is_empty() {
        return query.selector(&target.resource);
    }
    let fields = format!("metadata.name={}", target.name);
    Selector::parse(query.text("labelSelector"), &fields, &target.resource)
}

struct Watcher {
    store: Arc<Store>,
    target: Target,
    selector: Selector,
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
    start: u64,
    initial: bool,
    bookmarks: bool,
    end: Instant,
    expired: bool,
    cut: bool,
}

/// The client has gone, or was cut off.
struct Over;

impl Watcher {
    async fn run(mut self) {
        // Whoever ends a watch has nobody left to tell.
        let _over = self.serve().await;
    }

    async fn serve(&mut self) -> Result<(), Over> {
        if self.expired {
            return self.send_expired().await;
        }
        let collection = self.target.resource.collection();
        let mut versions = self.store.subscribe();
        let mut reached = self.start;
        if self.initial || self.start == 0 {
            let (version, objects) = self.store.list(&collection, self.target.scope());
            for object in objects {
                if self.selector.matches(&object) {
                    self.send("ADDED", &object).await?;
                }
            }
            reached = version;
            if self.initial && self.bookmarks {
                self.send_bookmark(version, true).await?;
            }
        }
        let mut next_bookmark = Instant::now() + BOOKMARK_PERIOD;
        loop {
            versions.borrow_and_update();
            let scope = self.target.scope().map(str::to_owned);
            let Ok((version, events)) = self.store.since(&collection, scope.as_deref(), reached)
            else {
                return self.send_expired().await;
            };
            reached = version;
            for event in &events {
                self.send_event(event).await?;
            }
            tokio::select! {
                changed = versions.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = sleep_until(next_bookmark), if self.bookmarks => {
                    next_bookmark = Instant::now() + BOOKMARK_PERIOD;
                    self.send_bookmark(reached, false).await?;
                }
                () = sleep_until(self.end) => return Ok(()),
            }
            if self.sender.is_closed() {
                return Ok(());
            }
        }
    }

    /// Tells a change as it looks through the selector: what no longer matches is deleted.
    async fn send_event(&mut self, event: &Event) -> Result<(), Over> {
        let was = event
            .previous
            .as_ref()
            .is_some_and(|object| self.selector.matches(object));
        let is = event.change != Change::Deleted && self.selector.matches(&event.object);
        match (was, is) {
            (false, true) => self.send("ADDED", &event.object).await,
            (true, true) => self.send("MODIFIED", &event.object).await,
            (true, false) => self.send("DELETED", &event.object).await,
            (false, false) => Ok(()),
        }
    }

    async fn send_bookmark(&mut self, version: u64, ends_initial: bool) -> Result<(), Over> {
        let mut object = json!({
            "kind": self.target.resource.kind,
            "apiVersion": self.target.resource.api_version(),
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        });
        if ends_initial {
            let annotations = json!({"k8s.io/initial-events-end": "true"});
            document::set(&mut object, "/metadata/annotations", annotations);
        }
        self.send("BOOKMARK", &object).await
    }

    async fn send_expired(&mut self) -> Result<(), Over> {
        let message = format!(
            "too old resource version: {} ({})",
            self.start,
            self.store.version()
        );
        self.send("ERROR", &ApiError::gone(message).object()).await
    }

    async fn send(&mut self, kind: &str, object: &Value) -> Result<(), Over> {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        let sent = self.sender.send(Ok(Bytes::from(line))).await;
        if self.cut {
            let cut = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut by a fault");
            // An error in the body makes the server drop the connection without an end.
            let _ignored = self.sender.send(Err(cut)).await;
            return Err(Over);
        }
        sent.map_err(|_| Over)
    }
}
