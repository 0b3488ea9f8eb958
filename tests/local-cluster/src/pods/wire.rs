//! The messages between the cluster process and its pod helper, and how they travel.
//!
//! One sequenced-packet socket carries JSON and file descriptors both ways. The bytes of a
//! command's stdin, stdout and stderr never travel here: they have pipes of their own.

use std::io::{IoSlice, IoSliceMut};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};

/// The most bytes of one message. A kernel's default socket buffer holds no larger packet, and a
/// command line is far smaller: it came through a URL.
const MESSAGE_LIMIT: usize = 160 * 1024;

/// A request to the helper; it is answered by an `Event::Answered` with the same ticket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) ticket: u64,
    pub(crate) order: Order,
}

/// What the helper is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The first request: make the helper's own namespaces.
    Prepare(Ground),
    /// Make the network and the sized volumes of a pod.
    CreatePod {
        pod: u64,
        network: PodNetwork,
        sized_folders: Vec<SizedFolder>,
    },
    /// Start a container; comes with one descriptor, its log. Answered when the program runs.
    StartContainer {
        pod: u64,
        process: u64,
        container: Box<ContainerPlan>,
    },
    /// Run a command in a container; comes with stdin, stdout, stderr. Answered at once.
    Execute {
        container: u64,
        process: u64,
        command: Vec<String>,
    },
    /// Send a signal to the main process of a container or to an executed command.
    Signal { process: u64, signal: i32 },
    /// End a pod's containers, after `grace_milliseconds` by force. Answered when all is gone.
    StopPod { pod: u64, grace_milliseconds: u64 },
}

/// What all pods of one runtime stand on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ground {
    /// The unpacked server packages.
    pub(crate) layer: PathBuf,
    /// An empty folder of the host over which each container's root is built.
    pub(crate) stage: PathBuf,
}

/// A pod's place in the private network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PodNetwork {
    pub(crate) address: Ipv4Addr,
}

/// A folder of the host that is to be covered by a tmpfs of a limited size.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SizedFolder {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// All the helper must know to start a container and to run commands in it later.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerPlan {
    pub(crate) host_name: String,
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_folder: String,
    pub(crate) user: u32,
    pub(crate) mounts: Vec<PlannedMount>,
    /// The folder of the host whose file `hosts` the pod sees as `/etc/hosts`.
    pub(crate) names: PathBuf,
}

/// A folder or file of the host and where the container sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlannedMount {
    pub(crate) source: PathBuf,
    pub(crate) sub_path: Option<String>,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

/// What the helper reports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A request is done, or the reason why not.
    Answered {
        ticket: u64,
        refusal: Option<String>,
    },
    /// A process of a request has ended.
    Ended { process: u64, ending: Ending },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// It ran; 128+n if signal n ended it.
    Code(i32),
    /// It never ran, in the words of a container runtime.
    NotStarted(String),
    /// The helper ended first, so nobody knows.
    Lost,
}

/// Sends one message with its descriptors; the receiver gets copies of them.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> anyhow::Result<()> {
    let text = serde_json::to_vec(message)
        .context("failed to encode a message to or from the pod helper")?;
    ensure!(
        text.len() <= MESSAGE_LIMIT,
        "a command, environment or mount list of {} bytes is more than the {MESSAGE_LIMIT} that can be sent",
        text.len()
    );
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() {
        rights.get(..0)
    } else {
        rights.get(..)
    };
    loop {
        match sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(&text)],
            control.unwrap_or_default(),
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(Errno::EINTR) => {}
            Err(error) => {
                return Err(error)
                    .context("failed to reach the other end of the pod helper's socket");
            }
            Ok(_) => return Ok(()),
        }
    }
}

/// Waits for one message; `None` when the other side has closed the socket.
pub(crate) fn receive<M: for<'de> Deserialize<'de>>(
    socket: BorrowedFd<'_>,
) -> anyhow::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut text = vec![0; MESSAGE_LIMIT];
    let mut control = nix::cmsg_space!([RawFd; 3]);
    let (length, descriptors) = loop {
        let mut parts = [IoSliceMut::new(&mut text)];
        match recvmsg::<()>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            Err(error) => return Err(error).context("failed to read from the pod helper's socket"),
            Ok(packet) => {
                let mut descriptors = Vec::new();
                for part in packet
                    .cmsgs()
                    .context("a message came with too many descriptors")?
                {
                    if let ControlMessageOwned::ScmRights(numbers) = part {
                        descriptors.extend(numbers.into_iter().map(own));
                    }
                }
                break (packet.bytes, descriptors);
            }
        }
    };
    if length == 0 {
        return Ok(None);
    }
    let message = text
        .get(..length)
        .context("a message is longer than its buffer")?;
    let message = serde_json::from_slice(message)
        .context("failed to decode a message to or from the pod helper")?;
    Ok(Some((message, descriptors)))
}

/// A borrowed view of descriptors, for `send`.
pub(crate) fn borrow<const N: usize>(descriptors: &[OwnedFd; N]) -> [BorrowedFd<'_>; N] {
    descriptors.each_ref().map(AsFd::as_fd)
}

#[expect(
    unsafe_code,
    reason = "the kernel hands descriptors over as plain numbers"
)]
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: `recvmsg` has just put this number into our table, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap()
    }

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (left, right) = pair();
        let (read, write) = std::io::pipe().unwrap();
        let order = Order::Execute {
            container: 1,
            process: 2,
            command: vec!["true".to_owned()],
        };
        send(
            left.as_fd(),
            &Request { ticket: 7, order },
            &[write.as_fd()],
        )
        .unwrap();
        drop(write);
        let (request, descriptors) = receive::<Request>(right.as_fd()).unwrap().unwrap();
        assert_eq!(request.ticket, 7);
        assert_eq!(descriptors.len(), 1);
        let mut file = std::fs::File::from(descriptors.into_iter().next().unwrap());
        file.write_all(b"through").unwrap();
        drop(file);
        let mut text = String::new();
        { read }.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn a_closed_socket_is_the_end_and_not_an_error() {
        let (left, right) = pair();
        drop(left);
        assert!(receive::<Event>(right.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_message_over_the_limit_is_refused_with_its_size() {
        let (left, _right) = pair();
        let order = Order::Execute {
            container: 1,
            process: 2,
            command: vec!["x".repeat(MESSAGE_LIMIT)],
        };
        let error = send(left.as_fd(), &Request { ticket: 1, order }, &[]).unwrap_err();
        assert!(error.to_string().contains("that can be sent"), "{error}");
    }
}
