//! A database that uses all that a dump can get wrong: routines, triggers, events, views, character
//! sets, generated columns, binary columns, odd names. Compared by plain clients, before and after.

use e2e::Site;

const DATA_SET: &str = "    - name: system-database
      module: { name: mysql }
      targets: { server: { workload: deployment/system-mysql, container: system-mysql } }
      parameters: { database: system }
";

const MYSQL: &str = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost --default-character-set=utf8mb4 --batch --skip-column-names";

/// Every kind of thing, with values that do not survive a careless quote, a wrong character set or
/// a client that stops at a NUL.
const CONTENTS: &str = r#"
CREATE TABLE accounts (
  id INT PRIMARY KEY AUTO_INCREMENT,
  name VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  old_name VARCHAR(100) CHARACTER SET latin1 COLLATE latin1_swedish_ci,
  legacy VARCHAR(100) CHARACTER SET sjis,
  state ENUM('new','it''s old') NOT NULL DEFAULT 'new',
  flags SET('a','b','c'),
  bits BIT(12),
  price DECIMAL(30,10),
  ratio DOUBLE,
  created DATETIME(6),
  touched TIMESTAMP NULL,
  settings JSON,
  name_length INT GENERATED ALWAYS AS (CHAR_LENGTH(name)) VIRTUAL,
  label VARCHAR(50) GENERATED ALWAYS AS (CONCAT(state, '/')) VIRTUAL,
  price_twice DECIMAL(31,10) AS (price * 2) STORED,
  CONSTRAINT known CHECK (CHAR_LENGTH(name) > 0)
) ENGINE=InnoDB;
INSERT INTO accounts (name, old_name, legacy, state, flags, bits, price, ratio, created, touched, settings) VALUES
  ('Grüße 😀 \\ '' " \n\t\0\Z end', 'Ångström', 'テスト', 'it''s old', 'a,c', b'101010101010', 12345678901234567890.0123456789, 0.1, '2026-02-28 23:59:59.123456', '2026-03-29 02:30:00', '{"key": "välue", "list": [1, null, "\\u0000"]}'),
  ('NULL', NULL, NULL, 'new', '', b'0', -0.0000000001, -1.7976931348623157e308, '1000-01-01 00:00:00', NULL, NULL),
  ('-- not a comment; DROP TABLE accounts; /* ', '', '', 'new', NULL, NULL, NULL, NULL, NULL, NULL, '[]');
INSERT INTO accounts (name, price) SELECT CONCAT('row ', seq), seq / 7 FROM seq_1_to_20000;

CREATE TABLE files (
  id BIGINT UNSIGNED PRIMARY KEY,
  account INT NULL,
  fingerprint BINARY(16),
  part VARBINARY(300),
  content LONGBLOB,
  note TEXT CHARACTER SET utf8mb4,
  UNIQUE KEY by_fingerprint (fingerprint),
  KEY by_part (part(20)),
  CONSTRAINT of_account FOREIGN KEY (account) REFERENCES accounts (id) ON DELETE SET NULL
) ENGINE=InnoDB;
INSERT INTO files SELECT seq, 1 + seq % 100, UNHEX(MD5(seq)), UNHEX(SHA2(seq, 512)), REPEAT(UNHEX(SHA2(seq, 256)), seq % 50), NULL FROM seq_1_to_2000;
SET SESSION group_concat_max_len = 100000;
INSERT INTO files SELECT 18446744073709551615, NULL, NULL, UNHEX(GROUP_CONCAT(LPAD(HEX(seq), 2, '0') ORDER BY seq SEPARATOR '')), UNHEX(CONCAT('00275C221A0D0A00', REPEAT('FF', 2000))), 'every byte' FROM seq_0_to_255;

