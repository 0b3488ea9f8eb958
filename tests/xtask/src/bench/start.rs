//! What a person waits for before anything happens: the program's own start, and a module made ready
//! from the warm cache. Measured as whole processes, so that nothing is left out.

use std::process::Command;
use std::time::Instant;

use fs_err as fs;

use super::ground::Ground;
use super::measurement::{Measurement, median, milliseconds};
use crate::process;
use crate::progress::Progress;

/// Enough that one unlucky start does not move the middle.
const STARTS: usize = 21;

/// Both figures.
pub(super) fn measure(ground: &Ground, progress: Progress) -> anyhow::Result<Vec<Measurement>> {
    let step = progress.start("start", &format!("{STARTS} starts each"));
    // One stock module alone, so that one is what is counted.
    let scratch = ground.scratch()?;
    let mut stock: Vec<_> = fs::read_dir(&ground.stock)?.collect::<Result<_, _>>()?;
    stock.sort_by_key(fs_err::DirEntry::file_name);
    let name = match stock.first() {
        Some(module) => {
            fs::copy(module.path(), scratch.path().join(module.file_name()))?;
            module.file_name().to_string_lossy().into_owned()
        }
        None => "no module".to_owned(),
    };
    let help = || {
        let mut command = ground.product(scratch.path());
        command.arg("--help");
        command
    };
    let list = || {
        let mut command = ground.product(scratch.path());
        command
            .env("COFFERDAM_MODULES", scratch.path())
            .args(["modules", "list"]);
        command
    };
    // The first start fills the cache of compiled modules.
    process::quietly(&mut list())?;
    let (mut helps, mut lists) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        helps.push(timed(&mut help())?);
        lists.push(timed(&mut list())?);
    }
    step.done("measured");
    let (help, list) = (median(helps), median(lists));
    Ok(vec![
        Measurement::new("cofferdam --help", "20 ms", help, 20.0, 1.0, "ms"),
        Measurement::new(
            &format!("{name} ready from the warm cache (`modules list` less `--help`)"),
            "5 ms",
            list - help,
            5.0,
            1.0,
            "ms",
        ),
    ])
}

fn timed(command: &mut Command) -> anyhow::Result<f64> {
    let started = Instant::now();
    process::quietly(command)?;
    Ok(milliseconds(started.elapsed()))
}
