//! The connection of a running command: frames in, frames out, until its status.
//!
//! Reading and writing never wait for each other, memory is bounded by what a slow reader leaves
//! lying (a few frames), and only a whole status ends well.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use zeroize::Zeroizing;

use crate::channel::{Protocol, Socket};
use crate::process::{Connection, End, Outgoing, PIECE, Process, Shared, Stdin, Stdout};
use crate::status::{Collector, Ended};
use crate::text;

/// Frames that wait for a slow reader: at 32 KiB each half a mebibyte, and the command waits.
const WAITING_OUT: usize = 16;
/// Pieces of input that wait for a slow command.
const WAITING_IN: usize = 16;
/// Routers forget quiet connections after 30 to 60 s.
const PING: Duration = Duration::from_secs(20);
/// So long without a frame, not even the answer to a ping, means that nobody is there.
const SILENCE: Duration = Duration::from_secs(90);
/// The server closes right after the status; a router in between may not.
const AFTER_STATUS: Duration = Duration::from_secs(5);
/// A connection that cannot be written to is given this long to bring a status that is on its way.
const AFTER_WRITE_ERROR: Duration = Duration::from_secs(30);
/// For the polite end, which proves nothing.
const GOODBYE: Duration = Duration::from_millis(500);

/// What the command gets on stdin after the lines of the prelude.
#[derive(Debug)]
pub(crate) enum Feed {
    /// Nothing.
    None,
    /// A text that is known already.
    Text(Bytes),
    /// What a [`Stdin`] writes: so many bytes, where that is known.
    Open(Option<u64>),
}

/// Starts to carry the streams of a command whose channel is open.
pub(crate) fn start(
    socket: Socket,
    protocol: Protocol,
    shared: &Arc<Shared>,
    lines: Zeroizing<Vec<u8>>,
    feed: Feed,
    limit: Option<Duration>,
) -> Process {
    let (out, receiver) = mpsc::channel(WAITING_OUT);
    let (sender, mut input) = mpsc::channel(WAITING_IN);
    let mut first = Vec::new();
    if !lines.is_empty() {
        first.push(Outgoing::Data(Bytes::from_owner(lines)));
    }
    let fed = !matches!(feed, Feed::None);
    let stdin = match feed {
        Feed::None => {
            // The prelude has its lines and the command reads nothing: some runtimes wait for this.
            if !first.is_empty() {
                first.push(Outgoing::Close);
            }
            None
        }
        Feed::Text(mut text) => {
            while !text.is_empty() {
                first.push(Outgoing::Data(text.split_to(text.len().min(PIECE))));
            }
            first.push(Outgoing::Close);
            None
        }
        Feed::Open(announced) => Some(Stdin::new(Arc::clone(shared), sender, announced)),
    };
    if stdin.is_none() {
        input.close();
    }
    let open = stdin.is_some();
    let carried = Arc::clone(shared);
    let task = tokio::spawn(async move {
        let (mut sink, stream) = socket.split();
        {
            let reading = read(stream, out, &carried, !fed);
            let writing = write(&mut sink, protocol, first, open.then_some(input));
            tokio::pin!(reading, writing);
            let end = tokio::select! {
                biased;
                end = &mut reading => end,
                end = &mut writing => end,
                end = too_long(limit) => end,
            };
            // Before the sender in `reading` is dropped: whoever sees the end of the output must
            // find out what kind of end it is.
            carried.finish(end);
        }
        let _ = timeout(GOODBYE, sink.close()).await;
    });
    let connection = Connection::new(Arc::clone(shared), task.abort_handle());
    Process::new(connection, stdin, Stdout::new(Arc::clone(shared), receiver))
}

async fn too_long(limit: Option<Duration>) -> End {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            End::TimedOut(limit.as_secs())
        }
        None => std::future::pending().await,
    }
}

