//! `cofferdam repository`: make, check, unlock.

use anyhow::Result;
use cofferdam_repository::{Repository as Opened, Severity};
use serde_json::json;

use crate::arguments::{Key, Repository};
use crate::output::{clean, show, table};
use crate::report::Exit;
use crate::settings::Settings;
use crate::{password, site};

pub(super) async fn run(settings: &Settings, repository: &Repository) -> Result<Exit> {
    match repository {
        Repository::Init => init(settings).await,
        Repository::Check { read_data } => check(settings, *read_data).await,
        Repository::Key(key) => keys(settings, key).await,
        Repository::Locks => locks(settings).await,
    }
}

async fn init(settings: &Settings) -> Result<Exit> {
    let made = Opened::init(&site::location(settings)?, &password::get(settings)?).await?;
    let document = json!({ "repository": made.location(), "id": made.id() });
    show(settings.format, &document, |_| {
        format!(
            "made the repository {}\nkeep its password safe: without it nobody can read what it keeps",
            made.location()
        )
    })?;
    Ok(Exit::Done)
}

async fn check(settings: &Settings, read_data: bool) -> Result<Exit> {
    let report = site::repository(settings).await?.check(read_data).await?;
    let clean_bill = report.is_clean();
    show(settings.format, &report, |report| {
        let mut text = String::new();
        for finding in &report.findings {
            let word = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            text.push_str(&format!("{word}: {}\n", clean(&finding.text)));
        }
        let data = if report.read_data {
            "every byte of data"
        } else {
            "the structure; not the data, which takes --read-data"
        };
        let verdict = if clean_bill { "whole" } else { "damaged" };
        format!(
            "{text}{} snapshots, {verdict}: read {data}",
            report.snapshots
        )
    })?;
    Ok(if clean_bill { Exit::Done } else { Exit::World })
}

async fn keys(settings: &Settings, key: &Key) -> Result<Exit> {
    let repository = site::repository(settings).await?;
    match key {
        Key::List => {
            let keys = repository.keys().await?;
            show(settings.format, &keys, |keys| {
                let rows = keys.iter().map(|key| {
                    let created = key.created.map(|time| time.to_string()).unwrap_or_default();
                    let mark = if key.current { "in use" } else { "" };
                    vec![
                        key.id.to_string(),
                        created,
                        key.user.clone().unwrap_or_default(),
                        key.host.clone().unwrap_or_default(),
                        mark.to_owned(),
                    ]
                });
                table(&["ID", "CREATED", "USER", "HOST", ""], rows, &[])
            })?;
        }
        Key::Add { new_password_file } => {
            let id = repository
                .add_key(&password::from_file(new_password_file)?)
                .await?;
            show(settings.format, &json!({ "added": id }), |_| {
                format!("added key {id}")
            })?;
        }
        Key::Remove { id } => {
            let id = id.parse()?;
            repository.remove_key(&id).await?;
            show(settings.format, &json!({ "removed": id }), |_| {
                format!("removed key {id}")
            })?;
        }
    }
    Ok(Exit::Done)
}

async fn locks(settings: &Settings) -> Result<Exit> {
    let locks = site::repository(settings).await?.locks().await?;
    show(settings.format, &locks, |locks| {
        let rows = locks.iter().map(|lock| {
            let state = if lock.stale { "stale" } else { "held" };
            vec![
                format!("{:?}", lock.kind).to_lowercase(),
                lock.owner.to_string(),
                lock.refreshed.to_string(),
                state.to_owned(),
            ]
        });
        table(&["KIND", "OWNER", "REFRESHED", "STATE"], rows, &[])
    })?;
    Ok(Exit::Done)
}
