//! Databases that no pod of the application runs: by a pod that has the client programs and no
//! server, with credentials from a Secret.

use e2e::Site;
use e2e::servers::DATABASE_CLIENT;

const PASSWORD: &str = "outside Pass'word\\ \"1";

/// The Secret as a site has it for an external database.
const SECRET: &str = r#"apiVersion: v1
kind: Secret
metadata: { name: system-database, namespace: 3scale }
stringData:
  DB_USER: outsider
  DB_PASSWORD: 'outside Pass''word\ "1'
  DB_HOST: SERVER
"#;

const TARGETS: &str =
    "targets: { server: { workload: deployment/database-client, container: client } }";

fn with_client(server: &str) -> Site {
    let site = Site::with(&[server]);
    site.apply(&SECRET.replace("SERVER", server));
    site.apply(DATABASE_CLIENT);
    site.wait_available();
    site
}

#[track_caller]
fn check_no_password_was_written(site: &Site) {
    let mut folders = vec![site.path("state")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read(&path).expect("read");
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains("outside Pass"), "in {}", path.display());
        }
    }
    assert!(files > 0, "nothing was written at all");
}

#[test]
fn an_external_postgresql_is_kept_and_restored_by_a_client_pod() {
    let site = with_client("zync-database");
    let server = |statement: &str| {
        site.kubectl(&[
            "exec",
            "deployment/zync-database",
            "-c",
            "postgresql",
            "--",
            "psql",
            "-U",
            "postgres",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "zync_production",
            "-c",
            statement,
        ])
    };
    let quoted = PASSWORD.replace('\'', "''");
    server(&format!("CREATE ROLE outsider LOGIN PASSWORD '{quoted}'"));
    server("ALTER DATABASE zync_production OWNER TO outsider");
    server(
        "SET ROLE outsider; CREATE SCHEMA shop; CREATE TABLE shop.orders AS SELECT i AS id, md5(i::text) AS note FROM generate_series(1, 2000) AS i",
    );
    let proof = || server("SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM shop.orders AS o");
    let before = proof();

    site.prepare(&format!(
        "    - name: system-database
      module: {{ name: postgresql }}
      {TARGETS}
      secrets:
        password: {{ secret: system-database, key: DB_PASSWORD }}
        user: {{ secret: system-database, key: DB_USER }}
        host: {{ secret: system-database, key: DB_HOST }}
      parameters: {{ scope: database, database: zync_production, user: \"\", sessions-deadline: 20s }}
"
    ));
    let _kept = site.report(&["backup"]).exits(0);
    server("DELETE FROM shop.orders WHERE id % 2 = 0");
    let restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    let _unsaid = restored.never_says("outside Pass");
    assert_eq!(proof(), before);
    check_no_password_was_written(&site);

    // The wrong password is the server's to refuse, in its own words.
    server("ALTER ROLE outsider PASSWORD 'another'");
    let refused = site.cofferdam(&["backup"]).exits(1);
    let _said = refused.says("password authentication failed for user \"outsider\"");
}

#[test]
fn an_external_mysql_is_kept_and_restored_by_a_client_pod() {
    let site = with_client("system-mysql");
    let server = |statement: &str| {
        site.kubectl_fed(
            &["exec", "-i", "deployment/system-mysql", "-c", "system-mysql", "--", "sh", "-c",
              "MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysql -uroot -hlocalhost --batch --skip-column-names system"],
            statement,
        )
    };
    let quoted = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    server(&format!(
        "CREATE USER outsider@'%' IDENTIFIED BY '{quoted}'; GRANT ALL ON system.* TO outsider@'%'; GRANT SELECT ON mysql.* TO outsider@'%';"
    ));
    server(
        "CREATE TABLE orders (id INT PRIMARY KEY, note TEXT); INSERT INTO orders SELECT seq, MD5(seq) FROM seq_1_to_2000; CREATE DEFINER=outsider@'%' VIEW notes AS SELECT note FROM orders;",
    );
    let proof = || server("CHECKSUM TABLE orders; SELECT COUNT(*) FROM notes;");
    let before = proof();

    site.prepare(&format!(
        "    - name: system-database
      module: {{ name: mysql }}
      {TARGETS}
      secrets: {{ password: {{ secret: system-database, key: DB_PASSWORD }} }}
      parameters: {{ database: system, user: outsider, host: system-mysql }}
"
    ));
    let _kept = site.report(&["backup"]).exits(0);
    server("DELETE FROM orders WHERE id % 2 = 0;");
    let restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    let _unsaid = restored.never_says("outside Pass");
    assert_eq!(proof(), before);
    check_no_password_was_written(&site);
}
