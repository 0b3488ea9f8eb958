//! 3scale by its OpenShift Template, as `oc new-app --param ...` makes it.
//!
//! A backup keeps the Template; a restore has its parameters filled from the Secrets and ConfigMaps
//! that are in the cluster by then, and its objects made. The values go from the cluster to the
//! cluster: this module knows names of parameters and never a value.

use cofferdam_guest_sdk::{
    Context, DataSet, Error, Host, Level, Loaded, Processed, Result, WhenPresent, export,
};

/// The template and its group, as the manifest calls them.
const TEMPLATE: &str = "application";
const GROUP: &str = "template";
/// The artifact of this module.
const ARTIFACT: &str = "template.json";
/// What the host puts behind the name of an object that the cluster does not have.
const MISSING: &str = " (missing)";

/// The data set: one Template.
#[derive(Debug)]
pub struct OpenshiftTemplate;

export!(OpenshiftTemplate);

impl DataSet for OpenshiftTemplate {
    fn backup(host: &dyn Host) -> Result<()> {
        let said = host.step("save", || {
            host.save_objects(GROUP, ARTIFACT)
                .context("failed to save the Template")
        })?;
        let name = host.required("template")?;
        if said.iter().any(|label| label.ends_with(MISSING)) {
            return Err(Error::NotFound(format!(
                "the namespace has no Template `{name}`: bring it there with `oc create -f amp.yml`, the file that 3scale was installed with, or name it with parameter `template`"
            )));
        }
        host.info(&format!("kept Template `{name}`"));
        Ok(())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let present = when_present(host)?;
        let processed = host.step("process", || {
            host.process_template(TEMPLATE, ARTIFACT, present)
                .context("failed to process the Template")
        })?;
        report_parameters(host, &processed);
        let refused = report_objects(host, &processed.objects)?;
        if refused.is_empty() {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "the cluster does not accept, or has with other content: {}; look at each above, set parameter `when-present` to `replace` or `keep` where that is meant, then restore again",
            refused.join(", ")
        )))
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let evidence = host.evidence(ARTIFACT)?;
        let moved = host.open_artifact(ARTIFACT)?.examine()?;
        evidence.check_transfer(ARTIFACT, &moved)?;
        if evidence.number("objects") == Some(1) && moved.bytes > 0 {
            return Ok(());
        }
        Err(Error::failed(
            "not-a-template",
            format!(
                "artifact `{ARTIFACT}` of {} bytes does not hold one Template",
                moved.bytes
            ),
        ))
    }
}

fn when_present(host: &dyn Host) -> Result<WhenPresent> {
    match host.required("when-present")?.as_str() {
        "keep" => Ok(WhenPresent::Keep),
        "replace" => Ok(WhenPresent::Replace),
        "fail" => Ok(WhenPresent::Fail),
        other => Err(Error::invalid(format!(
            "parameter `when-present` is `{other}`"
        ))),
    }
}

/// Says how the parameters were filled: names, never values.
fn report_parameters(host: &dyn Host, processed: &Processed) {
    let with = |wanted: &str| -> Vec<&str> {
        let all = processed.parameters.iter();
        all.filter(|(_, state)| state == wanted)
            .map(|(name, _)| name.as_str())
            .collect()
    };
    let all = processed.parameters.len();
    host.info(&format!(
        "{} of {all} parameters are filled from Secrets and ConfigMaps",
        with("filled").len()
    ));
    let say = |level: Level, state: &str, words: &str| {
        let names = with(state);
        if !names.is_empty() {
            host.log(level, &format!("{words}: {}", names.join(", ")));
        }
    };
    say(
        Level::Warn,
        "generated",
        "the cluster made values up, which are not those of before, for",
    );
    say(
        Level::Warn,
        "missing",
        "the Template's own values count, since the cluster has none, for",
    );
    say(
        Level::Info,
        "unnamed",
        "the Template's own values count, as in the manual procedure, for",
    );
    say(
        Level::Info,
        "unknown",
        "this Template does not have, and so nothing was read for",
    );
}

/// Says what became of each object. Returns those that were refused.
fn report_objects(host: &dyn Host, objects: &[Loaded]) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    for one in objects {
        let why: String = one
            .details
            .iter()
            .map(|(key, value)| format!(", {key} {value}"))
            .collect();
        let level = match one.result.as_str() {
            "created" | "equal" => Level::Info,
            "replaced" | "kept" => Level::Warn,
            "refused" => {
                refused.push(format!("`{}`", one.name));
                Level::Error
            }
            other => {
                return Err(Error::failed(
                    "unknown-answer",
                    format!(
                        "the host says that `{}` is `{other}`, which this module does not know",
                        one.name
                    ),
                ));
            }
        };
        host.log(level, &format!("`{}`: {}{why}", one.name, one.result));
    }
    Ok(refused)
}

#[cfg(test)]
mod tests;
