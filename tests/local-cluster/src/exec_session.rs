//! One `exec` connection: frames both ways, the status last, then Close 1000. The orders of faults
//! are the only reason for a stream to end in another way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::exec_frames::{self, Incoming, Protocol, STATUS, STDERR, STDOUT};
use crate::request::Target;
use crate::runtime::RunningCommand;
use crate::server::Api;

/// How long the server waits for the client's half of the closing handshake.
const CLOSING: Duration = Duration::from_secs(2);

/// What the faults ordered for one exec.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    pub(crate) end: Option<(u64, End)>,
    pub(crate) delete_after: Option<u64>,
    pub(crate) omit_status: bool,
    pub(crate) close_without_status: bool,
    pub(crate) omit_exit_code: bool,
    pub(crate) read_rate: Option<u64>,
    pub(crate) write_rate: Option<u64>,
}

/// How a stream ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Cut,
    Stall,
    Close,
}

/// A connection that was upgraded, before it is served.
pub(crate) struct Session {
    pub(crate) api: Arc<Api>,
    pub(crate) target: Target,
    pub(crate) uid: String,
    pub(crate) protocol: Protocol,
    pub(crate) command: Vec<String>,
    pub(crate) wants: (bool, bool),
    pub(crate) orders: Orders,
    pub(crate) moved: Arc<AtomicU64>,
}

type Sink = SplitSink<WebSocket, Message>;

/// Why the output came to its end.
enum Outcome {
    Ended,
    ClientGone,
    Ordered(End),
}

impl Session {
    /// Serves until both sides have ended, or as the orders say.
    pub(crate) async fn serve(self, socket: WebSocket, running: RunningCommand) {
        let (mut sink, stream) = socket.split();
        let RunningCommand {
            stdin,
            stdout,
            stderr,
            mut status,
        } = running;
        let gone = CancellationToken::new();
        let tell_gone = gone.clone().drop_guard();
        let reader = Reader {
            protocol: self.protocol,
            rate: self.orders.read_rate,
            delete_after: self.orders.delete_after,
            moved: Arc::clone(&self.moved),
            api: Arc::clone(&self.api),
            target: self.target.clone(),
            uid: self.uid.clone(),
        };
        let reader = tokio::spawn(async move {
            reader.run(stream, stdin).await;
            drop(tell_gone);
        });
        let hello = exec_frames::frame(STDOUT, b"");
        if sink.send(Message::Binary(hello)).await.is_err() {
            return;
        }
        let outcome = self.output(&mut sink, &gone, stdout, stderr).await;
        match outcome {
            Outcome::Ended => {}
            Outcome::ClientGone => {
                // As in a real cluster, the command is not told: it lives on until its pipes break.
                reader.abort();
                return;
            }
            Outcome::Ordered(End::Cut) => {
                reader.abort();
                return;
            }
            Outcome::Ordered(End::Stall) => {
                let _client_closed = reader.await;
                return;
            }
            Outcome::Ordered(End::Close) => {
                self.close(&mut sink).await;
                return;
            }
        }
        let ended = tokio::select! {
            ended = &mut status => ended,
            () = gone.cancelled() => return,
        };
        if self.orders.omit_status {
            reader.abort();
            return;
        }
        if !self.orders.close_without_status {
            let status = exec_frames::status(&self.command, &ended, !self.orders.omit_exit_code);
            let frame = exec_frames::frame(STATUS, status.to_string().as_bytes());
            if sink.send(Message::Binary(frame)).await.is_err() {
                return;
            }
        }
        self.close(&mut sink).await;
        // Reading on until the client has closed keeps the last frames from being reset away.
        let _timely = tokio::time::timeout(CLOSING, reader).await;
    }

    async fn close(&self, sink: &mut Sink) {
        let frame = CloseFrame {
            code: 1000,
            reason: "".into(),
        };
        // A client that has gone does not mind.
        let _sent = sink.send(Message::Close(Some(frame))).await;
    }

