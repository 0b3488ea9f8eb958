//! `files`: the declared paths.

use std::collections::BTreeSet;

use cofferdam_policy::name::PathName;
use wasmtime::component::Resource;

use super::{artifact_name, shown};
use crate::bindings::cofferdam::module::files;
use crate::fault::{Answer, Fault};
use crate::host::{LoadOptions, PodId, TreeSummary};
use crate::manifest::Access;
use crate::state::{CallState, OpenSink, Origin, PodEntry, SinkEntry, SinkKind, Slot, SourceEntry};

impl files::Host for CallState {
    async fn save(
        &mut self,
        on: Resource<PodEntry>,
        path: String,
        artifact: String,
    ) -> Answer<files::TreeSummary> {
        let (pod, path) = self.declared(&on, "save-tree", &path)?;
        let artifact = artifact_name(&artifact)?;
        self.begin_artifact(&artifact)?;
        let saved = self
            .meter
            .outside(self.host.save_tree(&pod, &path, &artifact))
            .await;
        let summary = self.answered(saved)?;
        self.book.committed.push(artifact);
        Ok(tree_summary(summary))
    }

    async fn load(
        &mut self,
        on: Resource<PodEntry>,
        artifact: String,
        path: String,
        options: files::LoadOptions,
    ) -> Answer<files::TreeSummary> {
        self.load_into(&on, &artifact, &path, options, &[]).await
    }

    async fn load_part(
        &mut self,
        on: Resource<PodEntry>,
        artifact: String,
        path: String,
        options: files::LoadOptions,
        only: Vec<String>,
    ) -> Answer<files::TreeSummary> {
        if only.is_empty() {
            return Err(Fault::invalid("no file or folder of the tree is named"));
        }
        self.load_into(&on, &artifact, &path, options, &only).await
    }

    async fn stat(
        &mut self,
        on: Resource<PodEntry>,
        path: String,
    ) -> Answer<Option<files::Metadata>> {
        let (pod, path) = self.declared(&on, "stat-file", &path)?;
        let found = self.host.stat(&pod, &path).await;
        Ok(self.answered(found)?.map(|metadata| files::Metadata {
            size: metadata.size,
            mode: metadata.mode,
            modified: metadata.modified,
            details: Vec::new(),
        }))
    }

    async fn read(
        &mut self,
        on: Resource<PodEntry>,
        path: String,
    ) -> Answer<Resource<SourceEntry>> {
        let (pod, path) = self.declared(&on, "read-file", &path)?;
        let source = self.host.read_file(&pod, &path).await;
        let source = self.answered(source)?;
        Ok(self.table.push(SourceEntry::new(Origin::File, source))?)
    }

    async fn write(&mut self, on: Resource<PodEntry>, path: String) -> Answer<Resource<SinkEntry>> {
        let (pod, path) = self.declared(&on, "write-file", &path)?;
        let sink = self.host.write_file(&pod, &path).await;
        let sink = self.answered(sink)?;
        Ok(self.table.push(SinkEntry {
            kind: SinkKind::File,
            slot: Slot::new(OpenSink::File(sink)),
            fed_by: BTreeSet::new(),
        })?)
    }

    async fn finish(&mut self, file: Resource<SinkEntry>) -> Answer<()> {
        let entry = self.table.delete(file)?;
        let open = entry.slot.take().map_err(|gone| gone.fault("the file"))?;
        let OpenSink::File(file) = open else {
            return Err(Fault::invalid(
                "only what `files.write` returned can be finished",
            ));
        };
        if !entry.fed_by.is_subset(&self.book.waited) {
            return Err(Fault::invalid(
                "the exit status of the command that wrote the file was not read",
            ));
        }
        let finished = file.finish().await;
        self.answered(finished)
    }

    async fn rename(&mut self, on: Resource<PodEntry>, path: String, to: String) -> Answer<()> {
        let (pod, path) = self.declared(&on, "rename-file", &path)?;
        let (_, to) = self.declared(&on, "rename-file", &to)?;
        let renamed = self.host.rename(&pod, &path, &to).await;
        self.answered(renamed)
    }

    async fn remove(&mut self, on: Resource<PodEntry>, path: String) -> Answer<()> {
        let (pod, path) = self.declared(&on, "remove-file", &path)?;
        let removed = self.host.remove(&pod, &path).await;
        self.answered(removed)
    }
}

impl CallState {
    async fn load_into(
        &mut self,
        on: &Resource<PodEntry>,
        artifact: &str,
        path: &str,
        options: files::LoadOptions,
        only: &[String],
    ) -> Answer<files::TreeSummary> {
        let (pod, path) = self.declared(on, "load-tree", path)?;
        let artifact = artifact_name(artifact)?;
        let options = LoadOptions {
            delete_extraneous: options.contains(files::LoadOptions::DELETE_EXTRANEOUS),
            keep_newer: options.contains(files::LoadOptions::KEEP_NEWER),
            keep_owner: options.contains(files::LoadOptions::KEEP_OWNER),
        };
        let loaded = self
            .meter
            .outside(self.host.load_tree(&pod, &artifact, &path, options, only))
            .await;
        Ok(tree_summary(self.answered(loaded)?))
    }

    /// A path that the manifest declares, for the role of the pod and for this use.
    fn declared(
        &mut self,
        on: &Resource<PodEntry>,
        capability: &'static str,
        path: &str,
    ) -> Answer<(PodId, PathName)> {
        let pod = self.pod_id(on)?;
        let subject = format!("path `{}`", shown(path));
        let found = PathName::parse(path)
            .ok()
            .and_then(|name| self.binding.path(&name))
            .map(|(declared, _)| {
                (
                    declared.name.clone(),
                    declared.target.clone(),
                    declared.access,
                    declared.tree,
                )
            });
        let manifest = self.manifest_name();
        let Some((name, target, access, tree)) = found else {
            return self.refuse(
                capability,
                &subject,
                format!("{manifest} declares no path `{}`", shown(path)),
            );
        };
        if target != pod.role {
            let message = format!(
                "{manifest} declares path `{name}` on target `{target}`, not on `{}`",
                pod.role
            );
            return self.refuse(capability, &subject, message);
        }
        let whole = matches!(capability, "save-tree" | "load-tree");
        if whole != tree && capability != "stat-file" {
            let kind = if tree { "a tree" } else { "no tree" };
            return self.refuse(
                capability,
                &subject,
                format!("{manifest} declares path `{name}` as {kind}"),
            );
        }
        let reads = matches!(capability, "stat-file" | "read-file" | "save-tree");
        match access {
            Access::Read if !reads => self.refuse(
                capability,
                &subject,
                format!("{manifest} declares path `{name}` for reading only"),
            ),
            Access::Read | Access::Write => Ok((pod, name)),
        }
    }
}

fn tree_summary(summary: TreeSummary) -> files::TreeSummary {
    files::TreeSummary {
        files: summary.files,
        folders: summary.folders,
        links: summary.links,
        bytes: summary.bytes,
        unchanged: summary.unchanged,
        removed: summary.removed,
        details: summary.details,
    }
}
