//! `objects`: the declared Kubernetes objects.
//!
//! Must never hand a Secret's contents to a guest: the manifest has no verb for it, and the host
//! refuses it again.

use cofferdam_policy::name::{GroupName, ObjectName};

use super::{artifact_name, plain, shown, wait_time};
use crate::bindings::cofferdam::module::objects;
use crate::capability::object_action;
use crate::fault::{Answer, Fault};
use crate::host::WhenPresent;
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
        let present = match present {
            objects::WhenPresent::Keep => WhenPresent::Keep,
            objects::WhenPresent::Replace => WhenPresent::Replace,
            objects::WhenPresent::Fail => WhenPresent::Fail,
        };
        let loaded = self
            .meter
            .outside(self.host.load_objects(&artifact, present))
            .await;
        let loaded = self.answered(loaded)?;
        Ok(loaded
            .into_iter()
            .map(|one| objects::Loaded {
                name: one.name,
                result: one.result.to_owned(),
                details: one.details,
            })
            .collect())
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
