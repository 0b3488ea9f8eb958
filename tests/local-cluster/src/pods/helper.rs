//! The pod helper: one small process with one thread that starts all others.
//!
//! It is process 1 of a pid namespace in which every container is nested, and the parent of every
//! container and command. When it ends the kernel ends them all, and it ends when the cluster
//! process does, however that happens: the socket between them closes. It must never start a
//! thread (a copy of it would miss the others).

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{dup2_stdin, dup2_stdout, getegid, geteuid, setsid};

use super::command::write_maps;
use super::network::Network;
use super::service::Service;
use super::wire::{Event, Ground, Order, Request, receive, send};
use super::{container, kernel, root};

/// Serves the runtime at the other end of stdin until that end closes.
pub(crate) fn serve() -> anyhow::Result<()> {
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .context("failed to take over the socket")?;
    let null = container::null()?;
    dup2_stdin(&null).context("failed to let go of stdin")?;
    dup2_stdout(&null).context("failed to let go of stdout")?;
    // A Ctrl-C on the terminal is for the cluster process; its end is ours.
    setsid().context("failed to leave the terminal")?;
    container::awaited_signals()
        .thread_block()
        .context("failed to block signals")?;
    umask(Mode::from_bits_truncate(0o022));
    let Some((request, _)) = receive::<Request>(socket.as_fd())? else {
        return Ok(());
    };
    let Order::Prepare(ground) = request.order else {
        bail!("the first request must be to prepare");
    };
    let ticket = request.ticket;
    match start_inner(&socket, ground, ticket) {
        Err(error) => {
            let refusal = Some(format!("{error:#}"));
            send(socket.as_fd(), &Event::Answered { ticket, refusal }, &[])
        }
        Ok(inner) => {
            // The cluster process must see the socket close when the inner process ends.
            drop(socket);
            waitid(Id::PIDFd(inner.as_fd()), WaitPidFlag::WEXITED)
                .context("failed to wait for the pods")?;
            Ok(())
        }
    }
}

/// Starts the process that serves, in fresh namespaces; without the right to, in a user namespace.
fn start_inner(socket: &OwnedFd, ground: Ground, ticket: u64) -> anyhow::Result<OwnedFd> {
    let wanted = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    let inner = |rootless: bool| {
        let ground = ground.clone();
        move || i32::from(serve_inside(socket, ground, ticket, rootless).is_err())
    };
    match kernel::clone_process(wanted, inner(false)) {
        Ok((_, descriptor)) => return Ok(descriptor),
        Err(Errno::EPERM) => {}
        Err(error) => return Err(error).context("failed to make namespaces"),
    }
    let hint = "pods need root or user namespaces: run as root, or allow them \
        (`sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0`, \
        `user.max_user_namespaces` above 0; in a container: `--privileged`)";
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER).context(hint)?;
    write_maps(0, user, 0, group)
        .map_err(anyhow::Error::msg)
        .context(hint)?;
    let (_, descriptor) = kernel::clone_process(wanted, inner(true)).context(hint)?;
    Ok(descriptor)
}

fn serve_inside(
    socket: &OwnedFd,
    ground: Ground,
    ticket: u64,
    rootless: bool,
) -> anyhow::Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("failed to tie the helper to its outer process")?;
    let (house, refusal) = match House::prepare(ground, rootless) {
        Ok(house) => (Some(house), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    send(socket.as_fd(), &Event::Answered { ticket, refusal }, &[])?;
    match house {
        None => Ok(()),
        Some(house) => {
            let socket = socket.try_clone()?;
            Service::new(socket, house).run()
        }
    }
}

/// What is made once and serves all pods.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) ground: Ground,
    pub(crate) network: Network,
    pub(crate) rootless: bool,
    /// The helper's own pid namespace, to return to.
    pub(crate) own_processes: OwnedFd,
}

impl House {
    fn prepare(ground: Ground, rootless: bool) -> anyhow::Result<Self> {
        root::make_private()?;
        let network = Network::create()?;
        let own_processes = fs_err::File::open("/proc/self/ns/pid")?
            .into_parts()
            .0
            .into();
        Ok(Self {
            ground,
            network,
            rootless,
            own_processes,
        })
    }
}
