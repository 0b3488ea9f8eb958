//! The frames of `v4.channel.k8s.io` and `v5.channel.k8s.io`: one byte for the channel, then
//! data. It knows bytes and statuses, not pods.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::pods::ExecStatus;

/// Data in one frame, at most. The real server fills frames of 4 to 32 KiB.
pub(crate) const FRAME: usize = 32 * 1024;
/// What a client sends.
pub(crate) const STDIN: u8 = 0;
/// Standard output.
pub(crate) const STDOUT: u8 = 1;
/// Standard error.
pub(crate) const STDERR: u8 = 2;
/// The status, once, as the last frame.
pub(crate) const STATUS: u8 = 3;
/// Terminal sizes, which are ignored.
const RESIZE: u8 = 4;
/// In v5, closes the channel that follows.
const CLOSE: u8 = 255;

/// A sub-protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    V4,
    V5,
}

impl Protocol {
    /// Its name in the handshake.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
        }
    }

    /// The first offer that the server knows, newest first as the server prefers it.
    pub(crate) fn choose(offers: &[String], only_v4: bool) -> Option<Self> {
        let known: &[Self] = if only_v4 {
            &[Self::V4]
        } else {
            &[Self::V5, Self::V4]
        };
        known
            .iter()
            .copied()
            .find(|known| offers.iter().any(|offer| offer == known.name()))
    }
}

/// What a frame of the client says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Bytes for standard input.
    Data(Bytes),
    /// Standard input ends; the rest goes on.
    EndOfInput,
    /// Nothing that matters here.
    Ignored,
}

/// Reads a frame.
pub(crate) fn read(protocol: Protocol, frame: &Bytes) -> Incoming {
    match frame.first() {
        Some(&STDIN) => Incoming::Data(frame.slice(1..)),
        Some(&CLOSE) if protocol == Protocol::V5 && frame.get(1) == Some(&STDIN) => {
            Incoming::EndOfInput
        }
        Some(&(CLOSE | RESIZE)) | Some(_) | None => Incoming::Ignored,
    }
}

/// An empty buffer for a frame of a channel, with room for data.
pub(crate) fn buffer(channel: u8) -> BytesMut {
    let mut frame = BytesMut::with_capacity(FRAME + 1);
    frame.put_u8(channel);
    frame
}

/// A whole frame.
pub(crate) fn frame(channel: u8, data: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(data.len() + 1);
    frame.put_u8(channel);
    frame.put_slice(data);
    frame.freeze()
}

/// The status of a command that has ended, as the last frame tells it.
pub(crate) fn status(command: &[String], status: &ExecStatus, with_code: bool) -> Value {
    match status {
        ExecStatus::Code(0) => json!({"metadata": {}, "status": "Success"}),
        ExecStatus::Code(code) => {
            let mut status = json!({
                "metadata": {}, "status": "Failure",
                "message": format!(
                    "command terminated with non-zero exit code: error executing command [{}], \
                     exit code {code}",
                    command.join(" ")
                ),
                "reason": "NonZeroExitCode",
            });
            if with_code {
                let causes = json!([{"reason": "ExitCode", "message": code.to_string()}]);
                crate::document::set(&mut status, "/details/causes", causes);
            }
            status
        }
        ExecStatus::NotFound(message) | ExecStatus::Lost(message) => internal_error(message),
    }
}

fn internal_error(cause: &str) -> Value {
    let cause = format!("error executing command in container: {cause}");
    json!({
        "metadata": {}, "status": "Failure",
        "message": format!("Internal error occurred: {cause}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": cause}]},
        "code": 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_v5_has_a_half_close() {
        let close = Bytes::from_static(&[255, 0]);
        assert_eq!(read(Protocol::V5, &close), Incoming::EndOfInput);
        assert_eq!(read(Protocol::V4, &close), Incoming::Ignored);
        let data = Bytes::from_static(b"\0hello");
        assert_eq!(
            read(Protocol::V4, &data),
            Incoming::Data(Bytes::from_static(b"hello"))
        );
    }

    #[test]
    fn the_newest_common_protocol_is_chosen() {
        let both = [
            "v5.channel.k8s.io".to_owned(),
            "v4.channel.k8s.io".to_owned(),
        ];
        assert_eq!(Protocol::choose(&both, false), Some(Protocol::V5));
        assert_eq!(Protocol::choose(&both, true), Some(Protocol::V4));
        assert_eq!(
            Protocol::choose(&["v9.channel.k8s.io".to_owned()], false),
            None
        );
        assert_eq!(Protocol::choose(&both[..1], true), None);
    }
}
