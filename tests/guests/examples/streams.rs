//! A well-behaved guest for `cargo xtask bench`: one stream out of a pod, one back into it, and no more
//! logic than that, so that what is measured is the host's way of the bytes. No site should use it.

use cofferdam_guest_sdk::{DataSet, Evidence, Host, Result};

struct Streams;

const ARTIFACT: &str = "stream.sql";

impl DataSet for Streams {
    fn backup(host: &dyn Host) -> Result<()> {
        let pod = host.target("server")?.pod()?;
        let dumped = host.dump(&*pod, "dump", &[], ARTIFACT, "application/sql")?;
        dumped.commit(Evidence::new())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let pod = host.target("server")?.pod()?;
        host.load(ARTIFACT, &*pod, "load", &[]).map(drop)
    }

    fn verify(host: &dyn Host) -> Result<()> {
        host.open_artifact(ARTIFACT)?.examine().map(drop)
    }
}

cofferdam_guest_sdk::export!(Streams);
