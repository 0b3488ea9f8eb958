//! `cofferdam modules`: what is installed, what it can ever do, and how one is made.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cofferdam_engine::manifest::Setting;
use cofferdam_engine::{Capability, Module, pack};
use cofferdam_policy::name::ObjectName;
use cofferdam_policy::request::Value;
use cofferdam_runs::application::ModuleReference;
use serde::Serialize;
use serde_json::json;

use crate::arguments::Modules;
use crate::output::{bytes, clean, show, table};
use crate::report::{Exit, Usage};
use crate::settings::Settings;
use crate::site;

pub(super) fn run(settings: &Settings, modules: &Modules) -> Result<Exit> {
    match modules {
        Modules::List => list(settings),
        Modules::Inspect { module } => inspect(settings, module),
        Modules::Pack { wasm, manifest, to } => pack_file(settings, wasm, manifest, to),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// Why this host cannot use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

fn list(settings: &Settings) -> Result<Exit> {
    let found = site::modules(settings)?.all()?;
    let listed: Vec<Listed> = found
        .into_iter()
        .map(|(file, loaded)| match loaded {
            Ok(module) => Listed {
                file,
                name: Some(module.manifest().name.to_string()),
                version: Some(module.manifest().version.clone()),
                digest: Some(module.digest().to_owned()),
                summary: Some(module.manifest().summary.clone()),
                problem: None,
            },
            Err(error) => {
                let problem = anyhow::Error::new(error);
                Listed {
                    file,
                    name: None,
                    version: None,
                    digest: None,
                    summary: None,
                    problem: Some(format!("{problem:#}")),
                }
            }
        })
        .collect();
    show(settings.format, &listed, |listed| {
        let rows = listed.iter().map(|one| {
            let digest: String = one
                .digest
                .as_deref()
                .unwrap_or_default()
                .chars()
                .take(19)
                .collect();
            let about = one
                .problem
                .clone()
                .or_else(|| one.summary.clone())
                .unwrap_or_default();
            let name = one
                .name
                .clone()
                .unwrap_or_else(|| one.file.display().to_string());
            vec![name, one.version.clone().unwrap_or_default(), digest, about]
        });
        table(&["MODULE", "VERSION", "DIGEST", ""], rows, &[])
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspected {
    name: String,
    version: String,
    summary: String,
    digest: String,
    bytes: u64,
    imports: Vec<String>,
    targets: Vec<(String, String)>,
    parameters: Vec<ParameterRow>,
    secrets: Vec<(String, String)>,
    capabilities: Vec<Capability>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ParameterRow {
    name: String,
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
}

fn inspect(settings: &Settings, name: &str) -> Result<Exit> {
    let module = find(settings, name)?;
    let manifest = module.manifest();
    let inspected = Inspected {
        name: manifest.name.to_string(),
        version: manifest.version.clone(),
        summary: manifest.summary.clone(),
        digest: module.digest().to_owned(),
        bytes: module.size(),
        imports: module.imports().to_vec(),
        targets: manifest
            .targets
            .iter()
            .map(|(role, summary)| {
                let may_lack = if manifest.optional_targets.contains(role) {
                    " (may be left unbound)"
                } else {
                    ""
                };
                (role.to_string(), format!("{summary}{may_lack}"))
            })
            .collect(),
        parameters: manifest
            .parameters
            .iter()
            .map(|(name, parameter)| ParameterRow {
                name: name.to_string(),
                summary: parameter.summary.clone(),
                default: parameter.default.as_ref().map(as_written),
            })
            .collect(),
        secrets: manifest
            .secrets
            .iter()
            .map(|(handle, summary)| {
                let may_lack = if manifest.optional_secrets.contains(handle) {
                    " (may be left unbound)"
                } else {
                    ""
                };
                (handle.to_string(), format!("{summary}{may_lack}"))
            })
            .collect(),
        capabilities: manifest.capabilities(),
    };
    show(settings.format, &inspected, text)?;
    Ok(Exit::Done)
}

/// A value as an application file has it: durations as people write them, lists as YAML.
pub(super) fn as_written(setting: &Setting) -> String {
    match setting {
        Setting::Value(Value::Duration(duration)) => jiff::SignedDuration::try_from(*duration)
            .map_or_else(|_| setting.to_string(), |signed| format!("{signed:#}")),
        // Without quotes, no text is nothing.
        Setting::Value(Value::Text(text)) if text.is_empty() => "\"\"".to_owned(),
        Setting::Value(_) => setting.to_string(),
        Setting::ObjectNames(names) => {
            let names: Vec<&str> = names.iter().map(ObjectName::as_str).collect();
            format!("[{}]", names.join(", "))
        }
    }
}

fn find(settings: &Settings, name: &str) -> Result<Module> {
    let path = Path::new(name);
    if path
        .extension()
        .is_some_and(|extension| extension == "wasm")
    {
        return Ok(site::engine(settings)?.load(path)?);
    }
    let name = name.parse().map_err(|error| {
        Usage::hint(
            anyhow::Error::new(error),
            "name an installed module or a `.wasm` file",
        )
    })?;
    Ok(site::modules(settings)?.find(&ModuleReference {
        name,
        version: None,
        digest: None,
    })?)
}

fn text(module: &Inspected) -> String {
    let mut text = format!(
        "{} {}: {}\ndigest  {}\nsize    {}\n\nimports\n",
        module.name,
        module.version,
        clean(&module.summary),
        module.digest,
        bytes(module.bytes)
    );
    for import in &module.imports {
        text.push_str(&format!("  {}\n", clean(import)));
    }
    let mut section = |title: &str, rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            let lines = table(&[], rows, &[]);
            text.push_str(&format!("\n{title}\n"));
            for line in lines.lines() {
                text.push_str(&format!("  {}\n", line.trim_end()));
            }
        }
    };
    let pairs = |pairs: &[(String, String)]| {
        pairs
            .iter()
            .map(|(name, about)| vec![name.clone(), about.clone()])
            .collect()
    };
    section("targets, bound by the site", pairs(&module.targets));
    section(
        "secrets, bound by the site; their values never reach the module",
        pairs(&module.secrets),
    );
    let parameters = module.parameters.iter().map(|one| {
        let default = one.default.as_ref().map_or_else(
            || "must be set".to_owned(),
            |default| format!("default {default}"),
        );
        vec![one.name.clone(), default, one.summary.clone()]
    });
    section("parameters", parameters.collect());
    let capabilities = module.capabilities.iter().map(|one| {
        let warning = one
            .warning
            .as_ref()
            .map(|warning| format!("  LOOK: {warning}"))
            .unwrap_or_default();
        vec![
            one.action.to_owned(),
            one.name.clone(),
            format!("{}{warning}", one.text),
        ]
    });
    section("everything it can ever ask for", capabilities.collect());
    text
}

fn pack_file(settings: &Settings, wasm: &Path, manifest: &Path, to: &Path) -> Result<Exit> {
    let bytes = fs_err::read(wasm)?;
    let text = fs_err::read_to_string(manifest)?;
    let packed = pack(&bytes, &text).with_context(|| {
        format!(
            "failed to pack `{}` with `{}`",
            wasm.display(),
            manifest.display()
        )
    })?;
    // Loaded once as a user would: a module that this host would refuse is not written.
    let loaded = cofferdam_engine::Engine::new(cofferdam_engine::EngineOptions::default())?
        .load_bytes(&to.display().to_string(), &packed)?;
    fs_err::write(to, &packed)?;
    let document = json!({ "module": loaded.manifest().name, "version": loaded.manifest().version, "digest": loaded.digest(), "bytes": packed.len() });
    show(settings.format, &document, |_| {
        format!(
            "wrote `{}`: {} {} {}",
            to.display(),
            loaded.manifest().name,
            loaded.manifest().version,
            loaded.digest()
        )
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_shown_so_that_it_can_be_written() {
        let duration =
            |seconds| Setting::Value(Value::Duration(std::time::Duration::from_secs(seconds)));
        assert_eq!(as_written(&duration(1800)), "30m");
        assert_eq!(as_written(&duration(5400)), "1h 30m");
        assert_eq!(as_written(&Setting::Value(Value::Integer(6379))), "6379");
        let names = ["a", "b"].map(|name| name.parse().expect("a name"));
        assert_eq!(as_written(&Setting::ObjectNames(names.into())), "[a, b]");
        assert_eq!(as_written(&Setting::ObjectNames(Vec::new())), "[]");
    }
}
