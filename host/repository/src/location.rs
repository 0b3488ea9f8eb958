//! Where a repository lies, and the object store behind it.
//!
//! Keys of the store come in from the caller and must never show in `Debug`, `Display` or an error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use crate::error::{Error, Result};
use crate::names::shown;

/// Where a repository lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine, or of a file system mounted on it.
    Folder(PathBuf),
    /// A prefix in a bucket of S3 or of a store that speaks its protocol.
    S3(S3Location),
}

/// A prefix in a bucket, with what is needed to get there.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// The folder-like prefix within the bucket; empty for the whole bucket.
    pub prefix: String,
    /// Settings under their usual names, such as `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`.
    ///
    /// Names that the store does not know are ignored; values are never shown.
    pub settings: BTreeMap<String, String>,
}

impl fmt::Debug for S3Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Location")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(formatter, "{}", folder.display()),
            Self::S3(S3Location { bucket, prefix, .. }) if prefix.is_empty() => {
                write!(formatter, "s3://{bucket}")
            }
            Self::S3(S3Location { bucket, prefix, .. }) => {
                write!(formatter, "s3://{bucket}/{prefix}")
            }
        }
    }
}

impl Location {
    /// Reads `/path`, `./path`, `path` or `s3://bucket/prefix`.
    ///
    /// `environment` is the environment of the process, of which the `AWS_*` variables are kept for S3.
    ///
    /// # Errors
    /// [`Error::Location`] if the text is empty, names another scheme, or lacks a bucket.
    pub fn parse(text: &str, environment: &BTreeMap<String, String>) -> Result<Self> {
        let refuse = |reason: &str| {
            Err(Error::Location {
                text: shown(text),
                reason: reason.to_owned(),
            })
        };
        if text.trim().is_empty() {
            return refuse("it is empty");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(PathBuf::from(text)));
        };
        if scheme != "s3" {
            return refuse("only folders and `s3://bucket/prefix` are known");
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return refuse("the bucket is missing");
        }
        let prefix = prefix.trim_matches('/').to_owned();
        if let Err(source) = Path::parse(&prefix) {
            return refuse(&source.to_string());
        }
        let settings = environment
            .iter()
            .filter(|(name, _)| name.starts_with("AWS_"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Ok(Self::S3(S3Location {
            bucket: bucket.to_owned(),
            prefix,
            settings,
        }))
    }

    /// The store behind. A folder must exist.
    pub(crate) fn store(&self) -> Result<Arc<dyn ObjectStore>> {
        match self {
            Self::Folder(folder) => {
                let store = LocalFileSystem::new_with_prefix(folder).map_err(Error::store(
                    format!("open the folder `{}`", folder.display()),
                ))?;
                // A snapshot that is reported as written must survive a loss of power.
                Ok(Arc::new(store.with_fsync(true)))
            }
            Self::S3(place) => place.store(),
        }
    }
}

impl S3Location {
    fn store(&self) -> Result<Arc<dyn ObjectStore>> {
        // One provider for the whole process; that it was installed before is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::new();
        for (name, value) in &self.settings {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                // An endpoint with `http://` was asked for in so many words.
                if key == AmazonS3ConfigKey::Endpoint && value.starts_with("http://") {
                    builder = builder.with_allow_http(true);
                }
                builder = builder.with_config(key, value);
            }
        }
        let store = builder
            .with_bucket_name(&self.bucket)
            .build()
            .map_err(Error::store(format!("set up the bucket `{}`", self.bucket)))?;
        if self.prefix.is_empty() {
            Ok(Arc::new(store))
        } else {
            Ok(Arc::new(PrefixStore::new(store, self.prefix.as_str())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match Location::parse(text, &BTreeMap::new()) {
            Ok(Location::Folder(folder)) => format!("folder {}", folder.display()),
            Ok(Location::S3(place)) => format!("bucket {} prefix {}", place.bucket, place.prefix),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn locations_are_read_as_people_write_them() {
        check("/srv/backup", "folder /srv/backup");
        check("backup", "folder backup");
        check(
            "s3://bucket/some/prefix/",
            "bucket bucket prefix some/prefix",
        );
        check("s3://bucket", "bucket bucket prefix ");
        check(
            "s3:///x",
            "`s3:///x` is no location of a repository: the bucket is missing",
        );
        check(
            "sftp://host/x",
            "`sftp://host/x` is no location of a repository: only folders and `s3://bucket/prefix` are known",
        );
        check("", "`` is no location of a repository: it is empty");
    }

    #[test]
    fn access_keys_show_neither_in_debug_nor_in_display() {
        let environment = BTreeMap::from([
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
        ]);
        let location = Location::parse("s3://bucket/prefix", &environment).unwrap();
        assert!(!format!("{location:?} {location}").contains("hunter2"));
        assert!(!format!("{location:?}").contains("HOME"));
    }
}
