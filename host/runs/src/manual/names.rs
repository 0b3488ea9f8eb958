//! Which file of the manual procedure belongs to which data set, and how the stock modules call the
//! same thing in a snapshot.

use std::collections::BTreeMap;

use cofferdam_policy::name::RoleName;
use cofferdam_policy::request::Target;

/// What a file of the manual procedure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A SQL dump of MySQL or MariaDB, compressed.
    MySqlDump,
    /// A SQL dump of PostgreSQL, compressed.
    PostgresDump,
    /// A dump of Redis as the server wrote it.
    RedisDump,
    /// A JSON file for each Secret and ConfigMap.
    Objects,
    /// A folder.
    Folder,
}

/// The role that the stock modules give the server of a data set.
pub(super) const SERVER: &str = "server";
/// The artifact of the module `files`, and its path in the manifest.
pub(super) const TREE: &str = "files";
pub(super) const FOLDER_PATH: &str = "folder";
/// The artifact, the group of the manifest and the kind of each half of the objects.
pub(super) const OBJECTS: [(&str, &str, &str); 2] = [
    ("secrets.json", "secrets", "Secret"),
    ("configmaps.json", "configmaps", "ConfigMap"),
];

impl Form {
    /// The form of what a stock module keeps; `None` for any other module.
    pub(super) fn of_module(name: &str) -> Option<Self> {
        match name {
            "mysql" => Some(Self::MySqlDump),
            "postgresql" => Some(Self::PostgresDump),
            "redis" => Some(Self::RedisDump),
            "kube-objects" => Some(Self::Objects),
            "files" => Some(Self::Folder),
            _ => None,
        }
    }

    /// The one artifact of a dump and its media type, as the module names them.
    pub(super) fn artifact(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::MySqlDump => Some(("dump.sql", "application/sql")),
            Self::PostgresDump => Some(("cluster.sql", "application/sql")),
            Self::RedisDump => Some(("dump.rdb", "application/vnd.redis.rdb")),
            Self::Objects | Self::Folder => None,
        }
    }
}

/// The workload behind a data set's server: of its role, else of its only target.
pub(super) fn server(targets: &BTreeMap<RoleName, Target>) -> Option<&Target> {
    let named = targets
        .iter()
        .find(|(role, _)| role.as_str() == SERVER)
        .map(|(_, target)| target);
    named.or_else(|| match targets.len() {
        1 => targets.values().next(),
        _ => None,
    })
}

/// The file of a dump. Workload names are those of the operator; the manual calls PostgreSQL's
/// `system-database`, and a data set outside 3scale is called as it is called.
pub(super) fn dump_file(form: Form, workload: Option<&str>, data_set: &str) -> Option<String> {
    let known = |name: &str| workload == Some(name) || (workload.is_none() && data_set == name);
    let file = match form {
        Form::MySqlDump if known("system-mysql") || data_set == "system-mysql" => {
            "system-mysql-backup.gz".to_owned()
        }
        Form::PostgresDump if known("system-postgresql") || known("system-database") => {
            "system-postgres-backup.gz".to_owned()
        }
        Form::PostgresDump if known("zync-database") => "zync-database-backup.gz".to_owned(),
        Form::MySqlDump | Form::PostgresDump => format!("{data_set}-backup.gz"),
        Form::RedisDump if known("backend-redis") => "backend-redis-dump.rdb".to_owned(),
        Form::RedisDump if known("system-redis") => "system-redis-dump.rdb".to_owned(),
        Form::RedisDump => format!("{data_set}-dump.rdb"),
        Form::Objects | Form::Folder => return None,
    };
    Some(file)
}

/// The file of an object. Where a Secret and a ConfigMap have one name, the ConfigMap's file says so.
pub(super) fn object_file(kind: &str, name: &str, is_twice: bool) -> String {
    if is_twice && kind == "ConfigMap" {
        format!("configmap-{name}.json")
    } else {
        format!("{name}.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: Form, workload: Option<&str>, data_set: &str, expected: &str) {
        assert_eq!(
            dump_file(form, workload, data_set).as_deref(),
            Some(expected)
        );
    }

    #[test]
    fn the_files_of_3scale_are_called_as_the_manual_calls_them() {
        use Form::{MySqlDump, PostgresDump, RedisDump};
        check(
            MySqlDump,
            Some("system-mysql"),
            "system-database",
            "system-mysql-backup.gz",
        );
        check(
            PostgresDump,
            Some("system-postgresql"),
            "db",
            "system-postgres-backup.gz",
        );
        check(
            PostgresDump,
            Some("system-database"),
            "db",
            "system-postgres-backup.gz",
        );
        check(
            PostgresDump,
            Some("zync-database"),
            "zync",
            "zync-database-backup.gz",
        );
        check(
            RedisDump,
            Some("backend-redis"),
            "backend-redis",
            "backend-redis-dump.rdb",
        );
        check(
            RedisDump,
            Some("system-redis"),
            "jobs",
            "system-redis-dump.rdb",
        );
    }

    #[test]
    fn other_data_sets_have_files_of_their_own_name() {
        check(
            Form::MySqlDump,
            Some("shop-db"),
            "orders",
            "orders-backup.gz",
        );
        check(Form::RedisDump, Some("cache"), "carts", "carts-dump.rdb");
    }

    #[test]
    fn a_secret_and_a_config_map_of_one_name_have_two_files() {
        assert_eq!(object_file("Secret", "system", true), "system.json");
        assert_eq!(
            object_file("ConfigMap", "system", true),
            "configmap-system.json"
        );
        assert_eq!(object_file("ConfigMap", "system", false), "system.json");
    }
}
