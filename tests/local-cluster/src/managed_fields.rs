//! `metadata.managedFields`: who owns which field after an update. The entries are data like any
//! other; nothing here refuses a change.

use serde_json::{Value, json};

use crate::document;
use crate::fields::{self, Counting, FieldSet};

/// Who makes a change, as `managedFields` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) api_version: String,
    /// `status`, `scale` or empty.
    pub(crate) subresource: String,
    /// Whether the kind is custom, whose lists are single values.
    pub(crate) custom: bool,
}

/// How a manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn as_text(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: String,
    pub(crate) fields: FieldSet,
}

impl Entry {
    /// An entry without fields.
    pub(crate) fn new(manager: &Manager, operation: Operation) -> Self {
        Self {
            manager: manager.name.clone(),
            operation,
            api_version: manager.api_version.clone(),
            subresource: manager.subresource.clone(),
            time: document::now(),
            fields: FieldSet::new(),
        }
    }

    /// Whether this entry is the manager's own for an operation.
    pub(crate) fn belongs_to(&self, manager: &Manager, operation: Operation) -> bool {
        self.manager == manager.name
            && self.operation == operation
            && self.subresource == manager.subresource
    }

    /// The owner as a conflict names it.
    pub(crate) fn described(&self) -> String {
        let mut text = format!("\"{}\"", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource \"{}\"", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// The entries of an object.
pub(crate) fn read(object: &Value) -> Vec<Entry> {
    document::items(object, "/metadata/managedFields")
        .iter()
        .map(|entry| Entry {
            manager: document::text(entry, "/manager").to_owned(),
            operation: match document::text(entry, "/operation") {
                "Apply" => Operation::Apply,
                _ => Operation::Update,
            },
            api_version: document::text(entry, "/apiVersion").to_owned(),
            subresource: document::text(entry, "/subresource").to_owned(),
            time: document::text(entry, "/time").to_owned(),
            fields: entry
                .get("fieldsV1")
                .map(fields::from_fields_v1)
                .unwrap_or_default(),
        })
        .collect()
}

/// Writes the entries; those that own nothing are left out.
pub(crate) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|one, two| {
        (one.operation.as_text(), &one.time, &one.manager).cmp(&(
            two.operation.as_text(),
            &two.time,
            &two.manager,
        ))
    });
    if entries.is_empty() {
        document::remove(object, "/metadata/managedFields");
        return;
    }
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            let mut value = json!({
                "manager": entry.manager,
                "operation": entry.operation.as_text(),
                "apiVersion": entry.api_version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields::to_fields_v1(&entry.fields),
            });
            if !entry.subresource.is_empty() {
                document::set(&mut value, "/subresource", json!(entry.subresource));
            }
            value
        })
        .collect();
    document::set(object, "/metadata/managedFields", json!(entries));
}

/// Records an update: the manager owns what it changed, and nobody owns what is gone. The entries
/// to start from are those that the object carries.
pub(crate) fn track_update(previous: Option<&Value>, object: &mut Value, manager: &Manager) {
    let collect = |value: &Value| fields::collect(value, Counting::Updated, !manager.custom);
    let old = previous.map(collect).unwrap_or_default();
    let new = collect(object);
    let changed: FieldSet = new
        .iter()
        .filter(|(path, value)| old.get(*path) != Some(*value))
        .map(|(path, _)| path.clone())
        .collect();
    let gone: FieldSet = old
        .keys()
        .filter(|path| !new.contains_key(*path))
        .cloned()
        .collect();
    let mut entries = read(object);
    if !changed.is_empty() || !gone.is_empty() {
        for entry in &mut entries {
            entry
                .fields
                .retain(|path| !gone.contains(path) && !changed.contains(path));
        }
    }
    if !changed.is_empty() {
        let own = entries
            .iter_mut()
            .find(|entry| entry.belongs_to(manager, Operation::Update));
        if let Some(own) = own {
            own.fields.extend(changed);
            own.time = document::now();
        } else {
            let mut entry = Entry::new(manager, Operation::Update);
            entry.fields = changed;
            entries.push(entry);
        }
    }
    write(object, entries);
}
