//! `log` of a pod: the file that a container writes to, whole or its end, once or as it grows.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::SinkExt;
use futures::channel::mpsc;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::document;
use crate::exec::choose_container;
use crate::objects;
use crate::request::{Query, Target};
use crate::server::Api;
use crate::status::{ApiError, ApiResult};

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Answers a request for logs.
pub(crate) async fn logs(api: Arc<Api>, target: &Target, query: &Query) -> ApiResult<Response> {
    let pod = objects::read(&api.store, target)?;
    let container = choose_container(&pod, query.text("container"))?;
    let uid = document::uid(&pod).to_owned();
    let Some(running) = api.kubelet.running(&uid) else {
        return Err(ApiError::bad_request(format!(
            "container \"{container}\" in pod \"{}\" is waiting to start: ContainerCreating",
            target.name
        )));
    };
    let path = running.logs(&container);
    let tail = query
        .number("tailLines")
        .and_then(|lines| usize::try_from(lines).ok());
    let text = tokio::fs::read(&path).await.unwrap_or_default();
    let length = text.len();
    let mut shown = last_lines(&text, tail).to_vec();
    if let Some(limit) = query
        .number("limitBytes")
        .and_then(|limit| usize::try_from(limit).ok())
    {
        shown.truncate(limit);
    }
    let body = if query.flag("follow") {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(follow(api, uid, path, shown, length as u64, sender));
        Body::from_stream(receiver)
    } else {
        Body::from(shown)
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn last_lines(text: &[u8], lines: Option<usize>) -> &[u8] {
    let Some(lines) = lines else { return text };
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let start = match lines {
        0 => text.len(),
        _ => body
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(lines - 1)
            .map_or(0, |(position, _)| position + 1),
    };
    text.get(start..).unwrap_or_default()
}

async fn follow(
    api: Arc<Api>,
    uid: String,
    path: PathBuf,
    shown: Vec<u8>,
    mut position: u64,
    mut sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    let mut chunk = shown;
    loop {
        if !chunk.is_empty() && sender.send(Ok(Bytes::from(chunk))).await.is_err() {
            return;
        }
        let last_round = api.kubelet.running(&uid).is_none();
        chunk = read_from(&path, position).await.unwrap_or_default();
        position += chunk.len() as u64;
        if chunk.is_empty() {
            if last_round || sender.is_closed() {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn read_from(path: &Path, position: u64) -> std::io::Result<Vec<u8>> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(SeekFrom::Start(position)).await?;
    let mut chunk = Vec::new();
    file.take(64 * 1024).read_to_end(&mut chunk).await?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let text = b"one\ntwo\nthree\n";
        assert_eq!(last_lines(text, Some(2)), b"two\nthree\n");
        assert_eq!(last_lines(text, Some(0)), b"");
        assert_eq!(last_lines(text, Some(9)), text);
        assert_eq!(last_lines(text, None), text);
    }
}
