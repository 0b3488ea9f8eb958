//! The same on S3, against moto's server: `COFFERDAM_TEST_MOTO_SERVER`, or `moto_server` on the path.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use cofferdam_repository::{Error, Location, Repository, Retention};

use crate::workbench::{description, dump, noise, password, read, started, write};

/// A server that ends with the test.
struct Moto {
    child: Child,
    endpoint: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test binary takes no arguments of ours"
)]
fn moto() -> Moto {
    let program =
        std::env::var("COFFERDAM_TEST_MOTO_SERVER").unwrap_or_else(|_| "moto_server".to_owned());
    let mut child = Command::new(program)
        .args(["--host", "127.0.0.1", "--port", "0"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("moto is needed: pip install 'moto[server,s3]', or set COFFERDAM_TEST_MOTO_SERVER: {error}")
        });
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let endpoint = lines
        .find_map(|line| {
            line.split("Running on ")
                .nth(1)
                .map(|url| url.trim().to_owned())
        })
        .expect("moto says where it listens");
    // Its log must not fill the pipe and stop it.
    std::thread::spawn(move || lines.for_each(drop));
    Moto { child, endpoint }
}

fn location(moto: &Moto, text: &str) -> Location {
    let environment = BTreeMap::from(
        [
            ("AWS_ACCESS_KEY_ID", "testing"),
            ("AWS_SECRET_ACCESS_KEY", "testing"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &moto.endpoint),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Location::parse(text, &environment).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_on_s3_does_all_that_one_in_a_folder_does() {
    let moto = moto();
    make_bucket(&moto);
    let place = location(&moto, "s3://backups/some/prefix");
    let error = Repository::open(&place, &password()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let repository = Repository::init(&place, &password()).await.unwrap();
    let (content, other) = (dump(20_000_000, 1), noise(2_000_000, 2));
    let artifacts: [(&str, &[u8]); 2] = [("a", &content), ("b", &other)];
    let old = write(
        &repository,
        started("db", "2026-01-01T00:00:00Z"),
        &artifacts,
    )
    .await
    .unwrap();
    let new = write(&repository, description("db"), &[("a", &content)])
        .await
        .unwrap();
    assert_eq!(new.artifacts[0].stored_bytes, 0);

    let again = Repository::open(&place, &password()).await.unwrap();
    assert_eq!(again.list().await.unwrap(), [new.clone(), old.clone()]);
    assert!(read(&again, &old, "b").await.unwrap() == other);
    let writer = again.begin(description("db")).await.unwrap();
    let error = repository.prune(false).await.unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(writer);
    while !again.locks().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    again
        .forget(
            &Retention {
                last: Some(1),
                ..Retention::default()
            },
            false,
        )
        .await
        .unwrap();
    let pruned = again.prune(false).await.unwrap();
    assert!(pruned.bytes_marked > 1_900_000, "{pruned:?}");
    assert!(again.check(true).await.unwrap().is_clean());
    assert!(read(&again, &new, "a").await.unwrap() == content);
}

/// Moto takes an unsigned request to make a bucket; the store's library makes none.
fn make_bucket(moto: &Moto) {
    use std::io::{Read, Write};
    let host = moto.endpoint.strip_prefix("http://").unwrap();
    let mut connection = std::net::TcpStream::connect(host).unwrap();
    write!(
        connection,
        "PUT /backups HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
