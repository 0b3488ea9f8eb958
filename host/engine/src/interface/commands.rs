//! `commands`: the declared commands, run in a pod of their target.

use std::sync::Arc;

use cofferdam_policy::name::CommandName;
use wasmtime::component::Resource;

use super::shown;
use crate::bindings::cofferdam::module::commands;
use crate::fault::{Answer, Fault};
use crate::manifest::DeclaredStdout;
use crate::process::{Ended, ProcessEntry, stderr_for_guest};
use crate::state::{CallState, PodEntry, SinkEntry, SourceEntry};

impl commands::Host for CallState {
    async fn run(
        &mut self,
        on: Resource<PodEntry>,
        command: String,
        holes: commands::Holes,
    ) -> Answer<commands::Outcome> {
        let streams = CommandName::parse(&command)
            .ok()
            .and_then(|name| self.binding.manifest().commands.get(&name))
            .is_some_and(|command| command.stdout == DeclaredStdout::Stream);
        if streams {
            return Err(Fault::invalid(format!(
                "command `{}` declares stdout = \"stream\": use `start`",
                shown(&command)
            )));
        }
        let mut process = self.launch(&on, &command, &holes).await?;
        let ended = self.meter.outside(process.wait()).await;
        self.outcome(process.number, ended)
    }

    async fn start(
        &mut self,
        on: Resource<PodEntry>,
        command: String,
        holes: commands::Holes,
    ) -> Answer<Resource<ProcessEntry>> {
        let process = self.launch(&on, &command, &holes).await?;
        Ok(self.table.push(process)?)
    }
}

impl commands::HostProcess for CallState {
    async fn stdin(&mut self, process: Resource<ProcessEntry>) -> Answer<Resource<SinkEntry>> {
        let sink = self.table.get_mut(&process)?.stdin()?;
        Ok(self.table.push(sink)?)
    }

    async fn stdout(&mut self, process: Resource<ProcessEntry>) -> Answer<Resource<SourceEntry>> {
        let source = self.table.get_mut(&process)?.stdout()?;
        Ok(self.table.push(source)?)
    }

    async fn wait(&mut self, process: Resource<ProcessEntry>) -> Answer<commands::Outcome> {
        let meter = self.meter.clone();
        let entry = self.table.get_mut(&process)?;
        let ended = meter.outside(entry.wait()).await;
        let number = entry.number;
        self.outcome(number, ended)
    }

    async fn kill(&mut self, process: Resource<ProcessEntry>) -> Answer<()> {
        let entry = self.table.get_mut(&process)?;
        self.let_go.remove(&entry.number);
        entry.kill().await
    }

    async fn drop(&mut self, process: Resource<ProcessEntry>) -> wasmtime::Result<()> {
        let entry = self.table.delete(process)?;
        self.let_go.remove(&entry.number);
        Ok(())
    }
}

impl CallState {
    /// Looks a command up, fills its holes and starts it.
    async fn launch(
        &mut self,
        on: &Resource<PodEntry>,
        command: &str,
        holes: &[(String, String)],
    ) -> Answer<ProcessEntry> {
        let pod = self.pod_id(on)?;
        let binding = Arc::clone(&self.binding);
        let subject = format!("command `{}`", shown(command));
        let declared = CommandName::parse(command)
            .ok()
            .and_then(|name| binding.manifest().commands.get(&name));
        let Some(declared) = declared else {
            let message = format!(
                "{} declares no command `{}`",
                self.manifest_name(),
                shown(command)
            );
            return self.refuse("run-command", &subject, message);
        };
        if declared.target != pod.role {
            let message = format!(
                "{} lets command `{}` run on target `{}`, not on `{}`",
                self.manifest_name(),
                declared.name,
                declared.target,
                pod.role
            );
            return self.refuse("run-command", &subject, message);
        }
        let invocation = match binding.fill(&declared.name, holes) {
            Ok(invocation) => invocation,
            Err(error) => {
                let message = format!("{} does not allow it: {error}", self.manifest_name());
                return self.refuse("run-command", &subject, message);
            }
        };
        let started = self.host.start(&pod, invocation).await;
        let process = self.answered(started)?;
        self.book.processes += 1;
        let number = self.book.processes;
        Ok(ProcessEntry::new(
            number,
            declared.name.clone(),
            &declared.stdin,
            declared.stdout,
            process,
        ))
    }

    fn outcome(&mut self, number: u64, ended: Answer<Ended>) -> Answer<commands::Outcome> {
        let Ended { outcome, captured } = ended?;
        self.book.waited.insert(number);
        let (stderr, cut) = stderr_for_guest(outcome.stderr);
        Ok(commands::Outcome {
            exit_code: outcome.exit_code,
            stdout: captured.bytes,
            stdout_cut: captured.cut,
            stderr,
            stderr_cut: outcome.stderr_cut || cut,
        })
    }
}
