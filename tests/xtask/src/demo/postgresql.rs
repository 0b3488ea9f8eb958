//! The demo's PostgreSQL data: a few tables as zync has them, their proof and their destruction, with
//! the plain client in the pod.

use anyhow::Context as _;

use crate::kubectl::{Kubectl, Place};
use crate::process;

/// Jobs and what they are about, from numbers alone.
const SEED: &str = "
CREATE TABLE tenants (id bigint PRIMARY KEY, endpoint text NOT NULL, access_token text NOT NULL);
INSERT INTO tenants SELECT n, 'https://tenant-' || n || '.example.com', md5(n::text) FROM generate_series(1, 500) n;
CREATE TABLE que_jobs (id bigserial PRIMARY KEY, tenant bigint REFERENCES tenants, args jsonb NOT NULL, run_at timestamptz NOT NULL);
INSERT INTO que_jobs (tenant, args, run_at) SELECT 1 + n % 500, jsonb_build_object('n', n, 'odd', E'caf\\u00e9 \\\\ \\''), '2024-06-30 12:00:00Z'::timestamptz + n * interval '1 second' FROM generate_series(1, 20000) n;
CREATE INDEX waiting ON que_jobs (run_at) WHERE tenant > 250;
";

/// Everything of the application's own: tables with their columns, rows in the order of their keys, indexes.
const TABLES: &str = "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
const SHAPES: &str = "SELECT table_name, column_name, data_type, column_default, is_nullable FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position;
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1;
";

/// Fills the database.
pub(crate) fn seed(kubectl: &Kubectl, place: &Place, database: &str) -> anyhow::Result<()> {
    client(kubectl, place, database, SEED)
        .context("failed to seed PostgreSQL")
        .map(drop)
}

/// A digest of everything in the database; `empty` when there is no table.
pub(crate) fn proof(kubectl: &Kubectl, place: &Place, database: &str) -> anyhow::Result<String> {
    let tables = client(kubectl, place, database, TABLES)?;
    let tables = String::from_utf8(tables).context("psql names tables in UTF-8")?;
    if tables.trim().is_empty() {
        return Ok("empty".to_owned());
    }
    let mut questions = SHAPES.to_owned();
    for table in tables.lines() {
        questions.push_str(&format!(
            "COPY (SELECT * FROM {table} ORDER BY 1) TO STDOUT;\n"
        ));
    }
    let answers = client(kubectl, place, database, &questions)?;
    Ok(process::digest(answers.as_slice())?.0)
}

/// Destroys the tables, as an administrator's slip would.
pub(crate) fn destroy(kubectl: &Kubectl, place: &Place, database: &str) -> anyhow::Result<()> {
    let slip = "DROP SCHEMA public CASCADE; CREATE SCHEMA public;";
    client(kubectl, place, database, slip).map(drop)
}

fn client(kubectl: &Kubectl, place: &Place, database: &str, sql: &str) -> anyhow::Result<Vec<u8>> {
    let words = [
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--set=ON_ERROR_STOP=1",
        "--username=postgres",
        database,
    ];
    kubectl.exec(place, &words, sql.as_bytes())
}
