//! Takes all the memory there is.

use cofferdam_guest_sdk::{DataSet, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(_host: &dyn Host) -> Result<()> {
        let mut eaten = Vec::new();
        loop {
            eaten.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        Ok(())
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
