//! The fixed shell texts of the manifest in a real `sh`, with programs that write down what they are
//! given: where the credentials go, and where they never are.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::MANIFEST;

const USER: &str = "BACKUP_USER";

/// Writes down its command line, its environment and its input, and the command lines of all.
const PROGRAM: &str = "#!/bin/sh
echo \"$0 $*\" >\"$SEEN/argv\"
env >\"$SEEN/environment\"
case $1 in parfile=*) cat \"${1#parfile=}\" >\"$SEEN/input\"; stat -c %a \"${1#parfile=}\" >\"$SEEN/mode\" ;; *) cat >\"$SEEN/input\" ;; esac
for one in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <\"$one\"; echo; done >\"$SEEN/cmdlines\" 2>/dev/null
echo said; echo complained >&2
exit 3
";

struct Ran {
    output: Output,
    seen: tempfile::TempDir,
}

impl Ran {
    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.seen.path().join(name)).expect("it was written down");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Runs a command of the manifest with these words behind its text.
fn run(shell: &str, command: &str, words: &[&str], password: &str) -> Ran {
    let manifest: toml::Table = MANIFEST.parse().expect("the manifest");
    let argv = manifest["commands"][command]["argv"]
        .as_array()
        .expect("argv");
    let text = argv[2]
        .as_str()
        .expect("a text")
        .replace("{{", "{")
        .replace("}}", "}");
    let program = argv[3].as_str().expect("a program");
    let seen = tempfile::tempdir().expect("a folder");
    for name in ["sqlplus", "rman", "expdp", "impdp"] {
        let path = seen.path().join(name);
        std::fs::write(&path, PROGRAM).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .expect("made a program");
    }
    let mut child = Command::new(shell)
        .arg("-c")
        .arg(text)
        .arg(program)
        .args(words)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", seen.path().display()))
        .env("SEEN", seen.path())
        .env("ORACLE_USER", USER)
        .env("ORACLE_PASSWORD", password)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell starts");
    let mut stdin = child.stdin.take().expect("stdin");
    let _ = std::io::Write::write_all(&mut stdin, b"the script;\n");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    Ran { output, seen }
}

fn shells() -> Vec<&'static str> {
    ["dash", "bash", "sh"]
        .into_iter()
        .filter(|shell| {
            ["/bin", "/usr/bin"]
                .iter()
                .any(|folder| Path::new(folder).join(shell).exists())
        })
        .collect()
}

fn check(command: &str, words: &[&str], password: &str, input: &str) {
    for shell in shells() {
        let ran = run(shell, command, words, password);
        let said = String::from_utf8_lossy(&ran.output.stdout);
        assert_eq!(
            ran.output.status.code(),
            Some(3),
            "{shell} {command}: {:?}",
            ran.output
        );
        assert_eq!(said, "said\ncomplained\n", "{shell} {command}");
        assert_eq!(ran.read("input"), input, "{shell} {command}");
        for seen in ["argv", "environment", "cmdlines"] {
            assert!(
                !ran.read(seen).contains(password),
                "{shell} {command}: the password is in {seen}"
            );
        }
        assert!(
            !ran.read("environment").contains("ORACLE_PASSWORD"),
            "{shell} {command}"
        );
        assert!(
            ran.read("environment")
                .contains("NLS_LANG=AMERICAN_AMERICA.AL32UTF8")
        );
    }
}

#[test]
fn sqlplus_gets_the_credentials_on_its_input_and_nowhere_else() {
    check(
        "state",
        &["//oracle:1521/ORCL", "sysbackup"],
        "Pl4inWord",
        "set define off\nconnect BACKUP_USER/\"Pl4inWord\"@//oracle:1521/ORCL as sysbackup\nthe script;\n",
    );
    check(
        "describe-schema",
        &["orcl", "normal"],
        "o%d & $(id) `id` \\n @/",
        "set define off\nconnect BACKUP_USER/\"o%d & $(id) `id` \\n @/\"@orcl\nthe script;\n",
    );
}

