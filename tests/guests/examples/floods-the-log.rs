//! Writes more log than anybody reads, with what a terminal would obey in it.

use cofferdam_guest_sdk::{DataSet, Evidence, Host, Level, Result};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        host.log(
            Level::Info,
            "\u{1b}[2J\u{1b}[1;1Hyour backup\r\nis fine\u{7}",
        );
        host.log(Level::Info, &"long ".repeat(10_000));
        for number in 0..100_000_u64 {
            host.log(Level::Debug, &format!("line {number}"));
            host.progress("flooding", number, Some(100_000), "lines");
        }
        let mut artifact = host.create_artifact("nothing", "text/plain")?;
        artifact.write(b"kept all the same")?;
        artifact.commit(&Evidence::default())
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        Ok(())
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
