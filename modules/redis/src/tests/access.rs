//! How the server is reached: passwords, users, TLS and renamed commands, and what a refusal says.

use super::*;

/// The command line of the first look at the server, with these parameters.
#[track_caller]
fn check_line(parameters: &[(&str, &str)], expected: &str) {
    let (world, server) = world_with(Simulated::default());
    for (name, value) in parameters {
        world.parameter(name, value);
    }
    let seen = Rc::new(RefCell::new(Vec::new()));
    let line = Rc::clone(&seen);
    world.on("info", move |call, _| {
        line.borrow_mut().push(call.argv.join(" "));
        Answer::prints(server.borrow_mut().info())
    });
    Redis::backup(&world).expect("the backup");
    assert_eq!(seen.borrow().first().map(String::as_str), Some(expected));
}

#[test]
fn a_plain_server_is_asked_as_ever() {
    check_line(&[], "redis-cli -p 6379 INFO");
}

#[test]
fn a_user_and_tls_are_words_of_the_manifest() {
    check_line(
        &[
            ("encryption", "mutual-tls"),
            ("ca-file", "/tls/ca"),
            ("login", "named-user"),
            ("user", "backup"),
        ],
        "redis-cli -p 6379 --tls --cacert /tls/ca --cert /etc/redis-tls/tls.crt --key /etc/redis-tls/tls.key --user backup INFO",
    );
}

#[test]
fn a_renamed_command_is_called_by_its_name() {
    check_line(
        &[("info-command", "b840fc02d524045429941cc15f59e41cb7be6c52")],
        "redis-cli -p 6379 b840fc02d524045429941cc15f59e41cb7be6c52",
    );
}

/// No command line has the password: its handle is in the environment of every call of the client.
#[test]
fn every_call_of_the_client_has_the_password_in_its_environment() {
    let manifest = include_str!("../../module.toml");
    let calls = manifest.matches("argv = [\"redis-cli\"").count();
    let with = manifest
        .matches("\"]\nenvironment = { REDISCLI_AUTH = { secret = \"password\" } }\n")
        .count();
    assert!(calls >= 4, "{calls}");
    assert_eq!(calls, with);
    assert!(!manifest.contains("\"-a\"") && !manifest.contains("--pass"));
}

/// A backup from a server whose client answers like this to its first look.
#[track_caller]
fn check_answer(answer: Answer, words: &str) {
    let (world, _) = world_with(Simulated::default());
    world.answers("info", [answer]);
    let start = world.milliseconds();
    check_refused(Redis::backup(&world), words);
    assert_eq!(world.milliseconds(), start, "nothing comes of waiting");
}

#[test]
fn what_waiting_does_not_mend_is_said_at_once_with_what_to_do() {
    let wants = "NOAUTH Authentication required.\n";
    check_answer(Answer::prints(wants), "bind the secret `password`");
    check_answer(
        Answer::prints(wants).then_fails(
            0,
            "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.",
        ),
        "takes neither this user nor this password (AUTH failed: WRONGPASS",
    );
    check_answer(
        Answer::prints("NOPERM this user has no permissions to run the 'info' command\n"),
        "does not let this user do that",
    );
    check_answer(
        Answer::prints("ERR unknown command `INFO`, with args beginning with: \n"),
        "set the parameters `info-command`",
    );
    check_answer(
        Answer::fails(
            1,
            "Could not connect to Redis at 127.0.0.1:6379: SSL_connect failed: certificate verify failed",
        ),
        "look at the parameters `encryption` and `ca-file`",
    );
    check_answer(
        Answer::fails(1, "Unrecognized option or bad number of args for: '--tls'"),
        "was built without TLS",
    );
}

#[test]
fn a_setting_that_may_not_be_asked_is_no_setting_that_is_off() {
    let (world, _) = restorable(Simulated::default());
    world.answers(
        "get-setting",
        [Answer::prints("ERR unknown command `CONFIG`, with args\n")],
    );
    check_refused(Redis::restore(&world), "`config-command`");
    assert!(!world.was_asked("edit"));
}

#[test]
fn an_append_only_file_of_another_name_is_refused_before_anything_is_done() {
    for (setting, name) in [
        ("appendfilename", "backend.aof"),
        ("appenddirname", "backend"),
    ] {
        let (world, _) = restorable(Simulated::default());
        world.on("get-setting", move |call, _| {
            let asked = call.holes.get("setting").map(String::as_str);
            let value = match asked {
                Some("dir") => "/var/lib/redis/data",
                Some("dbfilename") => "dump.rdb",
                Some(asked) if asked == setting => name,
                Some("appendfilename") => "appendonly.aof",
                other => panic!("nobody asks for {other:?}"),
            };
            Answer::prints(format!("{}\n{value}\n", asked.unwrap_or_default()))
        });
        check_refused(
            Redis::restore(&world),
            &format!("the server's `{setting}` is `{name}`"),
        );
        assert!(!world.was_asked("edit"));
    }
}

#[test]
fn redis_6_knows_no_folder_and_is_not_asked_twice() {
    let (world, server) = restorable(Simulated {
        version: "6.2.5",
        ..Simulated::default()
    });
    Redis::restore(&world).expect("the restore");
    assert_eq!(server.borrow().keys, KEYS);
}
