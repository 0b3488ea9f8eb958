//! The awk program of the manifest in the real awks of this machine, with a client that writes down what it
//! is fed: which statement goes where, and that none is lost, doubled or cut.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

const HEAD: &str = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB\n\n/*!40101 SET NAMES utf8mb4 */;\n/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;\nSET @@GLOBAL.GTID_PURGED='x:1-5';\n/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;\n";
/// Of the head what only an administrator may set, and only once.
const GLOBAL: &str = "SET @@GLOBAL.GTID_PURGED='x:1-5';\n";
const PROCEDURE: &str = "DELIMITER ;;\nCREATE PROCEDURE `p`()\nBEGIN\nINSERT INTO `big` VALUES (1);\nEND ;;\nDELIMITER ;\n";
const END: &str = "/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;\n\n-- Dump completed on 2026-11-25 12:00:00\n";

const CLIENT: &str = r#"#!/bin/sh
name=main
for job in 1 2 3; do case "$*" in *"'-$job'), 86400"*) name=$job ;; esac; done
printf '%s\n' "$@" >"$SEEN/$name.argv"
case "$*" in *" -e "*) printf '<load>' >>"$SEEN/$name" ;; esac
cat >>"$SEEN/$name"
[ ! -e "$SEEN/$name.fails" ] || { echo "ERROR 1062 (23000) at line 3: Duplicate entry" >&2; exit 1; }
"#;

/// An INSERT of about half a mebibyte, over several lines as MariaDB writes it.
fn insert(table: &str, number: usize) -> String {
    let row = format!("({number},'{};;\\n it\\'s; ),('),\n", "x".repeat(1000));
    format!(
        "INSERT INTO `{table}` VALUES\n{}({number},NULL);\n",
        row.repeat(500)
    )
}

fn table(name: &str, inserts: usize) -> String {
    let rows: String = (0..inserts).map(|number| insert(name, number)).collect();
    format!(
        "\n--\n-- Table structure for table `{name}`\n--\n\nDROP TABLE IF EXISTS `{name}`;\n/*!40101 SET @saved_cs_client     = @@character_set_client */;\n/*!40101 SET character_set_client = utf8 */;\nCREATE TABLE `{name}` (\n  `id` int\n);\n/*!40101 SET character_set_client = @saved_cs_client */;\n\n--\n-- Dumping data for table `{name}`\n--\n\nLOCK TABLES `{name}` WRITE;\n/*!40000 ALTER TABLE `{name}` DISABLE KEYS */;\n{rows}/*!40000 ALTER TABLE `{name}` ENABLE KEYS */;\nUNLOCK TABLES;\n"
    )
}

struct Ran {
    output: Output,
    seen: tempfile::TempDir,
}

impl Ran {
    fn fed(&self, client: &str) -> Option<String> {
        let bytes = fs::read(self.seen.path().join(client)).ok()?;
        Some(String::from_utf8(bytes).expect("text"))
    }
}

/// What of an INSERT is rows to LOAD DATA.
fn rows(insert: &str) -> &str {
    let (_, rows) = insert.split_once('(').expect("rows");
    rows.strip_suffix(");\n").expect("an end")
}

/// Feeds a dump to the command of the manifest, with two jobs.
fn load(awk: &str, how: &str, dump: &str, fails: Option<&str>) -> Ran {
    let manifest: toml::Table = include_str!("../../module.toml")
        .parse()
        .expect("the manifest");
    let argv = manifest["commands"]["load-parallel"]["argv"]
        .as_array()
        .expect("argv");
    let words = argv.iter().map(|word| {
        let word = word.as_str().expect("a word");
        let filled = word.replace("{jobs}", "2").replace("{database}", "system");
        let filled = filled.replace("{how}", how).replace("{client}", "mysql");
        let filled = filled.replace("{host}", "it's").replace("{user}", "root");
        filled.replace("{{", "{").replace("}}", "}")
    });
    let words: Vec<String> = words.collect();
    let seen = tempfile::tempdir().expect("a folder");
    let client = seen.path().join("mysql");
    fs::write(&client, CLIENT).expect("written");
    fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).expect("made a program");
    // The one awk starts the other by this name.
    let awk_program = seen.path().join("awk");
    fs::write(&awk_program, format!("#!/bin/sh\nexec {awk} \"$@\"\n")).expect("written");
    fs::set_permissions(&awk_program, fs::Permissions::from_mode(0o755)).expect("made a program");
    if let Some(client) = fails {
        fs::write(seen.path().join(format!("{client}.fails")), "").expect("written");
    }
    let mut child = Command::new("env")
        .arg(&words[1])
        .args(&words[2..])
        .env("PATH", format!("{}:/usr/bin:/bin", seen.path().display()))
        .env("SEEN", seen.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("awk starts");
    let mut stdin = child.stdin.take().expect("stdin");
    // A program that failed reads no more.
    let _ = stdin.write_all(dump.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    Ran { output, seen }
}

/// Feeds a dump that is loaded well.
fn loaded(awk: &str, how: &str, dump: &str, what: &str) -> Ran {
    let ran = load(awk, how, dump, None);
    assert!(
        ran.output.status.success(),
        "{awk}, {what}: {:?}",
        ran.output
    );
    ran
}

/// Those of the awks that containers have.
fn awks() -> Vec<&'static str> {
    let there = |awk: &&str| {
        let mut words = awk.split(' ');
        let mut command = Command::new(words.next().expect("a program"));
        let ran = command.args(words).arg("BEGIN { exit 0 }").output();
        ran.is_ok_and(|output| output.status.success())
    };
    let found: Vec<&str> = ["mawk", "gawk", "busybox awk"]
        .into_iter()
        .filter(there)
        .collect();
    assert!(!found.is_empty(), "there is no awk");
    found
}

