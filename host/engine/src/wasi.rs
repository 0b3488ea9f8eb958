//! WASI 0.2 for modules in other languages, locked down.
//!
//! Linked only where a module imports it. No folder, no socket, no name look-up, no environment, no
//! arguments, empty stdin; what it prints goes into the log. Clocks and random numbers are real.
//! Must never open anything of the machine.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::host::Level;
use crate::limits;
use crate::log::LogGate;

/// The packages of WASI 0.2 that are linked.
pub(crate) const PACKAGES: &[&str] = &[
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// A context that reaches nothing.
pub(crate) fn locked_down(log: &Arc<Mutex<LogGate>>) -> WasiCtx {
    let to = |level| ToLog {
        log: Arc::clone(log),
        level,
    };
    WasiCtxBuilder::new()
        .stdout(to(Level::Info))
        .stderr(to(Level::Warn))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(u64::from(limits::READ_BYTES))
        .build()
}

/// Standard output or error of a guest.
#[derive(Clone)]
struct ToLog {
    log: Arc<Mutex<LogGate>>,
    level: Level,
}

impl IsTerminal for ToLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for ToLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines {
            to: self.clone(),
            begun: Vec::new(),
        })
    }
}

/// Cuts what is written into lines.
struct Lines {
    to: ToLog,
    begun: Vec<u8>,
}

impl Lines {
    fn say(&mut self) {
        let line = String::from_utf8_lossy(&self.begun).into_owned();
        self.begun.clear();
        self.to
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .line(self.to.level, &line);
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        for byte in bytes {
            if *byte == b'\n' || self.begun.len() >= limits::LOG_LINE_BYTES {
                self.say();
            }
            if *byte != b'\n' {
                self.begun.push(*byte);
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            self.say();
        }
    }
}
