//! The demo's application: its objects from the YAML beside the local cluster, the data sets from the
//! application file that the product wrote, and for each what a person would do by hand.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use fs_err as fs;
use serde_json::Value;

use super::{files as folder_of_files, mysql, objects, postgresql, redis};
use crate::kubectl::{Kubectl, Place};

/// The objects of the databases and of what uses them, below the checkout.
pub(crate) const DATABASES: &str = "tests/local-cluster/demo";

/// The other workloads of release 2.15.
const OTHERS: &str = "tests/local-cluster/eras/b/50-others.yaml";

/// The namespace of the demo's YAML.
pub(crate) const NAMESPACE: &str = "3scale";

/// The application file, in the folder that the product is called in.
pub(super) const FILE: &str = "cofferdam.yaml";

/// Enough keys to be seen in the table and few enough to be written in a moment.
const REDIS_KEYS: u32 = 20_000;

/// One data set and how its content is seen from outside.
#[derive(Debug)]
pub(super) struct DataSet {
    /// Its name in the application file.
    pub(super) name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Mysql { place: Place, database: String },
    Postgresql { place: Place, database: String },
    Redis { place: Place },
    Files { place: Place, folder: String },
    Objects { names: Vec<String> },
}

/// The YAML files of the application, in the order in which they are applied.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// All of 3scale as release 2.15 installs it: the databases with what uses them, and the others.
pub(crate) fn whole(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = files(&root.join(DATABASES))?;
    files.push(root.join(OTHERS));
    Ok(files)
}

/// Creates the application's objects and returns the names of its Secrets and ConfigMaps.
pub(crate) fn apply(
    kubectl: &Kubectl,
    files: &[PathBuf],
    image: &str,
) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for file in files {
        let yaml = fs::read_to_string(file)?.replace("${COFFERDAM_TEST_IMAGE}", image);
        kubectl.apply(&yaml)?;
        names.extend(
            kept_objects(&yaml).with_context(|| format!("failed to read `{}`", file.display()))?,
        );
    }
    Ok(names)
}

/// Waits until every workload of the application is up.
pub(crate) fn wait(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.run(&[
        "wait",
        "--for=condition=Available",
        "deployment",
        "--all",
        "--timeout=180s",
    ])
}

/// The data sets of an application file that hold something.
pub(super) fn data_sets(yaml: &str, objects: &[String]) -> anyhow::Result<Vec<DataSet>> {
    let application: Value =
        serde_norway::from_str(yaml).context("the application file is not YAML")?;
    let list = application
        .pointer("/spec/dataSets")
        .and_then(Value::as_array);
    let list = list.context("the application file has no data sets")?;
    let read = list.iter().map(|entry| data_set(entry, objects));
    read.filter_map(Result::transpose).collect()
}

fn data_set(entry: &Value, objects: &[String]) -> anyhow::Result<Option<DataSet>> {
    let text = |pointer: &str| {
        entry
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let name = text("/name").context("a data set has no name")?;
    let place = || -> anyhow::Result<Place> {
        Ok(Place {
            workload: text("/targets/server/workload")
                .with_context(|| format!("`{name}` names no workload"))?,
            container: text("/targets/server/container")
                .with_context(|| format!("`{name}` names no container"))?,
        })
    };
    let content = match text("/module/name").unwrap_or_default().as_str() {
        "mysql" => Content::Mysql {
            place: place()?,
            database: text("/parameters/database").unwrap_or_else(|| "system".to_owned()),
        },
        "postgresql" => Content::Postgresql {
            place: place()?,
            database: text("/parameters/database")
                .with_context(|| format!("`{name}` names no database"))?,
        },
        "redis" => Content::Redis { place: place()? },
        "files" => Content::Files {
            place: place()?,
            folder: text("/parameters/folder")
                .with_context(|| format!("`{name}` names no folder"))?,
        },
        "kube-objects" => Content::Objects {
            names: objects.to_vec(),
        },
        // They act in a restore and hold nothing.
        "rollout" | "rake" | "quiesce" => return Ok(None),
        other => bail!("the demo has no proof for the module `{other}` of `{name}`"),
    };
    Ok(Some(DataSet { name, content }))
}

impl DataSet {
    /// Fills the data set with the demo's content.
    pub(super) fn seed(&self, kubectl: &Kubectl) -> anyhow::Result<()> {
        match &self.content {
            Content::Mysql { place, database } => mysql::seed(kubectl, place, database),
            Content::Postgresql { place, database } => postgresql::seed(kubectl, place, database),
            Content::Redis { place } => redis::seed(kubectl, place, REDIS_KEYS),
            Content::Files { place, folder } => folder_of_files::seed(kubectl, place, folder),
            // They came with the application.
            Content::Objects { .. } => Ok(()),
        }
    }

    /// A digest of the content as plain clients see it; `empty` when there is none.
    pub(super) fn proof(&self, kubectl: &Kubectl) -> anyhow::Result<String> {
        match &self.content {
            Content::Mysql { place, database } => mysql::proof(kubectl, place, database),
            Content::Postgresql { place, database } => postgresql::proof(kubectl, place, database),
            Content::Redis { place } => redis::proof(kubectl, place),
            Content::Files { place, folder } => folder_of_files::proof(kubectl, place, folder),
            Content::Objects { names } => objects::proof(kubectl, names),
        }
    }

    /// Destroys the content.
    pub(super) fn destroy(&self, kubectl: &Kubectl) -> anyhow::Result<()> {
        match &self.content {
            Content::Mysql { place, database } => mysql::destroy(kubectl, place, database),
            Content::Postgresql { place, database } => {
                postgresql::destroy(kubectl, place, database)
            }
            Content::Redis { place } => redis::destroy(kubectl, place),
            Content::Files { place, folder } => folder_of_files::destroy(kubectl, place, folder),
            Content::Objects { names } => objects::destroy(kubectl, names),
        }
    }
}

/// The Secrets and ConfigMaps of a file, named as kubectl names them.
fn kept_objects(yaml: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for document in serde_norway::Deserializer::from_str(yaml) {
        let object: Value = serde::Deserialize::deserialize(document)?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        if let (Some(kind @ ("Secret" | "ConfigMap")), Some(name)) =
            (text("/kind"), text("/metadata/name"))
        {
            names.push(format!("{}/{name}", kind.to_lowercase()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_config_maps_are_found_among_other_objects() {
        let yaml = "kind: Secret\nmetadata: { name: seed }\n---\nkind: Service\nmetadata: { name: s }\n---\nkind: ConfigMap\nmetadata: { name: redis-config }\n";
        assert_eq!(
            kept_objects(yaml).unwrap(),
            ["secret/seed", "configmap/redis-config"]
        );
    }

    #[test]
    fn a_data_set_that_the_demo_cannot_prove_is_refused() {
        let yaml = "spec: { dataSets: [ { name: ledger, module: { name: oracle } } ] }";
        let error = data_sets(yaml, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the demo has no proof for the module `oracle` of `ledger`"
        );
    }

    #[test]
    fn what_only_acts_in_a_restore_holds_nothing() {
        let yaml = "spec: { dataSets: [ { name: last, module: { name: rake } }, { name: objects, module: { name: kube-objects } } ] }";
        let names: Vec<String> = data_sets(yaml, &[])
            .unwrap()
            .into_iter()
            .map(|data_set| data_set.name)
            .collect();
        assert_eq!(names, ["objects"]);
    }
}
