//! Computes for ever: in a backup without a call of the host, in a restore with one in each turn.

use cofferdam_guest_sdk::{DataSet, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(_host: &dyn Host) -> Result<()> {
        let mut number = 0_u64;
        loop {
            number = std::hint::black_box(number.wrapping_add(1));
        }
    }

    fn restore(host: &dyn Host) -> Result<()> {
        loop {
            std::hint::black_box(host.now());
        }
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
