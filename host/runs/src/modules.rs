//! Finding modules: component files in the folders that the site names.
//!
//! A file is found by its name (`NAME.wasm` or `NAME-VERSION.wasm`) and believed by its manifest
//! and digest.

use std::path::{Path, PathBuf};

use cofferdam_engine::{Engine, LoadError, Module};

use crate::application::ModuleReference;

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// No file of that name.
    #[error("there is no module `{name}` in {}", shown(folders))]
    Missing {
        /// The module.
        name: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// Files of that name, but none that the application accepts.
    #[error("no module file fits `{wanted}`: found {found}")]
    Unfit {
        /// Name, version and digest that are wanted.
        wanted: String,
        /// What was found.
        found: String,
    },
    /// A file that is no module for this host.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The file system refused.
    #[error("failed to list the modules in `{}`", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn shown(folders: &[PathBuf]) -> String {
    folders
        .iter()
        .map(|folder| format!("`{}`", folder.display()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A module file: loaded, or with the reason why it cannot be.
pub type Listed = (PathBuf, Result<Module, LoadError>);

/// The modules of a site.
#[derive(Debug, Clone)]
pub struct Modules {
    engine: Engine,
    folders: Vec<PathBuf>,
}

impl Modules {
    /// Modules in `folders`, searched in this order.
    pub fn new(engine: Engine, folders: Vec<PathBuf>) -> Self {
        Self { engine, folders }
    }

    /// Every module file, sorted by name, each loaded or with the reason why it cannot be.
    ///
    /// # Errors
    /// [`ModulesError::List`].
    pub fn all(&self) -> Result<Vec<Listed>, ModulesError> {
        let files = self.files(|_| true)?;
        Ok(files
            .into_iter()
            .map(|path| (path.clone(), self.engine.load(&path)))
            .collect())
    }

    /// The newest module that fits. Blocks while it compiles.
    ///
    /// # Errors
    /// [`ModulesError`].
    pub fn find(&self, reference: &ModuleReference) -> Result<Module, ModulesError> {
        let name = reference.name.as_str();
        let files = self.files(|stem| {
            stem == name
                || stem
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('-'))
        })?;
        let mut found: Vec<Module> = Vec::new();
        for path in &files {
            let module = self.engine.load(path)?;
            if module.manifest().name == reference.name {
                found.push(module);
            }
        }
        if found.is_empty() {
            return Err(ModulesError::Missing {
                name: name.to_owned(),
                folders: self.folders.clone(),
            });
        }
        let describe =
            |module: &Module| format!("{} {}", module.manifest().version, module.digest());
        let seen = found.iter().map(describe).collect::<Vec<_>>().join(", ");
        let fitting = found.into_iter().filter(|module| fits(module, reference));
        fitting
            .max_by_key(|module| version_key(&module.manifest().version))
            .ok_or_else(|| {
                let version = reference.version.as_deref().unwrap_or("any version");
                let digest = reference.digest.as_deref().unwrap_or("any digest");
                ModulesError::Unfit {
                    wanted: format!("{name} {version} {digest}"),
                    found: seen,
                }
            })
    }

    fn files(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, ModulesError> {
        let mut files = Vec::new();
        for folder in &self.folders {
            let failed = |source| ModulesError::List {
                path: folder.clone(),
                source,
            };
            let entries = match std::fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "wasm")
                    && stem(&path).is_some_and(&wanted)
                {
                    files.push(path);
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

fn stem(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()
}

fn fits(module: &Module, reference: &ModuleReference) -> bool {
    let version = reference
        .version
        .as_deref()
        .is_none_or(|wanted| version_fits(&module.manifest().version, wanted));
    version
        && reference
            .digest
            .as_deref()
            .is_none_or(|digest| digest == module.digest())
}

/// Whether `version` is `wanted` or one of its line: `0.1` takes `0.1.7` and not `0.10.0`.
fn version_fits(version: &str, wanted: &str) -> bool {
    version
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

pub(crate) fn version_key(version: &str) -> Vec<u64> {
    version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_takes_its_line_and_no_other() {
        for (version, wanted, fit) in [
            ("0.1.7", "0.1", true),
            ("0.1.7", "0.1.7", true),
            ("0.10.0", "0.1", false),
            ("0.2.0", "0.1", false),
            ("1.0.0", "1", true),
        ] {
            assert_eq!(version_fits(version, wanted), fit, "{version} {wanted}");
        }
        assert!(version_key("0.10.0") > version_key("0.9.9"));
    }

    #[test]
    fn a_missing_module_is_named_with_the_places() {
        let engine = Engine::new(cofferdam_engine::EngineOptions::default()).expect("an engine");
        let modules = Modules::new(engine, vec!["/nowhere".into()]);
        let reference = ModuleReference {
            name: "mysql".parse().expect("a name"),
            version: None,
            digest: None,
        };
        let error = modules.find(&reference).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "there is no module `mysql` in `/nowhere`"
        );
    }
}
