//! Files in a container, by fixed command lines of the host.
//!
//! A path is a positional parameter and never a part of a shell's text. Must never leave a half
//! file under its real name, and never read through a link that leads out of the link's folder.

mod tree;

use std::time::Duration;

use bytes::Bytes;
use cofferdam_policy::Permit;
use cofferdam_policy::name::ContainerName;
use cofferdam_policy::request::{AccessFile, FileOperation};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::exec::Launch;
use crate::pod::Pod;
use crate::process::{Process, Stdin, Stdout};
use crate::stream::Feed;
use crate::text;

pub use tree::unpack::Packed;
pub use tree::{PackedTree, Room, TreeEntry, TreeFeed, TreeListing, TreeNames};

/// For operations that move no data.
const SHORT: Duration = Duration::from_secs(120);
/// A removed tree may hold a million files.
const LONG: Duration = Duration::from_secs(3600);
/// More than a short operation ever says.
const LARGEST_ANSWER: usize = 64 << 10;

const NO_FILE: i32 = 44;
const LEADS_OUT: i32 = 45;
const WRONG_KIND: i32 = 46;
const CLOSED_FOLDER: i32 = 47;
const WRONG_SIZE: i32 = 49;
const NO_FIND: i32 = 50;
const NO_TAR: i32 = 51;

