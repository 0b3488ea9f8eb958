//! The demo's relational data: a small 3scale-like database, its proof and its destruction, all with
//! the plain client in the pod. Knows nothing of how the product backs it up.

use anyhow::{Context as _, bail};

use crate::kubectl::{Kubectl, Place};
use crate::process;

/// The client reads its password where the server's own image keeps it, never from the command line.
const CLIENT: &str =
    r#"MYSQL_PWD="$MYSQL_ROOT_PASSWORD" exec mysql --user=root --host=localhost "$@""#;

/// Tables, routines, triggers and views as the application has them, and rows by recursion: accounts
/// with odd letters, binary tokens, money, generated columns and a table that holds most of the bytes.
const SEED: &str = include_str!("seed.sql");

/// Fills the database.
pub(super) fn seed(kubectl: &Kubectl, place: &Place, database: &str) -> anyhow::Result<()> {
    client(
        kubectl,
        place,
        &["--default-character-set=utf8mb4", database],
        SEED.as_bytes(),
    )
    .context("failed to seed the relational database")?;
    Ok(())
}

/// A digest of everything in the database: definitions and rows, each table in the order of its key.
pub(super) fn proof(kubectl: &Kubectl, place: &Place, database: &str) -> anyhow::Result<String> {
    let names = client(
        kubectl,
        place,
        &["--skip-column-names", "--batch"],
        listing(database).as_bytes(),
    )?;
    let names = String::from_utf8(names).context("the database names its tables in UTF-8")?;
    let mut questions = String::new();
    for line in names.lines() {
        let (kind, name) = line
            .split_once('\t')
            .with_context(|| format!("the database listed `{line}`"))?;
        match kind {
            "BASE TABLE" => questions.push_str(&format!("SHOW CREATE TABLE `{name}`; SELECT * FROM `{name}` ORDER BY 1, 2;\n")),
            "VIEW" => questions.push_str(&format!("SHOW CREATE VIEW `{name}`;\n")),
            "PROCEDURE" | "FUNCTION" => questions.push_str(&format!(
                "SELECT ROUTINE_NAME, ROUTINE_DEFINITION, SQL_MODE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME = '{name}';\n"
            )),
            "TRIGGER" => questions.push_str(&format!(
                "SELECT TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_TIMING, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME = '{name}';\n"
            )),
            other => bail!("the proof knows no `{other}`"),
        }
    }
    if questions.is_empty() {
        return Ok("empty".to_owned());
    }
    let options = [
        "--batch",
        "--binary-as-hex",
        "--default-character-set=utf8mb4",
        database,
    ];
    let answers = client(kubectl, place, &options, questions.as_bytes())?;
    Ok(process::digest(answers.as_slice())?.0)
}

/// Destroys the database, as an administrator's slip would.
pub(super) fn destroy(kubectl: &Kubectl, place: &Place, database: &str) -> anyhow::Result<()> {
    let slip = format!("DROP DATABASE `{database}`; CREATE DATABASE `{database}`;");
    client(kubectl, place, &[], slip.as_bytes()).map(drop)
}

fn listing(database: &str) -> String {
    format!(
        "SELECT TABLE_TYPE, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{database}' ORDER BY 1, 2;\n\
         SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{database}' ORDER BY 1, 2;\n\
         SELECT 'TRIGGER', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{database}' ORDER BY 2;\n"
    )
}

fn client(
    kubectl: &Kubectl,
    place: &Place,
    options: &[&str],
    input: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let mut words = vec!["sh", "-c", CLIENT, "mysql"];
    words.extend(options);
    kubectl.exec(place, &words, input)
}