CREATE TABLE `odd ``name`` of a täble` (`a b` INT PRIMARY KEY, `select` VARCHAR(10) DEFAULT 'x''y') ENGINE=InnoDB;
INSERT INTO `odd ``name`` of a täble` VALUES (1, DEFAULT), (2, '');
CREATE TABLE old_engine (id INT PRIMARY KEY, body TEXT, FULLTEXT KEY words (body)) ENGINE=MyISAM DEFAULT CHARSET=latin1;
INSERT INTO old_engine VALUES (1, 'naïve text'), (2, NULL);
CREATE TABLE by_year (id INT, year_of INT, PRIMARY KEY (id, year_of)) PARTITION BY RANGE (year_of) (PARTITION past VALUES LESS THAN (2020), PARTITION rest VALUES LESS THAN MAXVALUE);
INSERT INTO by_year SELECT seq, 2000 + seq % 40 FROM seq_1_to_500;
CREATE TABLE log (at INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(200)) AUTO_INCREMENT = 5000;
CREATE TABLE nothing_in_it (id INT PRIMARY KEY);

CREATE VIEW expensive AS SELECT id, name, price_twice FROM accounts WHERE price > 100 WITH CHECK OPTION;
CREATE SQL SECURITY INVOKER VIEW of_a_view AS SELECT COUNT(*) AS many FROM expensive;
CREATE FUNCTION greet(who VARCHAR(100) CHARSET utf8mb4) RETURNS VARCHAR(200) CHARSET utf8mb4 DETERMINISTIC RETURN CONCAT('Grüße, ', who, '; \\ "');
DELIMITER //
CREATE PROCEDURE fill_log(IN many INT)
  COMMENT 'it''s commented'
BEGIN
  DECLARE i INT DEFAULT 0;
  -- a comment with ; and '
  WHILE i < many DO
    INSERT INTO log (what) VALUES (CONCAT('entry ', i));
    SET i = i + 1;
  END WHILE;
END//
CREATE TRIGGER noted AFTER UPDATE ON accounts FOR EACH ROW
BEGIN
  IF NEW.name <> OLD.name THEN
    INSERT INTO log (what) VALUES (CONCAT(OLD.id, ' is called ', NEW.name));
  END IF;
END//
CREATE TRIGGER lower_part BEFORE INSERT ON files FOR EACH ROW SET NEW.note = COALESCE(NEW.note, 'by trigger')//
DELIMITER ;
CREATE EVENT clean ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'nightly' DO DELETE FROM log WHERE at < 0;
CALL fill_log(3);
ALTER DATABASE system CHARACTER SET latin1 COLLATE latin1_german1_ci;
"#;

/// What plain clients see: definitions, every value as bytes, the server's own checksums.
const PROOF: &str = r#"
SELECT table_name, table_type, engine, table_collation, auto_increment FROM information_schema.tables WHERE table_schema = 'system' ORDER BY 1;
SELECT table_name, column_name, column_type, is_nullable, column_default, character_set_name, collation_name, extra, generation_expression FROM information_schema.columns WHERE table_schema = 'system' ORDER BY 1, ordinal_position;
SELECT table_name, index_name, seq_in_index, column_name, sub_part, index_type FROM information_schema.statistics WHERE table_schema = 'system' ORDER BY 1, 2, 3;
SELECT constraint_name, table_name, referenced_table_name, delete_rule FROM information_schema.referential_constraints WHERE constraint_schema = 'system' ORDER BY 1;
SELECT table_name, partition_name, partition_description FROM information_schema.partitions WHERE table_schema = 'system' ORDER BY 1, 2;
SELECT table_name, view_definition, check_option, security_type, definer FROM information_schema.views WHERE table_schema = 'system' ORDER BY 1;
SELECT routine_name, routine_type, HEX(routine_definition), is_deterministic, sql_mode, definer, routine_comment, character_set_client FROM information_schema.routines WHERE routine_schema = 'system' ORDER BY 1;
SELECT trigger_name, event_manipulation, action_timing, HEX(action_statement), sql_mode FROM information_schema.triggers WHERE trigger_schema = 'system' ORDER BY 1;
SELECT event_name, HEX(event_definition), interval_value, interval_field, starts, status, on_completion, event_comment FROM information_schema.events WHERE event_schema = 'system' ORDER BY 1;
SELECT default_character_set_name, default_collation_name FROM information_schema.schemata WHERE schema_name = 'system';
SELECT id, HEX(name), HEX(old_name), HEX(legacy), state, flags, HEX(bits), price, ratio, created, touched, HEX(settings), name_length, HEX(label), price_twice FROM accounts ORDER BY id;
SELECT id, account, HEX(fingerprint), HEX(part), MD5(content), LENGTH(content), HEX(note) FROM files ORDER BY id;
SELECT HEX(content), HEX(part) FROM files WHERE id = 18446744073709551615;
SELECT * FROM `odd ``name`` of a täble` ORDER BY 1;
SELECT id, HEX(body) FROM old_engine ORDER BY id;
SELECT * FROM by_year PARTITION (past) ORDER BY 1, 2;
SELECT at, HEX(what) FROM log ORDER BY 1;
SELECT id, HEX(name), price_twice FROM expensive ORDER BY id;
SELECT * FROM of_a_view;
SELECT HEX(greet('Welt 😀'));
CHECKSUM TABLE accounts, files, `odd ``name`` of a täble`, old_engine, by_year, log, nothing_in_it EXTENDED;
"#;

