//! The old files of the server: moved aside, put back when a restore fails, removed when it is
//! proven.
//!
//! They are renamed, never copied: the folder may have no room for both.

use cofferdam_guest_sdk::{Context, Host, Pod, Result, StepState};

/// The files that a server may load from, and the names under which they lie aside. Names of the
/// manifest.
const FILES: [(&str, &str); 3] = [
    ("dump", "dump-aside"),
    ("append-only-file", "append-only-file-aside"),
    ("append-only-folder", "append-only-folder-aside"),
];

/// The old files, aside.
#[derive(Debug)]
pub(crate) struct SetAside {
    /// Those of `FILES` that the server had.
    originals: Vec<(&'static str, &'static str)>,
}

impl SetAside {
    /// Moves the old files aside.
    ///
    /// When an earlier restore was killed here or later, what lies aside already is the data from
    /// before it, and is kept; what lies in its place is that restore's. Otherwise files that lie
    /// aside are leftovers that nobody will ask for again.
    pub(crate) fn all(host: &dyn Host, pod: &dyn Pod) -> Result<Self> {
        let interrupted = match host.begin_step("set-aside")? {
            StepState::Fresh => false,
            StepState::Interrupted | StepState::Done => true,
        };
        let mut aside = Self {
            originals: Vec::new(),
        };
        if let Err(error) = aside.move_all(host, pod, interrupted) {
            return Err(match aside.move_back(pod) {
                Ok(()) => error,
                Err(undoing) => error.context(format!(
                    "some old files could not be moved back ({undoing}) and lie as `dump.rdb.before-restore` and its like"
                )),
            });
        }
        host.finish_step("set-aside")?;
        Ok(aside)
    }

    fn move_all(&mut self, host: &dyn Host, pod: &dyn Pod, interrupted: bool) -> Result<()> {
        for (file, aside) in FILES {
            let is_there = pod.stat(file)?.is_some();
            let lies_aside = pod.stat(aside)?.is_some();
            if lies_aside && interrupted {
                host.info(&format!(
                    "`{aside}` is from before an interrupted restore: keeping it"
                ));
                pod.remove(file)?;
                self.originals.push((file, aside));
                continue;
            }
            if lies_aside {
                pod.remove(aside)?;
            }
            if is_there {
                pod.rename(file, aside)
                    .context(format!("failed to move `{file}` aside"))?;
                self.originals.push((file, aside));
            }
        }
        Ok(())
    }

    /// Undoes the moves so far; what was not moved stays where it is.
    fn move_back(&self, pod: &dyn Pod) -> Result<()> {
        for (file, aside) in &self.originals {
            pod.rename(aside, file)?;
        }
        Ok(())
    }

    /// Puts the old files back and removes what took their place.
    pub(crate) fn put_back(&self, pod: &dyn Pod) -> Result<()> {
        for (file, aside) in FILES {
            // A file that is not aside any more is in its place already.
            let lies_aside = pod.stat(aside)?.is_some();
            let is_original = self.originals.contains(&(file, aside));
            if lies_aside || !is_original {
                pod.remove(file)?;
            }
            if lies_aside && is_original {
                pod.rename(aside, file)?;
            }
        }
        Ok(())
    }

    /// Removes the old files.
    pub(crate) fn discard(&self, pod: &dyn Pod) -> Result<()> {
        for (_, aside) in &self.originals {
            pod.remove(aside)?;
        }
        Ok(())
    }
}

/// Whether files of an interrupted restore lie in the folder.
pub(crate) fn has_leftovers(pod: &dyn Pod) -> Result<bool> {
    for (_, aside) in FILES {
        if pod.stat(aside)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
