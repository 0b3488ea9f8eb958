//! The fake host itself: artifacts, objects, leases, steps, log and clock in memory.

use std::time::Duration;

use serde_json::Value;

use super::World;
use super::fake_pod::{FakeLease, FakeTarget};
use super::fake_streams::{FakeSink, FakeSource, Place};
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::host::{
    Host, Lease, Level, Loaded, Processed, Sink, Source, StepState, Target, WhenPresent,
};

impl World {
    fn kept(&self, name: &str) -> Result<(Vec<u8>, Evidence)> {
        let kept = self.0.artifacts.borrow().get(name).cloned();
        kept.ok_or_else(|| Error::NotFound(format!("the snapshot has no artifact `{name}`")))
    }

    fn set_data(&self, group: &str, name: &str, key: &str, value: Option<&Value>) {
        let mut objects = self.0.objects.borrow_mut();
        let data = objects
            .get_mut(&(group.to_owned(), name.to_owned()))
            .and_then(|object| object.get_mut("data"))
            .and_then(Value::as_object_mut);
        match (data, value) {
            (Some(data), Some(value)) => {
                data.insert(key.to_owned(), value.clone());
            }
            (Some(data), None) => {
                data.remove(key);
            }
            (None, _) => {}
        }
    }

    fn load_one(
        &self,
        group: &str,
        name: &str,
        saved: &Value,
        present: WhenPresent,
    ) -> &'static str {
        let Some(there) = self.cluster_object(group, name) else {
            self.put_object(group, name, saved.clone());
            return "created";
        };
        match present {
            _ if there == *saved => "equal",
            WhenPresent::Keep => "kept",
            WhenPresent::Fail => "refused",
            WhenPresent::Replace => {
                self.put_object(group, name, saved.clone());
                "replaced"
            }
        }
    }
}

impl Host for World {
    fn target(&self, role: &str) -> Result<Box<dyn Target>> {
        if !self.0.manifest.targets.contains_key(role) {
            return Err(Error::invalid(format!(
                "the manifest declares no role `{role}`"
            )));
        }
        if self.0.manifest.is_optional(role) && !self.0.bound.borrow().contains(role) {
            return Err(Error::failed(
                "not-bound",
                format!("the application binds no workload to the role `{role}`"),
            ));
        }
        self.record(format!("target {role}"))?;
        Ok(Box::new(FakeTarget {
            world: self.clone(),
            role: role.to_owned(),
        }))
    }

    fn create_artifact(&self, name: &str, media_type: &str) -> Result<Box<dyn Sink>> {
        self.record(format!("create {name} {media_type}"))?;
        if self.0.artifacts.borrow().contains_key(name) {
            return Err(Error::Conflict(format!("artifact `{name}` exists already")));
        }
        Ok(Box::new(FakeSink::new(
            self,
            Place::Artifact {
                name: name.to_owned(),
            },
        )))
    }

    fn open_artifact(&self, name: &str) -> Result<Box<dyn Source>> {
        self.record(format!("open {name}"))?;
        let (bytes, _) = self.kept(name)?;
        let cut = self.0.cuts.borrow().get(name).copied();
        let is_sealed = self.0.sealed.borrow().contains(name);
        let source = FakeSource::new(bytes, cut);
        Ok(Box::new(if is_sealed { source.sealed() } else { source }))
    }

    fn artifacts(&self) -> Result<Vec<String>> {
        self.record("artifacts".to_owned())?;
        Ok(self.0.artifacts.borrow().keys().cloned().collect())
    }

    fn evidence(&self, name: &str) -> Result<Evidence> {
        self.record(format!("evidence {name}"))?;
        self.kept(name).map(|(_, evidence)| evidence)
    }

    fn save_objects(&self, group: &str, artifact: &str) -> Result<Vec<String>> {
        let declared = self.0.manifest.group(group, "save")?;
        self.record(format!("save {group} {artifact}"))?;
        let kind = declared.kind(&self.0.parameters.borrow())?;
        let mut saved = serde_json::Map::new();
        let mut said = Vec::new();
        for name in declared.names(&self.0.parameters.borrow())? {
            let label = format!("{kind}/{name}");
            match self.cluster_object(group, &name) {
                Some(object) => {
                    saved.insert(name, object);
                    said.push(label);
                }
                None => said.push(format!("{label} (missing)")),
            }
        }
        let evidence = Evidence::new()
            .with("objects", saved.len())
            .with("missing", said.len() - saved.len());
        let kept = serde_json::json!({ "group": group, "kind": kind, "objects": saved });
        self.put_artifact(artifact, kept.to_string(), evidence);
        self.0.sealed.borrow_mut().insert(artifact.to_owned());
        Ok(said)
    }