/// Exits unless the path in `$1` exists. A folder that may not be entered hides what it holds, and
/// "not there" would be a lie.
const THERE: &str = r#"d=${1%/*}
[ ! -d "$d/" ] || [ -x "$d/" ] || exit 47
[ -e "$1" ] || [ -L "$1" ] || exit 44
"#;
const STAT: &str = r#"exec stat -c '%f %s %Y' "$1""#;
/// A link may lead to its own folder or below, as those of a mounted ConfigMap do.
const READ: &str = r#"if [ -L "$1" ]; then
  real=$(readlink -f "$1") && home=$(readlink -f "$d/") || exit 45
  case "$real" in "${home%/}"/*) ;; *) exit 45 ;; esac
fi
[ -f "$1" ] || exit 46
exec cat "$1""#;
/// `$1` the partial file, `$2` the beginning of its name: what earlier, broken runs left goes first.
const WRITE: &str = r#"for old in "$2"*; do rm -f "$old" || exit 1; done
set -C
cat > "$1" || exit 1
exec sync "$1""#;
/// `$1` the partial file, `$2` the real one, `$3` the size that was sent. Root gives the file to the
/// owner of what it replaces, or of the folder, because the server in the container is not root.
const FINISH: &str = r#"[ "$(stat -c %s "$1")" = "$3" ] || exit 49
if [ -d "$2" ] && [ ! -L "$2" ]; then exit 46; fi
model=${2%/*}/
if [ -e "$2" ]; then model=$2; chmod "$(stat -L -c %a "$2")" "$1" || exit 1; fi
if [ "$(id -u)" = 0 ]; then chown "$(stat -L -c %u:%g "$model")" "$1" 2>/dev/null; fi
mv -f "$1" "$2" || exit 1
exec sync "${2%/*}/""#;
/// `mv` onto a folder would move into it.
const RENAME: &str = r#"if [ -d "$2" ] && [ ! -L "$2" ]; then exit 46; fi
exec mv -f "$1" "$2""#;
const REMOVE: &str = r#"exec rm -rf "$1""#;

/// What kind of file it is. Links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// Its kind.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// The permission bits, `0o7777` at most.
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: u64,
}

impl Cluster {
    /// Looks at a file or folder; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be looked at, and the errors of a command.
    pub async fn stat(
        &self,
        permit: &Permit<AccessFile>,
        pod: &Pod,
    ) -> Result<Option<FileState>, Error> {
        let place = Place::new(permit, pod, "stat", |operation| {
            matches!(operation, FileOperation::Stat)
        })?;
        let script = format!("{THERE}{STAT}");
        match self.short(&place, &script, &[place.path], SHORT).await {
            Ok(answer) => read_state(&answer)
                .map(Some)
                .ok_or_else(|| place.failed("its answer is not understood")),
            Err(Error::NoFile { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The errors of starting a command; that there is no file shows in [`FileReader::next`].
    pub async fn read_file(
        &self,
        permit: &Permit<AccessFile>,
        pod: &Pod,
    ) -> Result<FileReader, Error> {
        let place = Place::new(permit, pod, "read", |operation| {
            matches!(operation, FileOperation::Read)
        })?;
        let script = format!("{THERE}{READ}");
        let mut process = self
            .fixed(&place, &script, &[place.path], Feed::None, None)
            .await?;
        let stdout = process.take_stdout();
        Ok(FileReader {
            process: Some(process),
            stdout,
            path: place.path.to_owned(),
            pod: place.pod.name().to_owned(),
            bytes: 0,
        })
    }

    /// Writes a file beside its place, to be renamed into it by [`FileWriter::finish`].
    ///
    /// `run` names the partial file `.cofferdam-partial-PATH.RUN`, and has to be letters, digits,
    /// `.`, `_` and `-`. `length` as in [`Cluster::exec`]. A file that is replaced keeps its mode.
    ///
    /// # Errors
    /// The errors of starting a command.
    pub async fn write_file(
        &self,
        permit: &Permit<AccessFile>,
        pod: &Pod,
        run: &str,
        length: Option<u64>,
    ) -> Result<FileWriter, Error> {
        let place = Place::new(permit, pod, "write", |operation| {
            matches!(operation, FileOperation::Write)
        })?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if run.is_empty() || run.len() > 100 || !run.bytes().all(plain) {
            return Err(Error::WrongPermit {
                what: format!("`{}` is no id of a run", text::sentence(run)),
            });
        }
        let folder = place.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // No path of a manifest has a dot in its name, so no name is the beginning of another.
        let begin = format!("{folder}/.cofferdam-partial-{}.", permit.request().name);
        let partial = format!("{begin}{run}");
        let arguments = [partial.as_str(), begin.as_str()];
        let mut process = self
            .fixed(&place, WRITE, &arguments, Feed::Open(length), None)
            .await?;
        let stdin = process.take_stdin();
        Ok(FileWriter {
            cluster: self.clone(),
            process,
            stdin,
            pod: pod.clone(),
            container: place.container.clone(),
            path: place.path.to_owned(),
            partial,
            written: 0,
        })
    }

    /// Renames a file to another declared path, in place of a file there but never of a folder.
    ///
    /// # Errors
    /// [`Error::NoFile`], [`Error::File`], and the errors of a command.
    pub async fn rename(&self, permit: &Permit<AccessFile>, pod: &Pod) -> Result<(), Error> {
        let place = Place::new(permit, pod, "rename", |operation| {
            matches!(operation, FileOperation::Rename { .. })
        })?;
        let FileOperation::Rename { to_path, .. } = &permit.request().operation else {
            return Err(place.failed("the permit names no other path"));
        };
        let script = format!("{THERE}{RENAME}");
        let arguments = [place.path, to_path.as_str()];
        self.short(&place, &script, &arguments, SHORT).await?;
        Ok(())
    }

    /// Removes a file or a whole tree; says whether there was one.
    ///
    /// # Errors
    /// [`Error::File`] and the errors of a command.
    pub async fn remove(&self, permit: &Permit<AccessFile>, pod: &Pod) -> Result<bool, Error> {
        let place = Place::new(permit, pod, "remove", |operation| {
            matches!(operation, FileOperation::Remove)
        })?;
        let script = format!("{THERE}{REMOVE}");
        match self.short(&place, &script, &[place.path], LONG).await {
            Ok(_) => Ok(true),
            Err(Error::NoFile { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs a fixed script to its end and gives its output.
    async fn short(
        &self,
        place: &Place<'_>,
        script: &str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<String, Error> {
        let mut process = self
            .fixed(place, script, arguments, Feed::None, Some(limit))
            .await?;
        let mut answer = Vec::new();
        if let Some(mut stdout) = process.take_stdout() {
            while let Some(bytes) = stdout.next().await? {
                if answer.len() < LARGEST_ANSWER {
                    answer.extend_from_slice(&bytes);
                }
            }
        }
        let outcome = process.wait().await?;
        judge(
            outcome.exit_code,
            &outcome.stderr,
            place.attempt,
            place.path,
            place.pod.name(),
        )?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn fixed(
        &self,
        place: &Place<'_>,
        script: &str,
        arguments: &[&str],
        feed: Feed,
        limit: Option<Duration>,
    ) -> Result<Process, Error> {
        let mut argv: Vec<String> = ["sh", "-c", script, "cofferdam"].map(str::to_owned).into();
        argv.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let launch = Launch {
            what: format!("the {} of `{}`", place.attempt, place.path),
            pod: place.pod,
            container: place.container,
            argv: &argv,
            variables: &[],
            feed,
            limit,
        };
        self.launch(launch).await
    }
}

/// A file being read.
#[derive(Debug)]
pub struct FileReader {
    process: Option<Process>,
    stdout: Option<Stdout>,
    path: String,
    pod: String,
    bytes: u64,
}

impl FileReader {
    /// The next bytes, never empty. `Ok(None)` is the proven end of the whole file.
    ///
    /// # Errors
    /// [`Error::NoFile`], [`Error::File`] for a folder or a link that leads out, and the errors of a
    /// command.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(stdout) = &mut self.stdout {
            if let Some(bytes) = stdout.next().await? {
                self.bytes += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            self.stdout = None;
        }
        if let Some(process) = self.process.take() {
            let outcome = process.wait().await?;
            judge(
                outcome.exit_code,
                &outcome.stderr,
                "read",
                &self.path,
                &self.pod,
            )?;
        }
        Ok(None)
    }

    /// How many bytes were given out.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A file being written beside its place. Dropped before [`finish`](Self::finish) it leaves at most
/// a partial file, which the next write of the same path removes.
#[derive(Debug)]
pub struct FileWriter {
    cluster: Cluster,
    process: Process,
    stdin: Option<Stdin>,
    pod: Pod,
    container: ContainerName,
    path: String,
    partial: String,
    written: u64,
}

impl FileWriter {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// [`Error::StdinRefused`] when the pod stopped taking them, for instance because its disk is
    /// full: [`finish`](Self::finish) says why.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let length = bytes.len() as u64;
        if let Some(stdin) = &mut self.stdin {
            stdin.write(bytes).await?;
        }
        self.written += length;
        Ok(())
    }

    /// Syncs the file, checks its size, renames it into place. Gives the number of bytes.
    ///
    /// # Errors
    /// [`Error::File`] when any of it failed; then what was there before is there still.
    pub async fn finish(self) -> Result<u64, Error> {
        let Self {
            cluster,
            process,
            stdin,
            pod,
            container,
            path,
            partial,
            written,
        } = self;
        if let Some(stdin) = stdin {
            stdin.close().await?;
        }
        let outcome = process.wait().await?;
        judge(
            outcome.exit_code,
            &outcome.stderr,
            "write",
            &path,
            pod.name(),
        )?;
        let place = Place {
            pod: &pod,
            container: &container,
            path: &path,
            attempt: "write",
        };
        let size = written.to_string();
        cluster
            .short(&place, FINISH, &[&partial, &path, &size], SHORT)
            .await?;
        Ok(written)
    }

    /// Gives up and removes the partial file, where the pod can still be reached.
    pub async fn abandon(self) {
        let Self {
            cluster,
            process,
            stdin,
            pod,
            container,
            path,
            partial,
            ..
        } = self;
        process.kill().await;
        drop(stdin);
        let place = Place {
            pod: &pod,
            container: &container,
            path: &path,
            attempt: "remove",
        };
        let removed = cluster.short(&place, REMOVE, &[&partial], SHORT).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "a partial file stays in the pod");
        }
    }
}

/// A path in a container that a permit speaks of.
struct Place<'a> {
    pod: &'a Pod,
    container: &'a ContainerName,
    path: &'a str,
    attempt: &'static str,
}

impl<'a> Place<'a> {
    fn new(
        permit: &'a Permit<AccessFile>,
        pod: &'a Pod,
        attempt: &'static str,
        fits: fn(&FileOperation) -> bool,
    ) -> Result<Self, Error> {
        let request = permit.request();
        if !fits(&request.operation) {
            return Err(Error::WrongPermit {
                what: format!(
                    "it allows something else than to {attempt} `{}`",
                    request.path
                ),
            });
        }
        pod.check(&request.target)?;
        Ok(Self {
            pod,
            container: &request.target.container,
            path: request.path.as_str(),
            attempt,
        })
    }

    fn failed(&self, what: &str) -> Error {
        failed(self.attempt, self.path, self.pod.name(), what)
    }
}

fn failed(attempt: &'static str, path: &str, pod: &str, what: &str) -> Error {
    Error::File {
        attempt,
        path: path.to_owned(),
        pod: pod.to_owned(),
        what: what.to_owned(),
    }
}

/// What the exit code of a fixed script means.
fn judge(
    code: i32,
    stderr: &str,
    attempt: &'static str,
    path: &str,
    pod: &str,
) -> Result<(), Error> {
    let what = match code {
        0 => return Ok(()),
        NO_FILE => {
            return Err(Error::NoFile {
                path: path.to_owned(),
                pod: pod.to_owned(),
            });
        }
        LEADS_OUT if attempt.ends_with("tree") => {
            "it is a link, and the folder it leads to is not declared".to_owned()
        }
        LEADS_OUT => "it is a link that leads out of its folder".to_owned(),
        WRONG_KIND if attempt.ends_with("tree") => "it is no folder".to_owned(),
        WRONG_KIND if attempt == "read" => "it is no regular file".to_owned(),
        WRONG_KIND => "a folder is in its place".to_owned(),
        CLOSED_FOLDER => "its folder may not be entered".to_owned(),
        NO_FIND => "the container has no GNU find, which tells modes, owners and times".to_owned(),
        NO_TAR => "the container has no GNU tar".to_owned(),
        WRONG_SIZE => "the pod has another number of bytes than were sent".to_owned(),
        code => {
            let said = text::sentence(stderr);
            let colon = if said.is_empty() { "" } else { ": " };
            format!("exit code {code}{colon}{said}")
        }
    };
    Err(failed(attempt, path, pod, &what))
}

/// Reads `%f %s %Y`: the mode in hexadecimal, bytes, seconds.
fn read_state(answer: &str) -> Option<FileState> {
    let mut words = answer.split_whitespace();
    let raw = u32::from_str_radix(words.next()?, 16).ok()?;
    let size = words.next()?.parse().ok()?;
    let modified = words.next()?.parse::<i64>().ok()?;
    let kind = match raw & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Folder,
        0o120_000 => FileKind::Link,
        _ => FileKind::Other,
    };
    Some(FileState {
        kind,
        size,
        mode: raw & 0o7777,
        modified: u64::try_from(modified).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests;
