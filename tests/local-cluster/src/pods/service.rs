//! What the helper does once its namespaces stand: takes orders, and watches what it started.
//!
//! One loop over descriptors and no other waiting, so that no pod can hold up another.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{pipe2, read};

use super::command::Streams;
use super::container::{self, Belongings, Visit};
use super::helper::House;
use super::wire::{
    ContainerPlan, Ending, Event, Order, PodNetwork, Request, SizedFolder, receive, send,
};
use super::{kernel, root};

/// The longest sentence that a failing start may report; a pipe takes as much at once.
const SENTENCE_LIMIT: usize = 4096;

#[derive(Debug)]
struct PodState {
    network: OwnedFd,
    covered: Vec<PathBuf>,
    containers: BTreeSet<u64>,
    stopping: Option<Stopping>,
}

#[derive(Debug)]
struct Stopping {
    deadline: Option<Instant>,
    tickets: Vec<u64>,
}

#[derive(Debug)]
struct Process {
    descriptor: OwnedFd,
    /// Where the sentence comes from if the program cannot be started.
    failure: OwnedFd,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Container {
        pod: u64,
        plan: Box<ContainerPlan>,
        start_ticket: Option<u64>,
    },
    Visitor,
}

/// The helper's loop and what it knows of.
#[derive(Debug)]
pub(crate) struct Service {
    socket: OwnedFd,
    house: House,
    pods: BTreeMap<u64, PodState>,
    processes: BTreeMap<u64, Process>,
}

impl Service {
    pub(crate) fn new(socket: OwnedFd, house: House) -> Self {
        Self {
            socket,
            house,
            pods: BTreeMap::new(),
            processes: BTreeMap::new(),
        }
    }