/// Reads frames until the status and the end of the connection after it.
async fn read(
    mut stream: SplitStream<Socket>,
    out: mpsc::Sender<Bytes>,
    shared: &Shared,
    answers_pings: bool,
) -> End {
    let mut status = Collector::default();
    let mut ended: Option<Ended> = None;
    loop {
        let patience = if ended.is_some() {
            AFTER_STATUS
        } else {
            SILENCE
        };
        let message = match timeout(patience, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => {
                let how = format!("the connection was lost: {error}");
                return last_word(ended, &status, &how);
            }
            Ok(None) => return last_word(ended, &status, "the connection was lost"),
            Err(_) if ended.is_some() => return last_word(ended, &status, ""),
            // A server that waits for the command to take its input may answer no pings.
            Err(_) if !answers_pings => continue,
            Err(_) => {
                let how = format!(
                    "nothing came for {} s, not even the answer to a ping",
                    SILENCE.as_secs()
                );
                return End::Cut(how);
            }
        };
        let mut frame = match message {
            Message::Binary(frame) => frame,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            Message::Text(_) => return End::Cut("the server sent text instead of frames".into()),
            Message::Close(_) => {
                return last_word(ended, &status, "the server closed the connection");
            }
        };
        if frame.is_empty() {
            return End::Cut("the server sent a frame without a channel".into());
        }
        let channel = frame.split_to(1);
        match channel.first() {
            Some(1) if frame.is_empty() => {}
            Some(1) => {
                let length = frame.len() as u64;
                shared.stdout_bytes.fetch_add(length, Ordering::Relaxed);
                // Nobody reads any more: the command may still end well, for its status counts.
                let _ = out.send(frame).await;
            }
            Some(2) => shared.stderr(&frame),
            Some(3) if ended.is_some() => {}
            Some(3) => match status.push(&frame) {
                Ok(end) => ended = end,
                Err(what) => return End::Cut(what),
            },
            // The server closes a channel (v5): its status says the same.
            Some(255) => {}
            other => {
                let number = other.copied().unwrap_or_default();
                return End::Cut(format!("the server sent a frame on channel {number}"));
            }
        }
    }
}

fn last_word(ended: Option<Ended>, status: &Collector, how: &str) -> End {
    match ended {
        Some(Ended::Exited(code)) => End::Exited(code),
        Some(Ended::NotStarted(message)) => End::NotStarted(message),
        None if status.has_begun() => End::Cut("its status was cut".into()),
        None => End::Cut(text::sentence(how)),
    }
}

/// Writes input and pings. Ends only when the input is given up or the connection is.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    protocol: Protocol,
    first: Vec<Outgoing>,
    mut input: Option<mpsc::Receiver<Outgoing>>,
) -> End {
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    let mut sent = Ok(());
    for outgoing in first {
        if sent.is_ok() {
            sent = put(sink, protocol, outgoing).await;
        }
    }
    if sent.is_ok() {
        sent = sink.flush().await;
    }
    loop {
        if let Err(error) = sent {
            sleep(AFTER_WRITE_ERROR).await;
            return End::Cut(text::sentence(&format!("the connection was lost: {error}")));
        }
        tokio::select! {
            outgoing = next(&mut input) => {
                let Some(outgoing) = outgoing else {
                    return End::GivenUp;
                };
                let last = matches!(outgoing, Outgoing::Close);
                sent = put(sink, protocol, outgoing).await;
                if sent.is_ok() && (last || input.as_ref().is_none_or(mpsc::Receiver::is_empty)) {
                    sent = sink.flush().await;
                }
                if last {
                    input = None;
                }
            }
            _ = pings.tick() => sent = sink.send(Message::Ping(Bytes::new())).await,
        }
    }
}

async fn next(input: &mut Option<mpsc::Receiver<Outgoing>>) -> Option<Outgoing> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

type Sent = Result<(), tokio_tungstenite::tungstenite::Error>;

async fn put(
    sink: &mut SplitSink<Socket, Message>,
    protocol: Protocol,
    outgoing: Outgoing,
) -> Sent {
    let frame = match outgoing {
        Outgoing::Data(bytes) => {
            let mut frame = BytesMut::with_capacity(1 + bytes.len());
            frame.put_u8(0);
            frame.extend_from_slice(&bytes);
            frame.freeze()
        }
        Outgoing::Close => match protocol {
            Protocol::V5 => Bytes::from_static(&[255, 0]),
            // Closing is not possible; the command counts its bytes.
            Protocol::V4 => return Ok(()),
        },
    };
    sink.feed(Message::Binary(frame)).await
}