fn sql(site: &Site, script: &str) -> String {
    let line = format!("{MYSQL} system");
    site.kubectl_fed(
        &[
            "exec",
            "-i",
            "deployment/system-mysql",
            "-c",
            "system-mysql",
            "--",
            "sh",
            "-c",
            &line,
        ],
        script,
    )
}

/// The first line in which two texts differ: the whole of them would say nothing.
#[track_caller]
fn check_same(before: &str, after: &str) {
    for (number, (one, other)) in before.lines().zip(after.lines()).enumerate() {
        assert_eq!(one, other, "line {number} of the proof");
    }
    assert_eq!(before.lines().count(), after.lines().count());
}

#[test]
fn everything_that_a_database_can_hold_comes_back_equal() {
    let site = Site::with(&["system-mysql"]);
    sql(&site, CONTENTS);
    let before = sql(&site, PROOF);
    assert!(
        before.lines().count() > 22_000,
        "the proof looks at too little"
    );
    site.prepare(DATA_SET);

    let backup = site.report(&["backup"]).exits(0);
    let kept = &backup.data_set("system-database")["artifacts"][0]["evidence"];
    for (what, how_many) in [
        ("tables", "7"),
        ("views", "2"),
        ("routines", "2"),
        ("triggers", "2"),
        ("events", "1"),
        ("rows-stood-still", "yes"),
    ] {
        assert_eq!(evidence(kept, what), how_many, "{what}");
    }
    let sums = evidence(kept, "checksums-of-tables-1");
    assert_eq!(sums.split(' ').count(), 7, "{sums}");

    let line = format!("{MYSQL} -e 'DROP DATABASE system'");
    site.in_pod("deployment/system-mysql", "system-mysql", &line);
    let _restored = site
        .report(&["restore", "latest", "--yes"])
        .exits(0)
        .says("7 tables compared by checksum");
    check_same(&before, &sql(&site, PROOF));

    // What came back works, too.
    let alive = sql(
        &site,
        "CALL fill_log(2); UPDATE accounts SET name = 'renamed' WHERE id = 1; INSERT INTO files (id) VALUES (0); SELECT what FROM log ORDER BY at DESC LIMIT 1; SELECT note FROM files WHERE id = 0; SELECT at FROM log ORDER BY at DESC LIMIT 1",
    );
    assert_eq!(alive, "1 is called renamed\nby trigger\n5005\n");
}

/// Some 20 MiB in a table with keys besides the primary one, a trigger that must not see the load, and a
/// small table that refers to it.
const BIG: &str = r"
CREATE TABLE events (id BIGINT PRIMARY KEY AUTO_INCREMENT, token BINARY(32) NOT NULL, kind VARCHAR(20) NULL, body TEXT NOT NULL, UNIQUE KEY by_token (token), KEY by_kind (kind, id)) ENGINE=InnoDB;
INSERT INTO events (token, kind, body) SELECT UNHEX(SHA2(seq, 256)), NULLIF(CONCAT('kind ', seq % 7), 'kind 0'), CONCAT(REPEAT(MD5(seq), 6), ';\n😀 ''', seq) FROM seq_1_to_70000;
CREATE TABLE notes (event BIGINT, CONSTRAINT of_event FOREIGN KEY (event) REFERENCES events (id));
INSERT INTO notes SELECT seq * 10 FROM seq_1_to_100;
CREATE TRIGGER noted AFTER INSERT ON events FOR EACH ROW INSERT INTO notes VALUES (NEW.id);
";