    /// Serves until the other end of the socket closes.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        loop {
            let (asked, started, ended) = self.wait()?;
            for process in started {
                self.note_start(process)?;
            }
            for process in ended {
                self.note_end(process)?;
            }
            self.enforce_deadlines();
            if asked {
                match receive::<Request>(self.socket.as_fd())? {
                    None => return Ok(()),
                    Some((request, descriptors)) => self.take(request, descriptors)?,
                }
            }
        }
    }

    /// Waits for a request, for containers whose program has started or failed to, and for ends.
    fn wait(&self) -> anyhow::Result<(bool, Vec<u64>, Vec<u64>)> {
        let mut watched = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let mut meanings = Vec::new();
        for (number, process) in &self.processes {
            watched.push(PollFd::new(process.descriptor.as_fd(), PollFlags::POLLIN));
            meanings.push((*number, true));
            if let Role::Container {
                start_ticket: Some(_),
                ..
            } = process.role
            {
                watched.push(PollFd::new(process.failure.as_fd(), PollFlags::POLLIN));
                meanings.push((*number, false));
            }
        }
        match poll(&mut watched, self.patience()) {
            Err(Errno::EINTR) => return Ok((false, vec![], vec![])),
            other => other.context("failed to wait for processes")?,
        };
        let mut ready = watched.iter().map(|fd| fd.any().unwrap_or_default());
        let asked = ready.next().unwrap_or_default();
        let (mut started, mut ended) = (Vec::new(), Vec::new());
        for (ready, (process, is_end)) in ready.zip(meanings) {
            match (ready, is_end) {
                (false, _) => {}
                (true, false) => started.push(process),
                (true, true) => ended.push(process),
            }
        }
        Ok((asked, started, ended))
    }

    fn patience(&self) -> PollTimeout {
        let deadlines = self
            .pods
            .values()
            .filter_map(|pod| pod.stopping.as_ref()?.deadline);
        match deadlines.min() {
            None => PollTimeout::NONE,
            // A millisecond more, so that the deadline has passed when the wait is over.
            Some(deadline) => {
                let left =
                    deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        }
    }

    fn take(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> anyhow::Result<()> {
        let Request { ticket, order } = request;
        let done = match order {
            Order::Prepare(_) => Err(anyhow::anyhow!("the helper is prepared already")),
            Order::CreatePod {
                pod,
                network,
                sized_folders,
            } => self.create_pod(pod, &network, sized_folders),
            // These two are answered later.
            Order::StartContainer {
                pod,
                process,
                container,
            } => match self.start_container(pod, process, ticket, container, descriptors) {
                Ok(()) => return Ok(()),
                refused => refused,
            },
            Order::StopPod {
                pod,
                grace_milliseconds,
            } => {
                return self.stop_pod(pod, Duration::from_millis(grace_milliseconds), ticket);
            }
            Order::Execute {
                container,
                process,
                command,
            } => self.execute(container, process, &command, descriptors),
            Order::Signal { process, signal } => self.signal(process, signal),
        };
        self.answer(ticket, done.err().map(|error| format!("{error:#}")))
    }

    fn answer(&self, ticket: u64, refusal: Option<String>) -> anyhow::Result<()> {
        self.tell(&Event::Answered { ticket, refusal })
    }

    fn tell(&self, event: &Event) -> anyhow::Result<()> {
        send(self.socket.as_fd(), event, &[])
    }

    fn create_pod(
        &mut self,
        pod: u64,
        network: &PodNetwork,
        sized_folders: Vec<SizedFolder>,
    ) -> anyhow::Result<()> {
        let network = self.house.network.add_pod(pod, network.address)?;
        let mut state = PodState {
            network,
            covered: vec![],
            containers: BTreeSet::new(),
            stopping: None,
        };
        for folder in sized_folders {
            let covered = root::cover(&folder.path, folder.bytes);
            if covered.is_err() {
                state.uncover();
            }
            covered?;
            state.covered.push(folder.path);
        }
        self.pods.insert(pod, state);
        Ok(())
    }

    fn start_container(
        &mut self,
        pod: u64,
        process: u64,
        ticket: u64,
        plan: Box<ContainerPlan>,
        descriptors: Vec<OwnedFd>,
    ) -> anyhow::Result<()> {
        let state = self.pods.get_mut(&pod).context("the pod is gone")?;
        if state.stopping.is_some() {
            bail!("the pod is being stopped");
        }
        let [log] = <[OwnedFd; 1]>::try_from(descriptors)
            .map_err(|_| anyhow::anyhow!("a container needs one log"))?;
        let (failure, sink) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        let belongings = Belongings {
            network: state.network.try_clone()?,
            log,
            failure: sink,
        };
        let House {
            ground, rootless, ..
        } = &self.house;
        let mut belongings = Some(belongings);
        let (_, descriptor) =
            kernel::clone_process(container::namespaces(), || match belongings.take() {
                Some(belongings) => container::live(ground, &plan, belongings, *rootless),
                None => container::NOT_STARTED,
            })
            .context("failed to start process 1 of the container")?;
        state.containers.insert(process);
        let role = Role::Container {
            pod,
            plan,
            start_ticket: Some(ticket),
        };
        self.processes.insert(
            process,
            Process {
                descriptor,
                failure,
                role,
            },
        );
        Ok(())
    }

    fn execute(
        &mut self,
        container: u64,
        number: u64,
        command: &[String],
        descriptors: Vec<OwnedFd>,
    ) -> anyhow::Result<()> {
        let host = self
            .processes
            .get(&container)
            .context("the container is not running")?;
        let Role::Container { plan, .. } = &host.role else {
            bail!("commands run in containers only");
        };
        let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(descriptors)
            .map_err(|_| anyhow::anyhow!("a command needs three streams"))?;
        let mut streams = Some(Streams {
            stdin,
            stdout,
            stderr,
        });
        let (failure, sink) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        let rootless = self.house.rootless;
        // The child is born in the container's pid namespace; the helper itself never leaves its own.
        setns(&host.descriptor, CloneFlags::CLONE_NEWPID).context("the container has ended")?;
        let child = kernel::clone_process(CloneFlags::empty(), || match streams.take() {
            Some(streams) => {
                let visit = Visit {
                    container: &host.descriptor,
                    failure: &sink,
                    streams,
                };
                container::visit(plan, command, visit, rootless)
            }
            None => container::NOT_STARTED,
        });
        setns(&self.house.own_processes, CloneFlags::CLONE_NEWPID)
            .context("failed to return to the own processes")?;
        let (_, descriptor) = child.context("failed to start a process in the container")?;
        self.processes.insert(
            number,
            Process {
                descriptor,
                failure,
                role: Role::Visitor,
            },
        );
        Ok(())
    }

    fn signal(&self, process: u64, signal: i32) -> anyhow::Result<()> {
        let signal = Signal::try_from(signal).context("there is no such signal")?;
        match self.processes.get(&process) {
            // It has ended; its end has been or is being told.
            None => Ok(()),
            Some(process) => kernel::send_signal(process.descriptor.as_fd(), signal)
                .context("failed to send a signal"),
        }
    }

    fn stop_pod(&mut self, pod: u64, grace: Duration, ticket: u64) -> anyhow::Result<()> {
        let Some(state) = self.pods.get_mut(&pod) else {
            return self.answer(ticket, None);
        };
        let first = state.stopping.is_none();
        let stopping = state.stopping.get_or_insert(Stopping {
            deadline: None,
            tickets: vec![],
        });
        stopping.tickets.push(ticket);
        let deadline = Instant::now() + grace;
        stopping.deadline = Some(
            stopping
                .deadline
                .map_or(deadline, |known| known.min(deadline)),
        );
        if first {
            self.signal_containers(pod, Signal::SIGTERM);
        }
        self.enforce_deadlines();
        self.finish_if_empty(pod)
    }

    fn signal_containers(&self, pod: u64, signal: Signal) {
        let containers = self
            .pods
            .get(&pod)
            .into_iter()
            .flat_map(|pod| &pod.containers);
        for process in containers.filter_map(|number| self.processes.get(number)) {
            // One that has ended just now will be reaped in the next round.
            let _may_have_ended = kernel::send_signal(process.descriptor.as_fd(), signal);
        }
    }

    fn enforce_deadlines(&mut self) {
        let now = Instant::now();
        let due: Vec<u64> = self
            .pods
            .iter_mut()
            .filter_map(|(number, pod)| {
                let stopping = pod.stopping.as_mut()?;
                stopping
                    .deadline
                    .take_if(|deadline| *deadline <= now)
                    .map(|_| *number)
            })
            .collect();
        for pod in due {
            self.signal_containers(pod, Signal::SIGKILL);
        }
    }

    /// The failure pipe of a starting container has something to say or has closed.
    fn note_start(&mut self, number: u64) -> anyhow::Result<()> {
        let Some(Process {
            failure,
            role: Role::Container { start_ticket, .. },
            ..
        }) = self.processes.get_mut(&number)
        else {
            return Ok(());
        };
        let sentence = read_sentence(failure);
        match start_ticket.take() {
            None => Ok(()),
            Some(ticket) => self.answer(ticket, sentence),
        }
    }

    fn note_end(&mut self, number: u64) -> anyhow::Result<()> {
        let Some(Process {
            descriptor,
            failure,
            role,
        }) = self.processes.remove(&number)
        else {
            return Ok(());
        };
        let code =
            container::exit_code(waitid(Id::PIDFd(descriptor.as_fd()), WaitPidFlag::WEXITED));
        match role {
            Role::Visitor => {
                let ending = read_sentence(&failure).map_or(Ending::Code(code), Ending::NotStarted);
                self.tell(&Event::Ended {
                    process: number,
                    ending,
                })
            }
            Role::Container {
                pod, start_ticket, ..
            } => {
                if let Some(ticket) = start_ticket {
                    self.answer(ticket, read_sentence(&failure))?;
                }
                self.tell(&Event::Ended {
                    process: number,
                    ending: Ending::Code(code),
                })?;
                if let Some(state) = self.pods.get_mut(&pod) {
                    state.containers.remove(&number);
                }
                self.finish_if_empty(pod)
            }
        }
    }

    fn finish_if_empty(&mut self, pod: u64) -> anyhow::Result<()> {
        let is_over = self
            .pods
            .get(&pod)
            .is_some_and(|state| state.stopping.is_some() && state.containers.is_empty());
        if !is_over {
            return Ok(());
        }
        let Some(mut state) = self.pods.remove(&pod) else {
            return Ok(());
        };
        state.uncover();
        for ticket in state
            .stopping
            .into_iter()
            .flat_map(|stopping| stopping.tickets)
        {
            self.answer(ticket, None)?;
        }
        Ok(())
    }
}

impl PodState {
    fn uncover(&mut self) {
        for path in self.covered.drain(..) {
            // If it cannot be unmounted now it goes with the helper's mount namespace.
            let _goes_later = root::uncover(&path);
        }
    }
}

/// The sentence that a failed start has left in its pipe; `None` if it has started.
fn read_sentence(failure: &OwnedFd) -> Option<String> {
    let mut bytes = [0; SENTENCE_LIMIT];
    let length = read(failure, &mut bytes)
        .ok()
        .filter(|length| *length > 0)?;
    Some(String::from_utf8_lossy(bytes.get(..length)?).into_owned())
}