    async fn output(
        &self,
        sink: &mut Sink,
        gone: &CancellationToken,
        mut stdout: impl AsyncRead + Unpin,
        mut stderr: impl AsyncRead + Unpin,
    ) -> Outcome {
        let (mut out_open, mut err_open) = (true, true);
        let mut sent = 0_u64;
        let mut out_frame = exec_frames::buffer(STDOUT);
        let mut err_frame = exec_frames::buffer(STDERR);
        while out_open || err_open {
            let frame = tokio::select! {
                read = read_some(&mut stdout, &mut out_frame), if out_open => {
                    out_open = read > 0;
                    if !out_open {
                        continue;
                    }
                    std::mem::replace(&mut out_frame, exec_frames::buffer(STDOUT))
                }
                read = read_some(&mut stderr, &mut err_frame), if err_open => {
                    err_open = read > 0;
                    if !err_open {
                        continue;
                    }
                    std::mem::replace(&mut err_frame, exec_frames::buffer(STDERR))
                }
                () = gone.cancelled() => return Outcome::ClientGone,
            };
            let is_out = frame.first() == Some(&STDOUT);
            if !(if is_out { self.wants.0 } else { self.wants.1 }) {
                continue;
            }
            if let Some(end) = self.send_frame(sink, frame, is_out, &mut sent).await {
                return end;
            }
        }
        match self.orders.end {
            // A fault beyond the end of the output strikes at the end.
            Some((_, end)) => Outcome::Ordered(end),
            None => Outcome::Ended,
        }
    }

    async fn send_frame(
        &self,
        sink: &mut Sink,
        mut frame: BytesMut,
        is_out: bool,
        sent: &mut u64,
    ) -> Option<Outcome> {
        let data = frame.len().saturating_sub(1);
        let mut ends = None;
        if let Some((after, end)) = self.orders.end.filter(|_| is_out) {
            let room = usize::try_from(after.saturating_sub(*sent)).unwrap_or(usize::MAX);
            if data >= room {
                frame.truncate(room + 1);
                ends = Some(Outcome::Ordered(end));
            }
        }
        let data = frame.len().saturating_sub(1) as u64;
        *sent += if is_out { data } else { 0 };
        if data > 0 && sink.send(Message::Binary(frame.freeze())).await.is_err() {
            return Some(Outcome::ClientGone);
        }
        self.count(data);
        pace(data, self.orders.write_rate).await;
        ends
    }

    fn count(&self, bytes: u64) {
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let before = moved - bytes;
        if self
            .orders
            .delete_after
            .is_some_and(|after| before <= after && moved > after)
        {
            kill_pod(&self.api, &self.target, &self.uid);
        }
    }
}

/// Deletes the very pod of a session without grace.
fn kill_pod(api: &Api, target: &Target, uid: &str) {
    api.store
        .remove("pods", &target.namespace, &target.name, Some(uid));
}

async fn read_some(source: &mut (impl AsyncRead + Unpin), frame: &mut BytesMut) -> usize {
    // A broken pipe is the end of the output as well.
    source.read_buf(frame).await.unwrap_or(0)
}

async fn pace(bytes: u64, rate: Option<u64>) {
    if let Some(rate) = rate {
        let microseconds = bytes.saturating_mul(1_000_000) / rate.max(1);
        tokio::time::sleep(Duration::from_micros(microseconds)).await;
    }
}

struct Reader {
    protocol: Protocol,
    rate: Option<u64>,
    delete_after: Option<u64>,
    moved: Arc<AtomicU64>,
    api: Arc<Api>,
    target: Target,
    uid: String,
}

impl Reader {
    /// Moves input into the command until the client has gone.
    async fn run(
        self,
        mut stream: SplitStream<WebSocket>,
        mut stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    ) {
        while let Some(Ok(message)) = stream.next().await {
            let frame = match message {
                Message::Binary(frame) => frame,
                Message::Text(text) => Bytes::copy_from_slice(text.as_str().as_bytes()),
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => return,
            };
            match exec_frames::read(self.protocol, &frame) {
                Incoming::Data(data) => self.feed(&mut stdin, &data).await,
                Incoming::EndOfInput => drop(stdin.take()),
                Incoming::Ignored => {}
            }
        }
    }

    async fn feed(&self, stdin: &mut Option<Box<dyn AsyncWrite + Send + Unpin>>, data: &[u8]) {
        if let Some(open) = stdin {
            let written = match open.write_all(data).await {
                Ok(()) => open.flush().await,
                Err(error) => Err(error),
            };
            if written.is_err() {
                // The command reads no more; the rest of the input is thrown away.
                drop(stdin.take());
            }
        }
        let bytes = data.len() as u64;
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let before = moved - bytes;
        if self
            .delete_after
            .is_some_and(|after| before <= after && moved > after)
        {
            kill_pod(&self.api, &self.target, &self.uid);
        }
        pace(bytes, self.rate).await;
    }
}
