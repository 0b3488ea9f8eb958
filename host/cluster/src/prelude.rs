//! The fixed shell text that goes before a command: variables, secrets, a counted stdin.
//!
//! Must never contain a value: only names that cannot be wrong stand in it. Values of the pod stay
//! in the pod; secrets come as the first lines of stdin; arguments are positional parameters.

use std::fmt::Write as _;

use cofferdam_policy::name::VariableName;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The prelude's own exit codes, out of the way of 126 to 165, which shells and signals use.
pub(crate) const NO_VARIABLE: i32 = 120;
/// See [`NO_VARIABLE`].
pub(crate) const NO_SECRET: i32 = 121;

/// Where the value of a variable comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A variable that the container has.
    Pod(VariableName),
    /// A value that the host has read.
    Secret(Secret),
}

/// What the command itself gets on stdin, after the lines with secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing.
    None,
    /// What follows, until stdin is closed.
    Open,
    /// So many bytes, and then its end, though stdin stays open.
    Counted(u64),
}

/// A command line as it goes to the server, and the lines that go to its stdin first.
#[derive(Debug)]
pub(crate) struct Wrapped {
    pub(crate) argv: Vec<String>,
    pub(crate) lines: Zeroizing<Vec<u8>>,
}

impl Wrapped {
    /// Whether stdin has to be opened.
    pub(crate) fn needs_stdin(&self, input: Input) -> bool {
        !self.lines.is_empty() || input != Input::None
    }
}

/// Puts the prelude before `argv`; leaves `argv` alone where nothing has to be done.
pub(crate) fn wrap(argv: &[String], variables: &[(VariableName, Source)], input: Input) -> Wrapped {
    let counted = matches!(input, Input::Counted(_));
    if variables.is_empty() && !counted {
        return Wrapped {
            argv: argv.to_vec(),
            lines: Zeroizing::default(),
        };
    }
    let mut script = String::new();
    let mut lines = Zeroizing::new(Vec::new());
    for (name, source) in variables {
        // Writing to a `String` cannot fail.
        let _ = match source {
            Source::Pod(from) => writeln!(
                script,
                "[ -n \"${{{from}+x}}\" ] || {{ echo 'cofferdam: the container has no variable {from}' >&2; exit {NO_VARIABLE}; }}\n\
                 {name}=${from}; export {name}"
            ),
            Source::Secret(value) => {
                encode(value.expose(), &mut lines);
                // `read` takes no more than its line, so the rest is left for the command; the
                // trailing `x` keeps newlines at the end, which `$(...)` would drop.
                writeln!(
                    script,
                    "IFS= read -r cofferdam || {{ echo 'cofferdam: no value came for {name}' >&2; exit {NO_SECRET}; }}\n\
                     {name}=$(printf '%bx' \"$cofferdam\"); {name}=${{{name}%x}}; export {name}; unset cofferdam"
                )
            }
        };
    }
    let mut words = vec!["sh".to_owned(), "-c".to_owned()];
    let (last, count) = match input {
        Input::None if lines.is_empty() => ("exec \"$@\"", None),
        // The secrets' stdin stays open on a server that cannot close it.
        Input::None => ("exec \"$@\" </dev/null", None),
        Input::Open => ("exec \"$@\"", None),
        Input::Counted(count) => ("n=$1; shift; head -c \"$n\" | \"$@\"", Some(count)),
    };
    script.push_str(last);
    words.push(script);
    words.push("cofferdam".to_owned());
    words.extend(count.map(|count| count.to_string()));
    words.extend_from_slice(argv);
    Wrapped { argv: words, lines }
}

/// One line for `printf %b`: a backslash and a newline are escaped, all else is as it is.
fn encode(value: &[u8], lines: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'\\' => lines.extend_from_slice(b"\\\\"),
            b'\n' => lines.extend_from_slice(b"\\n"),
            other => lines.push(other),
        }
    }
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn name(text: &str) -> VariableName {
        VariableName::parse(text).expect("a variable")
    }

    /// Runs the wrapped command with the real `sh`, `after` following the secrets on stdin.
    fn run(
        argv: &[&str],
        variables: &[(VariableName, Source)],
        input: Input,
        after: &[u8],
    ) -> (i32, String) {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        let wrapped = wrap(&argv, variables, input);
        let (program, rest) = wrapped.argv.split_first().expect("a program");
        let mut child = Command::new(program)
            .args(rest)
            .env("FROM_POD", "it's $HOME \"here\"")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(&wrapped.lines).expect("written");
        let _ = stdin.write_all(after);
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }

    #[test]
    fn a_command_without_needs_stays_as_it_is() {
        let argv = vec!["mysqldump".to_owned(), "a b".to_owned()];
        assert_eq!(wrap(&argv, &[], Input::Open).argv, argv);
    }

    #[test]
    fn a_variable_of_the_pod_is_mapped_inside_the_pod() {
        let variables = [(name("MYSQL_PWD"), Source::Pod(name("FROM_POD")))];
        let seen = run(&["printenv", "MYSQL_PWD"], &variables, Input::None, b"");
        assert_eq!(seen, (0, "it's $HOME \"here\"\n".to_owned()));
    }

    #[test]
    fn a_variable_that_the_pod_lacks_ends_the_command() {
        let variables = [(name("MYSQL_PWD"), Source::Pod(name("NOT_THERE")))];
        let seen = run(&["echo", "ran"], &variables, Input::None, b"");
        assert_eq!(seen, (NO_VARIABLE, String::new()));
    }

    #[test]
    fn a_secret_arrives_whole_and_never_in_argv() {
        let value = "a\\b\\n'\"$(id) `id`\\c %s\n\nend \\0101\n\n";
        let variables = [(
            name("TOKEN"),
            Source::Secret(Secret::new(value.as_bytes().to_vec())),
        )];
        let wrapped = wrap(&["x".to_owned()], &variables, Input::Open);
        assert!(!wrapped.argv.iter().any(|word| word.contains("(id)")));
        let seen = run(
            &["sh", "-c", "printf %s \"$TOKEN\"; cat"],
            &variables,
            Input::Open,
            b"rest",
        );
        assert_eq!(seen, (0, format!("{value}rest")));
    }

    #[test]
    fn several_secrets_come_in_order_and_stdin_is_empty_where_none_is_meant() {
        let variables = [
            (name("ONE"), Source::Secret(Secret::new(b"1".to_vec()))),
            (name("TWO"), Source::Secret(Secret::new(Vec::new()))),
            (name("THREE"), Source::Secret(Secret::new(b"3".to_vec()))),
        ];
        let script = "echo $ONE,$TWO,$THREE; cat";
        let seen = run(
            &["sh", "-c", script],
            &variables,
            Input::None,
            b"not for it",
        );
        assert_eq!(seen, (0, "1,,3\n".to_owned()));
    }

    #[test]
    fn a_counted_stdin_ends_after_its_bytes_and_keeps_the_exit_code() {
        let variables = [(name("ONE"), Source::Secret(Secret::new(b"1".to_vec())))];
        let script = "cat; echo; exit 7";
        let seen = run(
            &["sh", "-c", script],
            &variables,
            Input::Counted(5),
            b"hello and more",
        );
        assert_eq!(seen, (7, "hello\n".to_owned()));
    }

    #[test]
    fn arguments_are_words_whatever_they_hold() {
        let variables = [(name("A"), Source::Pod(name("FROM_POD")))];
        let odd = "$(touch x); `id` 'a\nb";
        let seen = run(&["printf", "%s", odd], &variables, Input::Counted(0), b"");
        assert_eq!(seen, (0, odd.to_owned()));
    }
}