const BIG_PROOF: &str = "SELECT COUNT(*), SUM(id), MIN(id), MAX(id) FROM events; SELECT COUNT(*) FROM events WHERE kind IS NULL; SELECT auto_increment FROM information_schema.tables WHERE table_name = 'events'; CHECKSUM TABLE events, notes EXTENDED; CHECK TABLE events";

#[test]
fn the_rows_of_a_big_table_are_loaded_over_several_connections() {
    let site = Site::with(&["system-mysql"]);
    sql(&site, BIG);
    let before = sql(&site, BIG_PROOF);
    site.prepare(DATA_SET);
    let _kept = site.report(&["backup"]).exits(0);
    sql(
        &site,
        "DROP TABLE notes; DELETE FROM events WHERE id % 2 = 0; SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON",
    );

    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    sql(&site, "SET GLOBAL general_log = OFF");
    check_same(&before, &sql(&site, BIG_PROOF));
    let threads = "SELECT COUNT(DISTINCT thread_id) FROM mysql.general_log WHERE argument LIKE 'INSERT INTO `events`%'";
    assert_eq!(
        sql(&site, threads),
        "3\n",
        "one for the beginning, and two jobs"
    );
    let locks = "SELECT IS_USED_LOCK(CONCAT('cofferdam-', MD5('system'))) IS NULL, IS_USED_LOCK(CONCAT('cofferdam-', MD5('system'), '-1')) IS NULL";
    assert_eq!(sql(&site, locks), "1\t1\n", "something is left behind");
}

/// Some 29 MiB of plain columns, with what LOAD DATA could take for the end of a value or of a row.
const PLAIN: &str = r#"
SET sql_mode = '', time_zone = '+01:00';
CREATE TABLE messages (
  id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
  yes TINYINT(1), number INT, price DECIMAL(30,10), ratio DOUBLE,
  code CHAR(40), name VARCHAR(200), empty TINYTEXT, body TEXT, rest LONGTEXT,
  born DATE, created DATETIME(6), touched TIMESTAMP(3) NULL, took TIME(2), since YEAR,
  old VARCHAR(50) CHARACTER SET latin1, wide VARCHAR(50) CHARACTER SET utf16,
  settings JSON CHECK (JSON_LENGTH(settings) = 2), missing INT,
  KEY (number), UNIQUE KEY (name)
) ENGINE=InnoDB;
INSERT INTO messages SELECT seq, seq % 2, IF(seq % 3 = 0, NULL, -seq), -seq / 7, -seq * 1.5e-200,
  IF(seq % 5 = 0, 'NULL', CONCAT(' x', seq, '  ')), CONCAT('u\\N\\', seq, ''''), '',
  CONCAT('),\n(1,''a'');\nINSERT INTO `messages` VALUES (', seq, '\0\Z\t\r\n"\\'), IF(seq % 7 = 0, NULL, REPEAT(CONCAT('😀,''', seq, '\\''),('), 20)),
  IF(seq % 11 = 0, '0000-00-00', '2024-02-29'), IF(seq % 13 = 0, '0000-00-00 00:00:00', '2024-10-27 02:30:00.123456'),
  IF(seq % 2 = 0, NULL, '2024-03-31 02:30:00.5'), '-838:59:59.99', IF(seq % 3 = 0, 0, 1999),
  'é€', '漢字😀', CONCAT('{"a": ', seq, ', "b": "\\n\\u0041"}'), IF(seq % 2 = 0, NULL, -seq) FROM seq_1_to_50000;
"#;

