//! The last word of a command: the frames of channel 3, and what they say of its end.
//!
//! Must never take anything but a whole status for an end.

use kube::core::Status;
use kube::core::response::StatusSummary;

use crate::text;

/// A status quotes the whole command line in its message, hence not smaller.
const LARGEST: usize = 1 << 20;

/// How the server says a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It ran; 128 + n for signal n.
    Exited(i32),
    /// It did not run, for instance because the program does not exist. The server's sentence.
    NotStarted(String),
}

/// Collects the frames of a status until they make one.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    bytes: Vec<u8>,
}

impl Collector {
    /// Takes a frame; gives the end when the status is whole.
    ///
    /// # Errors
    /// What is wrong, for a status that is too long or says nothing that can be understood.
    pub(crate) fn push(&mut self, frame: &[u8]) -> Result<Option<Ended>, String> {
        self.bytes.extend_from_slice(frame);
        if self.bytes.len() > LARGEST {
            return Err(format!("its status is longer than {LARGEST} bytes"));
        }
        if self.bytes.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice::<Status>(&self.bytes) {
            Ok(status) => read(&status).map(Some),
            Err(error) if error.is_eof() => Ok(None),
            Err(error) => Err(text::sentence(&format!("its status is no JSON: {error}"))),
        }
    }

    /// Whether a status had begun.
    pub(crate) fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }
}

fn read(status: &Status) -> Result<Ended, String> {
    match &status.status {
        Some(StatusSummary::Success) => return Ok(Ended::Exited(0)),
        Some(StatusSummary::Failure) => {}
        None => return Err("its status says neither `Success` nor `Failure`".into()),
    }
    let code = status.details.iter().flat_map(|details| &details.causes);
    let code = code
        .filter(|cause| cause.reason == "ExitCode")
        .find_map(|cause| cause.message.parse::<i32>().ok());
    match code {
        // A failure with the exit code of success contradicts itself.
        Some(0) => Err("its status is `Failure` with exit code 0".into()),
        Some(code) => Ok(Ended::Exited(code)),
        None if status.reason == "NonZeroExitCode" => Err("its status names no exit code".into()),
        None => Ok(Ended::NotStarted(text::sentence(&status.message))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(frames: &[&str], expected: Result<Option<Ended>, &str>) {
        let mut collector = Collector::default();
        let mut last = Ok(None);
        for frame in frames {
            last = collector.push(frame.as_bytes());
        }
        assert_eq!(last, expected.map_err(str::to_owned), "{frames:?}");
    }

    #[test]
    fn the_status_of_a_real_server_is_understood() {
        check(
            &[r#"{"metadata":{},"status":"Success"}"#],
            Ok(Some(Ended::Exited(0))),
        );
        check(
            &[
                r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: error executing command [sh -c kill -9 $$], exit code 137","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"137"}]}}"#,
            ],
            Ok(Some(Ended::Exited(137))),
        );
        check(
            &[
                r#"{"metadata":{},"status":"Failure","message":"Internal error occurred: no-such-program","reason":"InternalError","details":{"causes":[{"message":"no"}]},"code":500}"#,
            ],
            Ok(Some(Ended::NotStarted(
                "Internal error occurred: no-such-program".into(),
            ))),
        );
    }

    #[test]
    fn a_status_may_come_in_pieces() {
        check(&["", r#"{"status":"#], Ok(None));
        check(
            &[r#"{"status":"#, r#""Success"}"#],
            Ok(Some(Ended::Exited(0))),
        );
    }

    #[test]
    fn what_is_no_status_is_no_end() {
        check(
            &["{}"],
            Err("its status says neither `Success` nor `Failure`"),
        );
        check(
            &[r#"{"status":"Failure","reason":"NonZeroExitCode"}"#],
            Err("its status names no exit code"),
        );
        check(
            &[r#"{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"0"}]}}"#],
            Err("its status is `Failure` with exit code 0"),
        );
        let mut collector = Collector::default();
        assert!(collector.push(b"garbage").is_err());
        let long = format!("{{\"message\":\"{}", "x".repeat(LARGEST));
        assert!(Collector::default().push(long.as_bytes()).is_err());
    }
}
