//! OpenShift Templates: out of an artifact, filled and processed by the cluster, past the module.
//!
//! The artifact is not trusted: it must hold one Template, and one that the manifest names. Must never
//! hand a value of a parameter to the module or to the audit log.

use cofferdam_cluster::Filled;
use cofferdam_engine::host::{HostError, Processed, WhenPresent};
use cofferdam_policy::name::{ArtifactName, ObjectName, TemplateName};
use cofferdam_policy::request::ProcessTemplate;
use serde_json::Value;

use super::objects::{became, object_name, read_list, when_present};
use super::{Granted, Session};

impl Session {
    pub(super) async fn process(
        &self,
        template: &TemplateName,
        artifact: &ArtifactName,
        present: WhenPresent,
    ) -> Result<Processed, HostError> {
        let declared = self.binding.manifest().templates.get(template);
        let declared = declared.ok_or_else(|| {
            HostError::Invalid(format!("the manifest has no template `{template}`"))
        })?;
        let items = read_list(self.stored_artifact(artifact).await?).await?;
        let (name, object) = self.one_of(self.binding.object_names(&declared.group), &items)?;
        let request = ProcessTemplate {
            namespace: self.scope.namespace.clone(),
            template: template.clone(),
            group: declared.group.clone(),
            name,
            parameters: declared.parameters.clone(),
            kinds: declared.kinds.clone(),
        };
        let Granted { permit, record } = self.permit(request)?;
        let processing =
            self.shared
                .cluster
                .process_template(&permit, object, when_present(present));
        let processed = tokio::select! {
            result = processing => record.close(result)?,
            () = self.shared.cancel.cancelled() => return Err(HostError::Cancelled),
        };
        let objects = processed.objects.into_iter();
        let parameters = processed.parameters.into_iter();
        Ok(Processed {
            objects: objects.map(|(name, loaded)| became(name, loaded)).collect(),
            parameters: parameters.map(|(name, how)| (name, word(how))).collect(),
        })
    }

    /// The one Template of the artifact, which must be one that the group names.
    fn one_of<'a>(
        &self,
        names: &[ObjectName],
        items: &'a [Value],
    ) -> Result<(ObjectName, &'a Value), HostError> {
        let [object] = items else {
            return Err(HostError::Invalid(format!(
                "the artifact holds {} objects where one Template is wanted; nothing was processed",
                items.len()
            )));
        };
        let name = object_name(object)?;
        if names.contains(&name) {
            return Ok((name, object));
        }
        Err(HostError::Invalid(format!(
            "the artifact holds Template `{name}`, which this data set does not name; nothing was processed"
        )))
    }
}

fn word(how: Filled) -> &'static str {
    match how {
        Filled::Filled => "filled",
        Filled::Missing => "missing",
        Filled::Unnamed => "unnamed",
        Filled::Generated => "generated",
        Filled::Unknown => "unknown",
    }
}