#[test]
fn the_rows_of_a_big_table_of_plain_columns_are_loaded_as_data() {
    let site = Site::with(&["system-mysql"]);
    sql(&site, PLAIN);
    let proof = "SELECT COUNT(*), SUM(id) FROM messages; CHECKSUM TABLE messages EXTENDED; CHECK TABLE messages; SELECT auto_increment FROM information_schema.tables WHERE table_name = 'messages'";
    let before = sql(&site, proof);
    site.prepare(DATA_SET);
    let _kept = site.report(&["backup"]).exits(0);
    let spoilt =
        "DROP TABLE messages; SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON";
    sql(&site, spoilt);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    sql(&site, "SET GLOBAL general_log = OFF");
    check_same(&before, &sql(&site, proof));
    let loads = "SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE 'LOAD DATA LOCAL INFILE%INTO TABLE `messages`%'";
    assert_eq!(sql(&site, loads), "3\n", "8 MiB each time, and the rest");

    // A row that the server would take with a warning only, and not as it was.
    let odd = "SET sql_mode = 'ALLOW_INVALID_DATES'; UPDATE messages SET born = '2024-02-31' WHERE id = 39999";
    sql(&site, odd);
    let _kept = site.report(&["backup"]).exits(0);
    let refused = site.cofferdam(&["restore", "latest", "--yes"]).exits(1);
    let refused = refused.says("Data truncated for column 'born'");
    let _refused = refused.says("half restored").says("`jobs: 1`");
}

#[test]
fn a_load_beside_another_that_does_not_end_leaves_all_as_it_was() {
    let site = Site::with(&["system-mysql"]);
    let saved = "CREATE TABLE accounts (id INT PRIMARY KEY, name TEXT); INSERT INTO accounts VALUES (1, 'saved')";
    sql(&site, saved);
    site.prepare(DATA_SET);
    let _kept = site.report(&["backup"]).exits(0);
    sql(&site, "UPDATE accounts SET name = 'later'");
    hold_the_lock(&site, 600, "DO 0");
    let refused = site.cofferdam(&["restore", "latest", "--yes"]).exits(1);
    let _refused = refused.says("so nothing was loaded");
    assert_eq!(sql(&site, "SELECT name FROM accounts"), "later\n");
}

/// Holds a load's lock for some seconds and then runs a statement, as a client that was left behind.
fn hold_the_lock(site: &Site, seconds: u32, statement: &str) {
    let left_behind = format!(
        "{MYSQL} system -e \"SELECT GET_LOCK(CONCAT('cofferdam-', MD5('system')), 0); DO SLEEP({seconds}); {statement}\" > /dev/null 2>&1 & \
         until {MYSQL} -N -e \"SELECT IS_USED_LOCK(CONCAT('cofferdam-', MD5('system'))) IS NOT NULL\" | grep -q 1; do sleep 0.1; done"
    );
    site.in_pod("deployment/system-mysql", "system-mysql", &left_behind);
}

#[test]
fn a_client_that_an_earlier_restore_left_behind_is_waited_for() {
    let site = Site::with(&["system-mysql"]);
    sql(
        &site,
        "CREATE TABLE accounts (id INT PRIMARY KEY, name TEXT); INSERT INTO accounts VALUES (1, 'saved')",
    );
    site.prepare(DATA_SET);
    let _kept = site.report(&["backup"]).exits(0);
    hold_the_lock(&site, 6, "UPDATE accounts SET name = 'late'");
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    let still_runs = sql(
        &site,
        "SELECT IS_USED_LOCK(CONCAT('cofferdam-', MD5('system'))) IS NOT NULL",
    );
    assert_eq!(still_runs, "0\n", "the restore did not wait");
    assert_eq!(sql(&site, "SELECT name FROM accounts"), "saved\n");
}

fn evidence(kept: &serde_json::Value, name: &str) -> String {
    let pairs = kept.as_array().expect("evidence");
    let pair = pairs.iter().find(|pair| pair[0] == name);
    let value = pair.and_then(|pair| pair[1].as_str());
    assert!(value.is_some(), "the evidence has no `{name}`: {kept}");
    value.unwrap_or_default().to_owned()
}
