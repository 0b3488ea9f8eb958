//! Puts markup wherever it may say something: step, log, evidence, media type, error.

use cofferdam_guest_sdk::{DataSet, Error, Evidence, Host, Level, Result};

/// What a page that pasted strings would obey.
const MARKUP: &str = "</style></dd><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"><a href=\"javascript:0\">here</a>' onmouseover='x";

/// As much of it as the name of a step may have.
const STEP: &str = "<script>document.title='taken'</script>";

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        host.log(Level::Warn, MARKUP);
        host.step(STEP, || {
            let mut artifact = host.create_artifact("all", "text/plain; note=<script>")?;
            artifact.write(b"everything")?;
            artifact.commit(
                &Evidence::new()
                    .with("note", MARKUP)
                    .with("wide", "w".repeat(2000)),
            )
        })
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        Err(Error::failed("markup", MARKUP))
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
