//! Folders in a container: listed by `find`, packed and unpacked by `tar`, by fixed command lines.
//!
//! Both have to be the GNU ones, which the images of the servers have; their absence is said. Names travel on standard
//! input with a zero byte behind each and `./` before, never in a command line. All that comes out is the pod's word:
//! its shape is checked here, and whether it is true by the one who listed. Must never follow a link in the place of
//! the folder, and never begin to write before the folder was entered.

mod list;
pub(super) mod unpack;

use bytes::Bytes;
use cofferdam_policy::Permit;
use cofferdam_policy::request::{AccessFile, FileOperation};

pub use list::{Room, TreeEntry, TreeListing};
use unpack::{Packed, Unpacker};

use super::{Place, judge};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::pod::Pod;
use crate::process::{Process, Stdin, Stdout};
use crate::stream::Feed;
use crate::text;

/// Behind `THERE`: enters the folder, so that all that follows happens in it, and settles the language.
const ENTER: &str = r#"[ ! -L "$1" ] || exit 45
[ -d "$1/" ] || exit 46
cd "$1/" 2>/dev/null || exit 47
LC_ALL=C
export LC_ALL
"#;
const HAS_TAR: &str = r#"case "$(tar --version 2>/dev/null)" in *GNU*) ;; *) exit 51 ;; esac
"#;
/// Hard links are packed as files of their own, since each is asked for once.
const PACK: &str =
    "exec tar -c -f - --format=gnu --sparse --hard-dereference --no-recursion --null -T -";
/// `$2` is `same-owner` or `no-same-owner`. What is in the place of a file is removed, not written
/// through: so neither a link nor a hard link in the folder leads the bytes elsewhere.
const UNPACK: &str = r#"exec tar -x -p -f - --numeric-owner --delay-directory-restore --"$2""#;
const CLEAR: &str = "exec xargs -0 rm -rf";

fn saves(operation: &FileOperation) -> bool {
    matches!(operation, FileOperation::SaveTree)
}

fn loads(operation: &FileOperation) -> bool {
    matches!(operation, FileOperation::LoadTree)
}

impl Cluster {
    /// Lists a folder and all below it, for saving or loading.
    ///
    /// # Errors
    /// The errors of starting a command. What is wrong with the folder shows in [`TreeListing::next`].
    pub async fn list_tree(
        &self,
        permit: &Permit<AccessFile>,
        pod: &Pod,
    ) -> Result<TreeListing, Error> {
        let place = Place::new(permit, pod, "list the tree", |operation| {
            saves(operation) || loads(operation)
        })?;
        let script = format!("{}{ENTER}{}", super::THERE, list::LIST);
        let mut process = self
            .fixed(&place, &script, &[place.path], Feed::None, None)
            .await?;
        let stdout = process.take_stdout();
        TreeListing::begin(process, stdout, &place).await
    }

    /// Packs files of a folder: the names go in, `length` bytes of them, and the files come out in the same order.
    /// A file that cannot be read is left out.
    ///
    /// # Errors
    /// The errors of starting a command.
    pub async fn pack_tree(
        &self,
        permit: &Permit<AccessFile>,
        pod: &Pod,
        length: u64,
    ) -> Result<(TreeNames, PackedTree), Error> {
        let place = Place::new(permit, pod, "pack the tree", saves)?;
        let script = format!("{}{ENTER}{HAS_TAR}{PACK}", super::THERE);
        let mut process = self
            .fixed(
                &place,
                &script,
                &[place.path],
                Feed::Open(Some(length)),
                None,
            )
            .await?;
        let (stdin, stdout) = (process.take_stdin(), process.take_stdout());
        let packed = PackedTree {
            process: Some(process),
            stdout,
            unpacker: Unpacker::default(),
            input: Bytes::new(),
            path: place.path.to_owned(),
            pod: place.pod.name().to_owned(),
            bytes: 0,
            complaint: None,
        };
        Ok((TreeNames { stdin }, packed))
    }

    /// Unpacks an archive of `length` bytes into a folder, which must be there.
    ///
    /// # Errors
    /// The errors of starting a command.
    pub async fn unpack_tree(
        &self,
        permit: &Permit<AccessFile>,
        pod: &Pod,
        keep_owner: bool,
        length: u64,
    ) -> Result<TreeFeed, Error> {
        let place = Place::new(permit, pod, "load the tree", loads)?;
        let script = format!("{}{ENTER}{HAS_TAR}{UNPACK}", super::THERE);
        let owner = if keep_owner {
            "same-owner"
        } else {
            "no-same-owner"
        };
        self.feed(&place, &script, &[place.path, owner], length)
            .await
    }

    /// Removes entries of a folder, by their names: `length` bytes of them.
    ///
    /// # Errors
    /// The errors of starting a command.
    pub async fn clear_tree(
        &self,
        permit: &Permit<AccessFile>,
        pod: &Pod,
        length: u64,
    ) -> Result<TreeFeed, Error> {
        let place = Place::new(permit, pod, "clear the tree", loads)?;
        let script = format!("{}{ENTER}{CLEAR}", super::THERE);
        self.feed(&place, &script, &[place.path], length).await
    }