#[test]
fn rows_behind_the_first_mebibytes_of_a_table_are_dealt_and_nothing_else() {
    let dump = [
        HEAD,
        &table("small", 3),
        &table("big", 21),
        &table("last", 2),
        PROCEDURE,
        END,
    ]
    .concat();
    let settings = HEAD.replace(GLOBAL, "");
    for awk in awks() {
        let ran = loaded(awk, "insert", &dump, "the whole dump");
        let [main, first, second] = ["main", "1", "2"].map(|client| ran.fed(client).expect(awk));
        // A half mebibyte each: seventeen go the straight way, four are dealt in turn.
        let dealt = |numbers: [usize; 2]| numbers.map(|number| insert("big", number)).concat();
        assert!(first == settings.clone() + &dealt([17, 19]), "{awk}");
        assert!(second == settings.clone() + &dealt([18, 20]), "{awk}");
        let (before, rest) = dump.split_once(&insert("big", 17)).expect("dealt");
        let (_, after) = rest.split_once(&insert("big", 20)).expect("dealt");
        let main = main.strip_prefix(before).expect("all before, as it was");
        let between = main.strip_suffix(after).expect("all after, as it was");
        let lines: Vec<&str> = between.lines().collect();
        assert_eq!(lines.len(), 3, "{awk}: {between}");
        assert_eq!(lines[0], "UNLOCK TABLES;");
        assert!(
            lines[1].starts_with("DO RELEASE_LOCK(") && lines[1].contains("'-2'))"),
            "{awk}"
        );
        assert!(
            lines[2].starts_with("SET @cofferdam = IF(GET_LOCK("),
            "{awk}: {between}"
        );
        let argv = ran.fed("1.argv").expect("a command line");
        assert!(argv.starts_with("--host=it's\n--user=root\n"), "{argv}");
        assert!(argv.ends_with("\nsystem\n"), "{argv}");
    }
}

#[test]
fn rows_of_plain_columns_go_by_load_data_some_mebibytes_each_time() {
    let big = table("big", 60);
    let one_line = big
        .replace(" VALUES\n(", " VALUES (")
        .replace("),\n(", "),(");
    for (big, separator, shown) in [(&big, "),\n(", "),\\n("), (&one_line, "),(", "),(")] {
        let dump = [HEAD, &table("small", 3), big, &table("last", 2), END].concat();
        let inserts: Vec<&str> = big.split_inclusive(";\n").collect();
        let inserts = inserts.iter().filter(|line| line.starts_with("INSERT"));
        let dealt: Vec<&str> = inserts.skip(17).map(|insert| rows(insert)).collect();
        // Seventeen of them are more than 8 MiB.
        let loads: Vec<String> = dealt.chunks(17).map(|load| load.join(separator)).collect();
        assert_eq!(loads.len(), 3);
        for awk in awks() {
            let ran = loaded(awk, "load-data", &dump, "the whole dump");
            for (job, mine) in [("1", [0, 2].as_slice()), ("2", &[1])] {
                let mine: String = mine
                    .iter()
                    .map(|load| format!("<load>{}", loads[*load]))
                    .collect();
                assert!(ran.fed(job).expect(awk) == mine, "{awk}, {job}");
                let argv = ran.fed(&format!("{job}.argv")).expect("a command line");
                let statement = format!(
                    "LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE `big` CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\' LINES TERMINATED BY '{shown}';\n"
                );
                assert!(argv.contains(&statement), "{awk}: {argv}");
                assert!(argv.contains("UNIQUE_CHECKS=0"), "{awk}: {argv}");
                assert!(!argv.contains("GTID"), "{awk}: {argv}");
                assert!(argv.starts_with("--host=it's\n--user=root\n"), "{argv}");
            }
        }
    }
}

#[test]
fn an_insert_of_another_form_among_others_is_no_data() {
    let odd = "INSERT INTO `big` (`id`) VALUES (7);\n";
    let big = table("big", 40);
    let (before, after) = big.split_at(big.rfind("INSERT").expect("one"));
    let dump = [HEAD, before, odd, after, END].concat();
    for awk in awks() {
        let ran = loaded(awk, "load-data", &dump, "the whole dump");
        let fed = ran.fed("1").expect(awk) + &ran.fed("2").expect(awk);
        let alone = HEAD.replace(GLOBAL, "") + odd;
        assert!(fed.contains(&alone), "{awk}");
        for number in 17..40 {
            let insert = insert("big", number);
            assert!(fed.contains(rows(&insert)), "{awk}, {number}");
        }
    }
}

