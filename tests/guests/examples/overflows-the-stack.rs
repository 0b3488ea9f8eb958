//! Calls itself for ever.

use cofferdam_guest_sdk::{DataSet, Host, Result};

struct Module;

// Small frames: the stack of WebAssembly ends before the one that Rust keeps in its memory.
#[expect(unconditional_recursion, reason = "it is what this guest is for")]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box(depth).wrapping_add(deeper(depth + 1))
}

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        let depth = deeper(0);
        host.log(cofferdam_guest_sdk::Level::Info, &depth.to_string());
        Ok(())
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        Ok(())
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
