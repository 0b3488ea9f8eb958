//! What everybody who types the command relies on: data for scripts, exit codes, hints, passwords
//! from where they lie, a question before data is replaced, a log that nobody edited unseen.
#![expect(
    clippy::disallowed_methods,
    reason = "a missing file fails its story either way"
)]

use e2e::Site;
use serde_json::json;

const DATA_SETS: &str = "    - name: objects
      module: { name: kube-objects }
      parameters: { secrets: [system-app], configmaps: [redis-config] }
";

fn site() -> Site {
    let site = Site::with_objects_only();
    site.prepare(DATA_SETS);
    site
}

#[test]
fn every_result_is_data_when_it_is_asked_for() {
    let site = site();
    for (words, key) in [
        (
            &[
                "init",
                "--namespace",
                "n",
                "--force",
                "--file",
                "other.yaml",
            ][..],
            "file",
        ),
        (&["policy", "init", "--force"], "policy"),
        (&["policy", "check"], "allowed"),
        (&["check"], "findings"),
        (&["backup", "--dry-run"], "dataSets"),
        (&["backup"], "dataSets"),
        (&["list"], "runs"),
        (&["show", "latest", "--audit"], "audit"),
        (&["verify", "latest"], "dataSets"),
        (&["restore", "latest", "--dry-run"], "dataSets"),
        (&["restore", "latest", "--yes"], "dataSets"),
        (&["prune", "--keep-last", "1", "--dry-run"], "forget"),
        (&["modules", "inspect", "kube-objects"], "capabilities"),
        (&["repository", "check"], "findings"),
    ] {
        let answer = site.report(words).exits(0);
        assert!(!answer.json()[key].is_null(), "no `{key}`\n{answer}");
    }
    for words in [
        &["modules", "list"][..],
        &["repository", "key", "list"],
        &["repository", "locks"],
    ] {
        let answer = site.report(words).exits(0);
        assert!(answer.json().is_array(), "{answer}");
    }
}