#[test]
fn rows_that_are_cut_off_are_no_load() {
    let dump = [HEAD, &table("big", 40)].concat();
    let end = dump.rfind("INSERT").expect("one");
    let semicolon = end + dump[end..].find(";;").expect("text");
    let row = end + dump[end..].find("),\n").expect("a row");
    for awk in awks() {
        // Behind semicolons in a text, behind a row.
        for cut in [semicolon + 2, row + 1] {
            let ran = load(awk, "load-data", &dump[..cut], None);
            assert!(!ran.output.status.success(), "{awk}, {cut}");
        }
        // Before any semicolon: as SQL, at which the server stops.
        let ran = load(awk, "load-data", &dump[..semicolon], None);
        assert!(ran.fed("main").expect(awk).ends_with(&dump[end..semicolon]));
    }
}

#[test]
fn rows_that_load_data_could_read_otherwise_stay_inserts() {
    let big = table("big", 21);
    let with_column = |column: &str| {
        big.replace(
            "  `id` int\n",
            &format!("  `id` int,\n  {column},\n  KEY `k` (`id`)\n"),
        )
    };
    let utf8 = "SET NAMES utf8mb4";
    for (what, head, big, by_load) in [
        (
            "text",
            HEAD.to_owned(),
            with_column("`a` varchar(20) CHARACTER SET latin1"),
            true,
        ),
        (
            "binary",
            HEAD.to_owned(),
            with_column("`a` binary(32) NOT NULL"),
            false,
        ),
        (
            "a blob",
            HEAD.to_owned(),
            with_column("`a` longblob"),
            false,
        ),
        (
            "a word of a list",
            HEAD.to_owned(),
            with_column("`a` enum('x','y')"),
            false,
        ),
        (
            "a name with a backtick",
            HEAD.to_owned(),
            with_column("`a``b` int"),
            false,
        ),
        (
            "columns by name",
            HEAD.to_owned(),
            big.replace("` VALUES", "` (`id`) VALUES"),
            false,
        ),
        (
            "another table's columns",
            HEAD.to_owned(),
            big.replace("CREATE TABLE `big`", "CREATE TABLE `other`"),
            false,
        ),
        (
            "another character set",
            HEAD.replace(utf8, "SET NAMES latin1"),
            big.clone(),
            false,
        ),
        (
            "no character set",
            HEAD.replace(utf8, "SET @x=1"),
            big.clone(),
            false,
        ),
    ] {
        let dump = [&head, &big, END].concat();
        for awk in awks() {
            let ran = loaded(awk, "load-data", &dump, what);
            let fed = ran.fed("1").expect(awk);
            assert_eq!(fed.starts_with("<load>"), by_load, "{awk}, {what}");
            assert_eq!(fed.contains("INSERT INTO `big`"), !by_load, "{awk}, {what}");
        }
    }
}

#[test]
fn a_dump_in_another_form_goes_through_one_client_as_it_is() {
    let big = table("big", 21);
    for (what, dump) in [
        (
            "other databases",
            [HEAD, "USE `other`;\n", &big, END].concat(),
        ),
        (
            "no locks",
            [HEAD, &big.replace("LOCK TABLES `big` WRITE;\n", ""), END].concat(),
        ),
        (
            "its own transaction",
            [
                HEAD,
                &big.replace(
                    "DISABLE KEYS */;\n",
                    "DISABLE KEYS */;\nset autocommit=0;\n",
                ),
                END,
            ]
            .concat(),
        ),
        (
            "tables that are not dropped",
            [HEAD, &big.replace("DROP TABLE IF EXISTS `big`;\n", ""), END].concat(),
        ),
        ("no table at all", [HEAD, END].concat()),
        (
            "no line break at its end",
            [HEAD, &table("small", 1), "-- Dump completed"].concat(),
        ),
    ] {
        for awk in awks() {
            let ran = loaded(awk, "load-data", &dump, what);
            assert!(ran.fed("main").as_ref() == Some(&dump), "{awk}, {what}");
            assert!(ran.fed("1").is_none(), "{awk}, {what}");
        }
    }
}

#[test]
fn a_load_fails_when_any_of_its_clients_does() {
    let dump = [HEAD, &table("big", 40), END].concat();
    for awk in awks() {
        for how in ["insert", "load-data"] {
            for client in ["main", "1", "2"] {
                let ran = load(awk, how, &dump, Some(client));
                assert!(!ran.output.status.success(), "{awk}, {how}, {client}");
                let said = String::from_utf8_lossy(&ran.output.stderr);
                assert!(said.contains("ERROR 1062"), "{awk}, {client}: {said}");
            }
        }
    }
}
