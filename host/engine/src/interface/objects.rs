//! `objects`: the declared Kubernetes objects.
//!
//! Must never hand a Secret's contents to a guest: the manifest has no verb for it, and the host
//! refuses it again.

use cofferdam_policy::name::{GroupName, ObjectName, TemplateName};

use super::{artifact_name, plain, shown, wait_time};
use crate::bindings::cofferdam::module::objects;
use crate::capability::object_action;
use crate::fault::{Answer, Fault};
use crate::host::{Loaded, WhenPresent};
use crate::limits;
use crate::manifest::ObjectVerb;
use crate::state::CallState;

impl objects::Host for CallState {
    async fn save(&mut self, group: String, artifact: String) -> Answer<Vec<String>> {
        let group = self.group(&group, ObjectVerb::Save)?;
        let artifact = artifact_name(&artifact)?;
        self.begin_artifact(&artifact)?;
        let saved = self
            .meter
            .outside(self.host.save_objects(&group, &artifact))
            .await;
        let names = self.answered(saved)?;
        self.book.committed.push(artifact);
        Ok(names)
    }

    async fn load(
        &mut self,
        artifact: String,
        present: objects::WhenPresent,
    ) -> Answer<Vec<objects::Loaded>> {
        let loads = |group: &crate::manifest::ObjectGroup| group.verbs.contains(&ObjectVerb::Load);
        if !self.binding.manifest().objects.values().any(loads) {
            let message = format!("{} declares no objects to load", self.manifest_name());
            return self.refuse(
                "load-object",
                &format!("artifact `{}`", shown(&artifact)),
                message,
            );
        }
        let artifact = artifact_name(&artifact)?;
        let loaded = self
            .meter
            .outside(self.host.load_objects(&artifact, when_present(present)))
            .await;
        Ok(became(self.answered(loaded)?))
    }

    async fn process_template(
        &mut self,
        template: String,
        artifact: String,
        present: objects::WhenPresent,
    ) -> Answer<objects::Processed> {
        let declared = TemplateName::parse(&template)
            .ok()
            .filter(|name| self.binding.manifest().templates.contains_key(name));
        let Some(template) = declared else {
            let subject = format!("template `{}`", shown(&template));
            let message = format!("{} declares no {subject}", self.manifest_name());
            return self.refuse("process-template", &subject, message);
        };
        let artifact = artifact_name(&artifact)?;
        let processing = self
            .host
            .process_template(&template, &artifact, when_present(present));
        let processed = self.meter.outside(processing).await;
        let processed = self.answered(processed)?;
        let parameters = processed.parameters.into_iter();
        Ok(objects::Processed {
            objects: became(processed.objects),
            parameters: parameters
                .map(|(name, state)| objects::Parameter {
                    name,
                    state: state.to_owned(),
                })
                .collect(),
            details: Vec::new(),
        })
    }

    async fn get(&mut self, group: String, name: String) -> Answer<String> {
        let (group, name) = self.object(&group, &name, ObjectVerb::Get)?;
        let object = self.host.get_object(&group, &name).await;
        self.answered(object)
    }

    async fn apply(&mut self, group: String, manifest: String) -> Answer<()> {
        let group = self.group(&group, ObjectVerb::Apply)?;
        if manifest.len() > limits::OBJECT_BYTES {
            return Err(Fault::invalid(format!(
                "an object takes {} bytes at most",
                limits::OBJECT_BYTES
            )));
        }
        let applied = self.host.apply_object(&group, &manifest).await;
        self.answered(applied)
    }

    async fn wait_for(
        &mut self,
        group: String,
        name: String,
        condition: String,
        timeout_ms: u64,
    ) -> Answer<()> {
        let (group, name) = self.object(&group, &name, ObjectVerb::Wait)?;
        let condition = plain("a condition", &condition)?;
        let timeout = wait_time(timeout_ms)?;
        let waited = self
            .host
            .wait_for_object(&group, &name, condition, timeout)
            .await;
        self.answered(waited)
    }
}

fn when_present(present: objects::WhenPresent) -> WhenPresent {
    match present {
        objects::WhenPresent::Keep => WhenPresent::Keep,
        objects::WhenPresent::Replace => WhenPresent::Replace,
        objects::WhenPresent::Fail => WhenPresent::Fail,
    }
}

fn became(loaded: Vec<Loaded>) -> Vec<objects::Loaded> {
    let told = |one: Loaded| objects::Loaded {
        name: one.name,
        result: one.result.to_owned(),
        details: one.details,
    };
    loaded.into_iter().map(told).collect()
}

impl CallState {
    /// A group that the manifest declares for this verb.
    pub(super) fn group(&mut self, group: &str, verb: ObjectVerb) -> Answer<GroupName> {
        let capability = object_action(verb);
        let subject = format!("object group `{}`", shown(group));
        let found = GroupName::parse(group)
            .ok()
            .and_then(|name| self.binding.manifest().objects.get(&name))
            .map(|group| (group.name.clone(), group.verbs.contains(&verb)));
        let manifest = self.manifest_name();
        match found {
            Some((name, true)) => Ok(name),
            Some((name, false)) => self.refuse(
                capability,
                &subject,
                format!("{manifest} does not declare {capability} for object group `{name}`"),
            ),
            None => self.refuse(
                capability,
                &subject,
                format!("{manifest} declares no object group `{}`", shown(group)),
            ),
        }
    }

    /// An object of a group that the manifest declares for this verb.
    pub(super) fn object(
        &mut self,
        group: &str,
        name: &str,
        verb: ObjectVerb,
    ) -> Answer<(GroupName, ObjectName)> {
        let group = self.group(group, verb)?;
        let found = self
            .binding
            .object_names(&group)
            .iter()
            .find(|known| known.as_str() == name)
            .cloned();
        match found {
            Some(name) => Ok((group, name)),
            None => {
                let subject = format!("object `{}` of group `{group}`", shown(name));
                let message = format!(
                    "{} declares no object `{}` in group `{group}`",
                    self.manifest_name(),
                    shown(name)
                );
                self.refuse(object_action(verb), &subject, message)
            }
        }
    }
}
