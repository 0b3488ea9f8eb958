//! Sources and sinks in memory, with the faults of real ones.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::World;
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::host::{Sink, Source, Transferred};

/// What the contract gives of both ends of a stream.
const ENDS: usize = 4096;

/// Bytes coming in, cut where a fault says so.
#[derive(Debug)]
pub(super) struct FakeSource {
    bytes: Vec<u8>,
    position: usize,
    cut_after: Option<usize>,
    is_sealed: bool,
}

impl FakeSource {
    pub(super) fn new(bytes: Vec<u8>, cut_after: Option<usize>) -> Self {
        Self {
            bytes,
            position: 0,
            cut_after,
            is_sealed: false,
        }
    }

    /// The same, as the host gives what holds Kubernetes objects: it can be proven, not read.
    pub(super) fn sealed(self) -> Self {
        Self {
            is_sealed: true,
            ..self
        }
    }

    fn check_seal(&self) -> Result<()> {
        if self.is_sealed {
            return Err(Error::invalid(
                "the contents of saved objects never reach a module",
            ));
        }
        Ok(())
    }

    fn rest(self) -> Result<Vec<u8>> {
        match self.cut_after {
            Some(cut) if cut < self.bytes.len() => Err(cut_error(cut)),
            Some(_) | None => Ok(self.bytes.get(self.position..).unwrap_or_default().to_vec()),
        }
    }
}

fn cut_error(after: usize) -> Error {
    Error::failed(
        "stream-cut",
        format!("the stream was cut after {after} bytes"),
    )
}

impl Source for FakeSource {
    fn read(&mut self, max: u32) -> Result<Vec<u8>> {
        self.check_seal()?;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let end = self.bytes.len().min(self.position.saturating_add(max));
        if let Some(cut) = self.cut_after
            && cut < end
        {
            return Err(cut_error(cut));
        }
        let chunk = self
            .bytes
            .get(self.position..end)
            .unwrap_or_default()
            .to_vec();
        self.position = end;
        Ok(chunk)
    }

    fn transfer(self: Box<Self>, to: &mut dyn Sink) -> Result<Transferred> {
        self.check_seal()?;
        let Some(sink) = to.as_any().downcast_mut::<FakeSink>() else {
            return Err(Error::invalid(
                "a sink of another host cannot be written to",
            ));
        };
        let bytes = self.rest()?;
        sink.take(&bytes)?;
        Ok(transferred(&bytes))
    }

    fn examine(self: Box<Self>) -> Result<Transferred> {
        let is_sealed = self.is_sealed;
        let moved = transferred(&self.rest()?);
        Ok(if is_sealed {
            Transferred {
                head: Vec::new(),
                tail: Vec::new(),
                ..moved
            }
        } else {
            moved
        })
    }
}

fn transferred(bytes: &[u8]) -> Transferred {
    let (head, _) = bytes.split_at(bytes.len().min(ENDS));
    let (_, tail) = bytes.split_at(bytes.len().saturating_sub(ENDS));
    Transferred {
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        sha256: hex::encode(Sha256::digest(bytes)),
        head: head.to_vec(),
        tail: tail.to_vec(),
        details: Vec::new(),
    }
}

/// Where the bytes of a sink go in the end.
pub(super) enum Place {
    Artifact {
        name: String,
    },
    File {
        place: String,
    },
    Stdin {
        read: Rc<RefCell<Vec<u8>>>,
        limit: Option<usize>,
        only_transfers: bool,
    },
}

/// Bytes going out.
pub(super) struct FakeSink {
    world: World,
    bytes: Vec<u8>,
    place: Place,
}

impl fmt::Debug for FakeSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSink")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl FakeSink {
    pub(super) fn new(world: &World, place: Place) -> Self {
        Self {
            world: world.clone(),
            bytes: Vec::new(),
            place,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        match &self.place {
            Place::Artifact { .. } | Place::File { .. } => self.bytes.extend_from_slice(bytes),
            Place::Stdin { read, limit, .. } => {
                let mut read = read.borrow_mut();
                let room = limit.map_or(usize::MAX, |limit| limit.saturating_sub(read.len()));
                let (taken, left) = bytes.split_at(bytes.len().min(room));
                read.extend_from_slice(taken);
                if !left.is_empty() {
                    return Err(Error::failed(
                        "sink-closed",
                        "the command takes no more input",
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Sink for FakeSink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Place::Stdin {
            only_transfers: true,
            ..
        } = self.place
        {
            return Err(Error::invalid(
                "the manifest lets only artifacts be fed to this command",
            ));
        }
        self.take(bytes)
    }

    fn commit(self: Box<Self>, evidence: &Evidence) -> Result<()> {
        let Self {
            world,
            bytes,
            place,
        } = *self;
        match place {
            Place::Artifact { name } => {
                world.record(format!("commit {name}"))?;
                world.put_artifact(&name, bytes, evidence.clone());
                Ok(())
            }
            Place::File { .. } | Place::Stdin { .. } => {
                Err(Error::invalid("this sink is no artifact"))
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Self {
            world,
            bytes,
            place,
        } = *self;
        match place {
            Place::File { place } => {
                world.record(format!("finish {place}"))?;
                world.put_file(&place, bytes);
                Ok(())
            }
            Place::Artifact { .. } | Place::Stdin { .. } => {
                Err(Error::invalid("this sink is no file"))
            }
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