#[test]
fn the_file_that_init_writes_is_read_once_the_capitals_are_filled_in() {
    let site = Site::without_cluster();
    let _written = site.cofferdam(&["init", "--namespace", "3scale"]).exits(0);
    let path = site.path("cofferdam.yaml");
    let text = std::fs::read_to_string(&path).expect("written");
    let _capitals = site.cofferdam(&["policy", "init"]).exits(2).says("`NAME`");
    // Names for the capitals, and every default as it is shown.
    let filled = text
        .replace(
            "deployment/NAME, container: NAME",
            "deployment/d, container: c",
        )
        .replace("secret: NAME, key: KEY", "secret: s, key: k")
        .replace("task: VALUE", "task: zync:resync:domains")
        .replace("kind: VALUE", "kind: apps.3scale.net/v1alpha1/APIManager")
        .replace("names: VALUE", "names: [a]")
        .lines()
        .map(|line| match line.strip_prefix("        # ") {
            Some(parameter) if parameter.contains(": ") && parameter.contains("   # ") => {
                format!("        {parameter}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect::<String>();
    std::fs::write(&path, filled).expect("filled in");
    let _read = site.cofferdam(&["policy", "init"]).exits(0);
}

#[test]
fn a_failure_is_data_too_and_names_the_next_step() {
    let site = Site::without_cluster();
    let answer = site.report(&["list"]).exits(2).says("hint: ");
    let error = answer.json()["error"].clone();
    assert_eq!(error["exitCode"], 2, "{answer}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| message.contains("there is no repository at")),
        "{answer}"
    );
    assert_eq!(
        error["hint"], "run `cofferdam repository init` to make one",
        "{answer}"
    );
}

#[test]
fn what_is_not_a_command_is_wrong_use() {
    let site = Site::without_cluster();
    let _unknown = site.cofferdam(&["back-up"]).exits(2).says("backup");
    let _option = site.cofferdam(&["backup", "--fast"]).exits(2);
    let _run = site
        .cofferdam(&["show", "../../etc"])
        .exits(2)
        .says("cofferdam list");
}

#[test]
fn each_shell_gets_its_completions() {
    let site = Site::without_cluster();
    for (shell, sign) in [
        ("bash", "complete -F _cofferdam"),
        ("zsh", "#compdef cofferdam"),
        ("fish", "complete -c cofferdam"),
    ] {
        let answer = site.cofferdam(&["completions", shell]).exits(0);
        assert!(answer.stdout().contains(sign), "{answer}");
    }
}

#[test]
fn the_password_comes_from_a_file_a_command_or_the_environment() {
    let site = site();
    let password = "correct horse battery staple";
    let path = site.path("password").display().to_string();
    for (variable, value) in [
        ("COFFERDAM_PASSWORD", password.to_owned()),
        ("COFFERDAM_PASSWORD_COMMAND", format!("cat '{path}'")),
        ("COFFERDAM_PASSWORD_FILE", path.clone()),
    ] {
        let output = site
            .command(&["list"])
            .env_remove("COFFERDAM_PASSWORD_FILE")
            .env(variable, value)
            .output()
            .expect("the product starts");
        assert!(output.status.success(), "{variable}: {output:?}");
    }
    let command = format!("cat '{path}'");
    let _typed = site
        .cofferdam(&["list", "--password-command", &command])
        .exits(0);
    let _failing = site
        .cofferdam(&["list", "--password-command", "false"])
        .exits(2)
        .says("the password command ended with")
        .says("hint");
    let _missing = site
        .cofferdam(&["list", "--password-file", "/nonexistent"])
        .exits(2)
        .says("/nonexistent")
        .says("hint");
}

#[test]
fn a_restore_asks_on_a_terminal_and_takes_no_for_an_answer() {
    let site = site();
    let _backup = site.cofferdam(&["backup"]).exits(0);
    site.kubectl(&["delete", "configmap/redis-config"]);
    let left = || site.kubectl(&["get", "configmap", "--ignore-not-found", "redis-config"]);

    let refused = site.on_a_terminal(&["restore", "latest"], "n").exits(2);
    assert!(
        refused
            .stdout()
            .contains("Replace objects of `threescale` in namespace `3scale` with run"),
        "{refused}"
    );
    assert!(left().is_empty(), "{refused}");
    let restored = site.on_a_terminal(&["restore", "latest"], "y").exits(0);
    assert!(!left().is_empty(), "{restored}");
}

#[test]
fn an_audit_log_that_was_edited_or_cut_is_not_believed() {
    let site = site();
    let backup = site.report(&["backup"]).exits(0);
    let run = backup.json()["run"].as_str().expect("a run").to_owned();
    let path = site.path(&format!("state/threescale/runs/{run}/audit.jsonl"));
    let text = std::fs::read_to_string(&path).expect("an audit log");
    let _whole = site.cofferdam(&["show", &run, "--audit"]).exits(0);

    let edited = text.replacen("system-app", "system-xyz", 1);
    assert_ne!(edited, text);
    let lines: Vec<&str> = text.lines().collect();
    let cut = format!("{}\n", lines[..lines.len() / 2].join("\n"));
    for other in [edited, cut] {
        std::fs::write(&path, other).expect("written");
        let _shown = site
            .cofferdam(&["show", &run, "--audit"])
            .exits(1)
            .says("audit log");
    }
}

#[test]
fn a_plan_touches_nothing_and_says_what_policy_denies() {
    let site = site();
    site.write(
        "cofferdam.cedar",
        "@id(\"all\")\npermit (principal, action, resource);\n@id(\"no secrets\")\nforbid (principal, action == Action::\"save-object\", resource) when { resource.kind == \"Secret\" };\n",
    );
    let before = site.versions();
    let answer = site.report(&["backup", "--dry-run"]).exits(0);
    let plan = answer.never_says("sample").json();
    let denied = plan["dataSets"][0]["denied"].to_string();
    assert!(
        denied.contains("save-object") && denied.contains("system-app"),
        "{plan}"
    );
    assert!(site.runs().is_empty());
    assert_eq!(site.versions(), before);
    let checked = site.report(&["policy", "check"]).exits(0).json();
    let rules: Vec<_> = checked["denied"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert!(
        rules.iter().any(|one| one["rule"]
            .as_str()
            .is_some_and(|rule| rule.contains("no secrets"))),
        "{checked}"
    );
    let _refused = site.report(&["backup"]).exits(3);
    assert_eq!(site.report(&["list"]).json()["runs"], json!([]));
}