    async fn feed(
        &self,
        place: &Place<'_>,
        script: &str,
        arguments: &[&str],
        length: u64,
    ) -> Result<TreeFeed, Error> {
        let mut process = self
            .fixed(place, script, arguments, Feed::Open(Some(length)), None)
            .await?;
        let stdin = process.take_stdin();
        Ok(TreeFeed {
            process,
            stdin,
            attempt: place.attempt,
            path: place.path.to_owned(),
            pod: place.pod.name().to_owned(),
        })
    }
}

/// The way in for the names of files to pack. Feed it while the files are read, or both sides wait.
#[derive(Debug)]
pub struct TreeNames {
    stdin: Option<Stdin>,
}

impl TreeNames {
    /// Writes names.
    ///
    /// # Errors
    /// [`Error::StdinRefused`] when the command ended: [`PackedTree::next`] says why.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match &mut self.stdin {
            Some(stdin) => stdin.write(bytes).await,
            None => Ok(()),
        }
    }

    /// Says that there are no more.
    ///
    /// # Errors
    /// [`Error::StdinLength`] for less than was announced.
    pub async fn close(self) -> Result<(), Error> {
        match self.stdin {
            Some(stdin) => stdin.close().await,
            None => Ok(()),
        }
    }
}

/// Files coming out of a folder.
#[derive(Debug)]
pub struct PackedTree {
    process: Option<Process>,
    stdout: Option<Stdout>,
    unpacker: Unpacker,
    input: Bytes,
    path: String,
    pod: String,
    bytes: u64,
    complaint: Option<String>,
}

impl PackedTree {
    /// What comes next; `None` is the proven end of a whole archive.
    ///
    /// # Errors
    /// [`Error::File`] for what is no archive of `tar`, and the errors of a command. That single files could not be read
    /// is no error here: they do not come, and [`complaint`](Self::complaint) says why.
    pub async fn next(&mut self) -> Result<Option<Packed>, Error> {
        loop {
            let step = self.unpacker.next(&mut self.input);
            match step {
                Ok(Some(packed)) => return Ok(Some(packed)),
                Ok(None) => {}
                Err(what) => return Err(self.failed(&what)),
            }
            let more = match &mut self.stdout {
                Some(stdout) => stdout.next().await?,
                None => None,
            };
            if let Some(bytes) = more {
                self.bytes += bytes.len() as u64;
                self.input = bytes;
                continue;
            }
            self.stdout = None;
            if let Some(process) = self.process.take() {
                let outcome = process.wait().await?;
                match outcome.exit_code {
                    0 => {}
                    // 1: a file changed while it was read; 2: one could not be read. Which ones were whole shows
                    // in the next listing, whatever the program says.
                    1 | 2 => self.complaint = Some(text::sentence(&outcome.stderr)),
                    code => judge(
                        code,
                        &outcome.stderr,
                        "pack the tree",
                        &self.path,
                        &self.pod,
                    )?,
                }
                if !self.unpacker.has_ended() {
                    let why = self.complaint.clone().unwrap_or_default();
                    return Err(self.failed(&format!("the archive has no end: {why}")));
                }
            }
            return Ok(None);
        }
    }

    /// Bytes that came, headers and all.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What `tar` said of files that it could not read or that changed meanwhile.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    fn failed(&self, what: &str) -> Error {
        super::failed("pack the tree", &self.path, &self.pod, what)
    }
}

/// Bytes going into a folder. Dropped before [`finish`](Self::finish) the command is given up.
#[derive(Debug)]
pub struct TreeFeed {
    process: Process,
    stdin: Option<Stdin>,
    attempt: &'static str,
    path: String,
    pod: String,
}

impl TreeFeed {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// [`Error::StdinRefused`] when the command ended early: [`finish`](Self::finish) says why.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match &mut self.stdin {
            Some(stdin) => stdin.write(bytes).await,
            None => Ok(()),
        }
    }

    /// Ends the input and waits for the command.
    ///
    /// # Errors
    /// [`Error::File`] with what the command said, and the errors of a command.
    pub async fn finish(mut self) -> Result<(), Error> {
        if let Some(stdin) = self.stdin.take() {
            stdin.close().await?;
        }
        self.outcome().await
    }

    /// Waits for a command that took no more input, and says why; never `Ok`.
    pub async fn reason(mut self, refused: Error) -> Error {
        // Its input must not be closed as if it were whole, only given up where the command still reads.
        let stdin = self.stdin.take();
        let outcome = self.outcome().await;
        drop(stdin);
        outcome.err().unwrap_or(refused)
    }

    async fn outcome(self) -> Result<(), Error> {
        let outcome = self.process.wait().await?;
        judge(
            outcome.exit_code,
            &outcome.stderr,
            self.attempt,
            &self.path,
            &self.pod,
        )
    }
}

#[cfg(test)]
mod tests;