#[test]
fn rman_gets_the_credentials_and_its_channels_on_its_input() {
    check(
        "crosscheck",
        &["orcl", "sysbackup", "0", "default"],
        "Pl4inWord",
        "connect target \"BACKUP_USER/Pl4inWord@orcl as sysbackup\";\nthe script;\nexit;\n",
    );
    check(
        "restore-database",
        &["orcl", "sysdba", "2", "default"],
        "0dd p@ss/%s",
        "connect target 'BACKUP_USER/\"0dd p@ss/%s\"@orcl';\nrun {\nallocate channel c1 device type disk;\nallocate channel c2 device type disk;\nthe script;\n}\nexit;\n",
    );
    check(
        "backup-database",
        &["orcl", "sysdba", "1", "+DATA/x"],
        "Pl4inWord",
        "connect target \"BACKUP_USER/Pl4inWord@orcl\";\nrun {\nallocate channel c1 device type disk format '+DATA/x/%U';\nthe script;\n}\nexit;\n",
    );
}

#[test]
fn data_pump_gets_them_in_a_file_that_only_its_owner_reads_and_that_is_gone_afterwards() {
    for (command, password, userid) in [
        ("export", "Pl4inWord", "BACKUP_USER/Pl4inWord@orcl"),
        ("import", "0dd p@ss", "BACKUP_USER/\"0dd p@ss\"@orcl"),
    ] {
        check(
            command,
            &["orcl"],
            password,
            &format!("userid={userid}\nthe script;\n"),
        );
        for shell in shells() {
            let ran = run(shell, command, &["orcl"], password);
            assert_eq!(ran.read("mode"), "600\n");
            let argv = ran.read("argv");
            let file = argv
                .split("parfile=")
                .nth(1)
                .expect("a parameter file")
                .trim();
            assert!(!Path::new(file).exists(), "{file} was left");
        }
    }
}

#[test]
fn values_that_could_be_more_than_a_word_are_refused_before_anything_starts() {
    let refused = |command: &str, words: &[&str], password: &str, says: &str| {
        for shell in shells() {
            let ran = run(shell, command, words, password);
            let said = String::from_utf8_lossy(&ran.output.stderr).into_owned();
            assert_eq!(
                ran.output.status.code(),
                Some(64),
                "{shell} {command} {words:?}: {said}"
            );
            assert!(said.contains(says), "{said}");
            assert!(password.is_empty() || !said.contains(password), "{said}");
            assert!(
                !ran.seen.path().join("argv").exists(),
                "{command} was started"
            );
        }
    };
    for command in ["state", "crosscheck", "export"] {
        let words = |connect| vec![connect, "sysbackup", "0", "default"];
        for connect in [
            "",
            "orcl as sysdba",
            "orcl;host id",
            "orcl\nhost",
            "or'cl",
            "orcl\"",
        ] {
            refused(command, &words(connect), "Good1", "the connect identifier");
        }
        for password in ["", "a\"b", "a'b", "a\nhost id", "trailing\n"] {
            refused(
                command,
                &words("orcl"),
                password,
                "the password in the Secret",
            );
        }
    }
    for folder in ["", "/a b", "/a'; host", "/a\n"] {
        refused(
            "backup-database",
            &["orcl", "sysdba", "1", folder],
            "Good1",
            "the backup folder",
        );
    }
}

#[test]
fn the_texts_of_one_program_are_the_same_in_every_command() {
    let manifest: toml::Table = MANIFEST.parse().expect("the manifest");
    let commands = manifest["commands"].as_table().expect("commands");
    let mut texts: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
    let mut count = 0;
    for (name, command) in commands {
        let argv = command["argv"].as_array().expect("argv");
        if argv[0].as_str() != Some("sh") {
            assert!(command.get("environment").is_none(), "{name}");
            continue;
        }
        let (text, program) = (
            argv[2].as_str().expect("text"),
            argv[3].as_str().expect("program"),
        );
        // The two programs of Data Pump share theirs: it calls them by `$0`.
        let program = if program == "impdp" { "expdp" } else { program };
        assert_eq!(*texts.entry(program).or_insert(text), text, "{name}");
        assert_eq!(
            command["environment"]["ORACLE_PASSWORD"]["secret"].as_str(),
            Some("password"),
            "{name}"
        );
        assert_eq!(command["stdin"].as_str(), Some("template"), "{name}");
        count += 1;
    }
    assert_eq!((texts.len(), count), (3, 21));
}