    fn load_objects(&self, artifact: &str, present: WhenPresent) -> Result<Vec<Loaded>> {
        self.record(format!("load {artifact} {present:?}"))?;
        let (bytes, _) = self.kept(artifact)?;
        let kept: Value = serde_json::from_slice(&bytes).map_err(|error| {
            Error::failed("not-objects", format!("artifact `{artifact}`: {error}"))
        })?;
        let group = kept
            .get("group")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let declared = self.0.manifest.group(group, "load")?;
        let kind = declared.kind(&self.0.parameters.borrow())?;
        let objects = kept.get("objects").and_then(Value::as_object);
        Ok(objects
            .into_iter()
            .flatten()
            .map(|(name, saved)| Loaded {
                name: format!("{kind}/{name}"),
                result: self.load_one(group, name, saved, present).to_owned(),
                details: Vec::new(),
            })
            .collect())
    }

    fn process_template(
        &self,
        template: &str,
        artifact: &str,
        present: WhenPresent,
    ) -> Result<Processed> {
        if !self.0.manifest.templates.contains_key(template) {
            return Err(Error::invalid(format!(
                "the manifest declares no template `{template}`"
            )));
        }
        self.record(format!("process {template} {artifact} {present:?}"))?;
        self.kept(artifact)?;
        let processed = self.0.processed.borrow().clone();
        processed.unwrap_or_else(|| {
            let message = "the test does not say what becomes of the template";
            Err(Error::failed("not-scripted", message))
        })
    }

    fn object(&self, group: &str, name: &str) -> Result<String> {
        let declared = self.0.manifest.group(group, "get")?;
        if declared.kind(&self.0.parameters.borrow())? == "Secret" {
            return Err(Error::invalid(
                "the contents of a Secret never reach a module",
            ));
        }
        self.record(format!("get {group} {name}"))?;
        let object = self.cluster_object(group, name);
        let object = object.ok_or_else(|| Error::NotFound(format!("there is no `{name}`")))?;
        Ok(object.to_string())
    }

    fn apply_object(&self, group: &str, manifest: &str) -> Result<()> {
        self.0.manifest.group(group, "apply")?;
        let object: Value = serde_json::from_str(manifest)
            .map_err(|error| Error::invalid(format!("the object is no JSON: {error}")))?;
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        self.record(format!("apply {group} {name}"))?;
        self.put_object(group, &name, object);
        Ok(())
    }

    fn wait_for_object(
        &self,
        group: &str,
        name: &str,
        condition: &str,
        _timeout: Duration,
    ) -> Result<()> {
        self.0.manifest.group(group, "wait")?;
        self.record(format!("wait-for {group} {name} {condition}"))
    }

    fn edit_object(&self, group: &str, name: &str, changes: &[(&str, &str)]) -> Result<Lease> {
        let keys = self
            .0
            .manifest
            .group(group, "lease")?
            .keys(&self.0.parameters.borrow())?;
        if let Some((key, _)) = changes
            .iter()
            .find(|(key, _)| !keys.iter().any(|one| one == key))
        {
            return Err(Error::invalid(format!(
                "the manifest lets no lease change key `{key}`"
            )));
        }
        self.record(format!("edit {group} {name}"))?;
        let object = self.cluster_object(group, name);
        let object = object.ok_or_else(|| Error::NotFound(format!("there is no `{name}`")))?;
        let mut before = Vec::new();
        for (key, value) in changes {
            let old = object.get("data").and_then(|data| data.get(key)).cloned();
            before.push(((*key).to_owned(), old));
            self.set_data(group, name, key, Some(&Value::from(*value)));
        }
        let (group, name) = (group.to_owned(), name.to_owned());
        Ok(FakeLease::take(
            self,
            format!("edit {group} {name}"),
            move |world| {
                for (key, old) in &before {
                    world.set_data(&group, &name, key, old.as_ref());
                }
            },
        ))
    }

    fn begin_step(&self, name: &str) -> Result<StepState> {
        self.record(format!("begin {name}"))?;
        let interrupted = self
            .0
            .interrupted_steps
            .borrow()
            .iter()
            .any(|step| step == name);
        Ok(if interrupted {
            StepState::Interrupted
        } else {
            StepState::Fresh
        })
    }

    fn finish_step(&self, name: &str) -> Result<()> {
        self.record(format!("end {name}"))
    }

    fn log(&self, level: Level, message: &str) {
        self.0.logs.borrow_mut().push((level, message.to_owned()));
    }

    fn progress(&self, _step: &str, _done: u64, _total: Option<u64>, _unit: &str) {}

    fn parameter(&self, name: &str) -> Option<String> {
        self.0.parameters.borrow().get(name).cloned()
    }

    fn now(&self) -> u64 {
        self.0.now.get()
    }

    fn sleep(&self, duration: Duration) -> Result<()> {
        self.record(format!("sleep {}", duration.as_millis()))?;
        let passed = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.0.now.set(self.0.now.get().saturating_add(passed));
        Ok(())
    }
}
