//! `streams`: bytes that the host moves, and bounded looks at them.
//!
//! Must never feed anything but a whole artifact to a command whose manifest says `artifact`.

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::bindings::cofferdam::module::streams;
use crate::fault::{Answer, Fault};
use crate::host::HostError;
use crate::limits;
use crate::state::{
    CallState, Gone, OpenSink, OpenSource, Origin, SinkEntry, SinkKind, SourceEntry,
};
use crate::transfer::{Broken, Moved, pump};

impl streams::HostSource for CallState {
    async fn read(&mut self, source: Resource<SourceEntry>, max: u32) -> Answer<Vec<u8>> {
        if max == 0 {
            return Err(Fault::invalid(
                "a read of 0 bytes: an empty answer is the end",
            ));
        }
        let entry = self.table.get(&source)?;
        if entry.sealed {
            return self.refuse_sealed();
        }
        let (slot, origin) = (entry.slot.clone(), entry.origin);
        self.end_input(origin).await;
        let mut open = slot.take().map_err(|gone| gone.fault("the source"))?;
        open.touched = true;
        let next = self.meter.outside(open.next()).await;
        match next {
            Ok(Some(mut chunk)) => {
                let limit = usize::try_from(max.min(limits::READ_BYTES)).unwrap_or(usize::MAX);
                open.rest = chunk.split_off(chunk.len().min(limit));
                slot.put_back(open);
                Ok(chunk.to_vec())
            }
            Ok(None) => {
                slot.put_back(open);
                Ok(Vec::new())
            }
            Err(error) => {
                slot.end(Gone::Failed);
                self.answered(Err(error))
            }
        }
    }

    async fn drop(&mut self, source: Resource<SourceEntry>) -> wasmtime::Result<()> {
        self.table.delete(source)?;
        Ok(())
    }
}

impl streams::HostSink for CallState {
    async fn write(&mut self, sink: Resource<SinkEntry>, bytes: Vec<u8>) -> Answer<()> {
        let entry = self.table.get(&sink)?;
        if let SinkKind::Stdin {
            command,
            only_artifacts: true,
            ..
        } = &entry.kind
        {
            return Err(Fault::invalid(format!(
                "command `{command}` declares stdin = \"artifact\": only `transfer` from an artifact may feed it"
            )));
        }
        if bytes.len() > usize::try_from(limits::READ_BYTES).unwrap_or(usize::MAX) {
            return Err(Fault::invalid(format!(
                "a write takes {} bytes at most",
                limits::READ_BYTES
            )));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let (slot, kind) = (entry.slot.clone(), entry.kind.clone());
        let mut open = slot.take().map_err(|gone| gone.fault("the sink"))?;
        let written = self
            .meter
            .outside(open.writer().write(Bytes::from(bytes)))
            .await;
        match written {
            Ok(()) => {
                slot.put_back(open);
                Ok(())
            }
            Err(error) => {
                slot.end(Gone::Failed);
                self.sink_failed(&kind, error)
            }
        }
    }

    async fn drop(&mut self, sink: Resource<SinkEntry>) -> wasmtime::Result<()> {
        let entry = self.table.delete(sink)?;
        // The input of a command is not ended yet: a module that gives up drops its input first and
        // the command next, and the command must not take half for a whole in between.
        if let SinkKind::Stdin { process, .. } = entry.kind {
            self.let_go.insert(process, entry.slot);
        }
        Ok(())
    }
}

impl streams::Host for CallState {
    async fn transfer(
        &mut self,
        from: Resource<SourceEntry>,
        to: Resource<SinkEntry>,
    ) -> Answer<streams::Transferred> {
        let source = self.table.delete(from)?;
        if source.sealed {
            return self.refuse_sealed();
        }
        self.end_input(source.origin).await;
        let entry = self.table.get(&to)?;
        let (slot, kind) = (entry.slot.clone(), entry.kind.clone());
        let open = source
            .slot
            .take()
            .map_err(|gone| gone.fault("the source"))?;
        if let SinkKind::Stdin {
            command,
            only_artifacts: true,
            ..
        } = &kind
            && (source.origin != Origin::Artifact || open.touched)
        {
            return Err(Fault::invalid(format!(
                "command `{command}` declares stdin = \"artifact\": only a whole artifact may feed it"
            )));
        }
        let mut sink = slot.take().map_err(|gone| gone.fault("the sink"))?;
        let moved = self.meter.outside(pump(open, Some(sink.writer()))).await;
        match moved {
            Ok(moved) => {
                slot.put_back(sink);
                if let Origin::Process(number) = source.origin {
                    self.table.get_mut(&to)?.fed_by.insert(number);
                }
                Ok(transferred(moved))
            }
            Err(Broken::Source(error)) => {
                slot.end(Gone::Cut);
                self.answered(Err(error))
            }
            Err(Broken::Sink(error)) => {
                slot.end(Gone::Failed);
                self.sink_failed(&kind, error)
            }
        }
    }

    async fn examine(&mut self, from: Resource<SourceEntry>) -> Answer<streams::Transferred> {
        let source = self.table.delete(from)?;
        self.end_input(source.origin).await;
        let open: OpenSource = source
            .slot
            .take()
            .map_err(|gone| gone.fault("the source"))?;
        match self.meter.outside(pump(open, None)).await {
            Ok(mut moved) => {
                if source.sealed {
                    moved.head.clear();
                    moved.tail.clear();
                }
                Ok(transferred(moved))
            }
            Err(Broken::Source(error) | Broken::Sink(error)) => self.answered(Err(error)),
        }
    }
}

impl CallState {
    /// Ends the input of the process whose output is read now, if the guest let go of it: a command
    /// may write only when it has read everything.
    async fn end_input(&mut self, origin: Origin) {
        let Origin::Process(number) = origin else {
            return;
        };
        let Some(slot) = self.let_go.remove(&number) else {
            return;
        };
        if let Ok(OpenSink::Stdin(stdin)) = slot.take() {
            slot.end(Gone::Closed);
            if let Err(error) = stdin.close().await {
                tracing::debug!(%error, "the input of a command was closed already");
            }
        }
    }

    /// Refuses the bytes of an artifact that the host made of Kubernetes objects.
    fn refuse_sealed<T>(&mut self) -> Answer<T> {
        let message = "the artifact holds Kubernetes objects: its contents go past the module, by `objects.load`";
        self.refuse("open-artifact", "a sealed artifact", message.to_owned())
    }

    /// The error of a sink. One of a command's input has a code of its own: the command's exit
    /// status and words say why, and the module must know that it may ask for them.
    fn sink_failed<T>(&mut self, kind: &SinkKind, error: HostError) -> Answer<T> {
        match (kind, error) {
            (
                SinkKind::Stdin { .. },
                HostError::Failed { code, message } | HostError::Unavailable { code, message },
            ) => Err(Fault::Caused {
                code: "sink-closed",
                message,
                cause: code,
            }),
            (_, error) => self.answered(Err(error)),
        }
    }
}

fn transferred(moved: Moved) -> streams::Transferred {
    streams::Transferred {
        bytes: moved.bytes,
        sha256: moved.sha256,
        head: moved.head,
        tail: moved.tail,
        details: Vec::new(),
    }
}
