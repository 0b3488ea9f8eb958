//! Which files of a folder belong to which data set, before any is opened.
//!
//! Must never take one file for two data sets, nor guess where two places could be meant.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_policy::name::{DataSetName, GroupName, ObjectName, PathName};

use super::ManualError;
use super::folder::Folder;
use super::names::{FOLDER_PATH, Form, OBJECTS, dump_file, object_file, server};
use crate::plan::{Prepared, PreparedDataSet};

/// The files of one data set.
pub(super) enum Files {
    /// One dump.
    Dump { form: Form, file: String },
    /// Some of the objects.
    Objects(Vec<Group>),
    /// A folder, by its way from the folder of the files: one name or two.
    Tree { place: Vec<String> },
}

/// The files of one half of the objects.
pub(super) struct Group {
    pub(super) artifact: &'static str,
    pub(super) kind: &'static str,
    pub(super) files: Vec<(ObjectName, String)>,
    pub(super) missing: Vec<String>,
}

/// What there is to take over.
#[derive(Default)]
pub(super) struct Sources {
    /// The files of each data set.
    pub(super) files: BTreeMap<DataSetName, Files>,
    /// The data sets that have none.
    pub(super) missing: Vec<DataSetName>,
    /// What is amiss and no reason to stop.
    pub(super) warnings: Vec<String>,
    /// What was looked for, for who looks in a wrong place.
    expected: Vec<String>,
}

impl Sources {
    /// Finds the files of the prepared data sets.
    ///
    /// # Errors
    /// [`ManualError::NothingThere`], [`ManualError::SameFile`], and [`ManualError::Refused`] for a folder that
    /// could be meant in two ways.
    pub(super) fn find(prepared: &Prepared, folder: &Folder) -> Result<Self, ManualError> {
        let mut found = Self::default();
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let mut read = BTreeSet::new();
        for data_set in &prepared.data_sets {
            let name = &data_set.data_set.name;
            let Some(files) = found.of(data_set, folder)? else {
                found.missing.push(name.clone());
                continue;
            };
            for file in files.names() {
                if let Some(first) = owners.insert(file.to_owned(), name.to_string()) {
                    return Err(ManualError::SameFile {
                        file: file.to_owned(),
                        first,
                        second: name.to_string(),
                    });
                }
                read.insert(file.to_owned());
            }
            found.files.insert(name.clone(), files);
        }
        if found.files.is_empty() {
            return Err(ManualError::NothingThere {
                folder: folder.path().to_owned(),
                expected: found.expected,
            });
        }
        found.warnings.extend(folder.unread(&read));
        Ok(found)
    }

    fn of(
        &mut self,
        data_set: &PreparedDataSet,
        folder: &Folder,
    ) -> Result<Option<Files>, ManualError> {
        let name = &data_set.data_set.name;
        let module = data_set.module.manifest().name.as_str();
        let Some(form) = Form::of_module(module) else {
            self.warnings.push(format!(
                "data set `{name}`: files of module `{module}` cannot be imported"
            ));
            return Ok(None);
        };
        let workload = server(&data_set.data_set.targets).map(|one| one.workload.name.as_str());
        let files = match (form, dump_file(form, workload, name.as_str())) {
            (Form::Folder, _) => self.tree(data_set, folder)?,
            (_, Some(file)) => {
                self.expected.push(format!("`{file}`"));
                folder.has(&file).then_some(Files::Dump { form, file })
            }
            (_, None) => self.objects(data_set, folder).map(Files::Objects),
        };
        if files.is_none() {
            self.warnings
                .push(format!("data set `{name}`: no file of it is there"));
        }
        Ok(files)
    }

    /// The folder of a data set: of its own name, or of the name that it has in the pod. `oc rsync` brings the folder
    /// itself along, so that it may be the only thing in the first.
    fn tree(
        &mut self,
        data_set: &PreparedDataSet,
        folder: &Folder,
    ) -> Result<Option<Files>, ManualError> {
        let own = data_set.data_set.name.to_string();
        let inner = name_in_pod(data_set);
        let mut names = vec![own.clone()];
        names.extend(inner.clone().filter(|inner| *inner != own));
        self.expected
            .extend(names.iter().map(|name| format!("`{name}/`")));
        // Under the name in the pod there may be something else; under the data set's there may not.
        names.retain(|name| folder.has(name) && (*name == own || folder.is_folder(name)));
        match names.as_slice() {
            [] => Ok(None),
            [name] => {
                let mut place = vec![name.clone()];
                place.extend(inner.filter(|inner| folder.has_only_folder(name, inner)));
                Ok(Some(Files::Tree { place }))
            }
            several => Err(ManualError::Refused {
                problems: vec![format!(
                    "`{}/` could each be data set `{own}`: leave only one of them there",
                    several.join("/` and `")
                )],
            }),
        }
    }

    /// The objects of a data set that have a file, by the names that its parameters give.
    fn objects(&mut self, data_set: &PreparedDataSet, folder: &Folder) -> Option<Vec<Group>> {
        let names = |group: &str| {
            let group = GroupName::parse(group).expect("a literal that is a name");
            data_set.binding.object_names(&group)
        };
        let mut groups = Vec::new();
        for (artifact, group, kind) in OBJECTS {
            let others = OBJECTS.iter().filter(|(other, _, _)| *other != artifact);
            let others: Vec<&ObjectName> = others.flat_map(|(_, other, _)| names(other)).collect();
            let (mut files, mut missing) = (Vec::new(), Vec::new());
            for name in names(group) {
                let file = object_file(kind, name.as_str(), others.contains(&name));
                if folder.has(&file) {
                    files.push((name.clone(), file));
                } else {
                    self.warnings.push(format!(
                        "`{file}` is not there, so {kind}/{name} is not in the snapshot"
                    ));
                    self.expected.push(format!("`{file}`"));
                    missing.push(name.to_string());
                }
            }
            if !files.is_empty() {
                groups.push(Group {
                    artifact,
                    kind,
                    files,
                    missing,
                });
            }
        }
        (!groups.is_empty()).then_some(groups)
    }
}

/// How the folder of a data set is called in its pod.
fn name_in_pod(data_set: &PreparedDataSet) -> Option<String> {
    let path = PathName::parse(FOLDER_PATH).expect("a literal that is a name");
    let (_, place) = data_set.binding.path(&path)?;
    let name = place.as_str().rsplit('/').next()?;
    Some(name.to_owned())
}

impl Files {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Dump { file, .. } => vec![file],
            Self::Objects(groups) => groups
                .iter()
                .flat_map(|group| group.files.iter().map(|(_, file)| file.as_str()))
                .collect(),
            Self::Tree { place } => place.first().map(String::as_str).into_iter().collect(),
        }
    }
}
