//! `cofferdam init`: an application file to fill in, from the manifests of the installed modules.
//!
//! Does not look at the cluster: which workload is which database is for the site to say.

use anyhow::Result;
use cofferdam_engine::Manifest;
use serde_json::json;

use crate::arguments::Init;
use crate::command::modules::as_written;
use crate::output::show;
use crate::report::{Exit, Usage};
use crate::settings::Settings;
use crate::site;

pub(super) fn run(settings: &Settings, init: &Init) -> Result<Exit> {
    let Some(namespace) = &init.namespace else {
        return Err(Usage::hint(
            anyhow::anyhow!("no namespace was named"),
            "name it with `--namespace`",
        ));
    };
    let mut entries = String::new();
    for (path, loaded) in site::modules(settings)?.all()? {
        match loaded {
            Ok(module) => entries.push_str(&entry(module.manifest())),
            Err(error) => tracing::error!("passed over `{}`: {error}", path.display()),
        }
    }
    if entries.is_empty() {
        return Err(Usage::hint(
            anyhow::anyhow!("there is no module in any of the folders of modules"),
            "name the folder with `--modules`, or set `COFFERDAM_MODULES`",
        ));
    }
    let text = format!(
        "apiVersion: {}\nkind: Application\nmetadata: {{ name: {}, namespace: {} }}\nspec:\n  # One entry for each installed module: fill in what is in capitals, copy or remove entries.\n  # `backup: {{ after: [NAME] }}` and `restore: {{ after: [NAME] }}` put data sets in order.\n  # quiesce: [NAME]   # data sets that only `backup --quiesce` runs: what it stops, in this order\n  dataSets:\n{entries}",
        cofferdam_runs::application::API_VERSION,
        init.name,
        namespace
    );
    site::write_new(&settings.file, &text, init.force)?;
    let path = &settings.file;
    show(settings.format, &json!({ "file": path }), |_| {
        format!(
            "wrote `{}`: fill it in, then run `cofferdam policy init`",
            path.display()
        )
    })?;
    Ok(Exit::Done)
}

fn entry(manifest: &Manifest) -> String {
    let mut text = format!(
        "    # {}\n    - name: {}\n      module: {{ name: {}, version: \"{}\" }}\n",
        manifest.summary, manifest.name, manifest.name, manifest.version
    );
    if !manifest.targets.is_empty() {
        let is_optional = |role| manifest.optional_targets.contains(role);
        let comment = match manifest.targets.keys().all(is_optional) {
            true => "# ",
            false => "",
        };
        text.push_str(&format!("      {comment}targets:\n"));
        for (role, summary) in &manifest.targets {
            let (may_lack, comment) = if manifest.optional_targets.contains(role) {
                (" (may be left out)", "# ")
            } else {
                ("", "")
            };
            text.push_str(&format!("        # {summary}{may_lack}\n        {comment}{role}: {{ workload: deployment/NAME, container: NAME }}\n"));
        }
    }
    if !manifest.secrets.is_empty() {
        let all_may_lack = manifest.optional_secrets.len() == manifest.secrets.len();
        text.push_str(if all_may_lack {
            "      # secrets:\n"
        } else {
            "      secrets:\n"
        });
        for (handle, summary) in &manifest.secrets {
            let (may_lack, comment) = if manifest.optional_secrets.contains(handle) {
                (" (may be left out)", "# ")
            } else {
                ("", "")
            };
            text.push_str(&format!(
                "        # {summary}{may_lack}\n        {comment}{handle}: {{ secret: NAME, key: KEY }}\n"
            ));
        }
    }
    if !manifest.parameters.is_empty() {
        text.push_str("      parameters:\n");
        for (name, parameter) in &manifest.parameters {
            let line = match &parameter.default {
                Some(default) => format!(
                    "        # {name}: {}   # {}\n",
                    as_written(default),
                    parameter.summary
                ),
                None => format!("        {name}: VALUE   # {}\n", parameter.summary),
            };
            text.push_str(&line);
        }
    }
    text
}
