//! `cofferdam export`: a run as the files of the manual procedure, for who must do without this program.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Result;
use cofferdam_runs::manual::{Destination, Export, Exported};
use cofferdam_runs::run::kept_runs;

use crate::arguments;
use crate::output::{bytes, clean, show, table};
use crate::report::{Exit, Usage, notice};
use crate::settings::Settings;
use crate::site;

pub(super) async fn run(settings: &Settings, export: &arguments::Export) -> Result<Exit> {
    let choice = super::choice(&export.run)?;
    let is_stream = export.to == Path::new("-");
    if is_stream && std::io::stdout().is_terminal() {
        return Err(Usage::hint(
            anyhow::anyhow!("a tar stream is nothing for a terminal"),
            "say where it goes: `cofferdam export RUN --to - > backup.tar`",
        ));
    }
    let repository = site::repository(settings).await?;
    let runs = kept_runs(repository.list().await?);
    let run = super::show::find(settings, &runs, &choice)?.clone();
    if let Some(name) = export
        .selection
        .only
        .iter()
        .find(|name| !run.snapshots.contains_key(name.as_str()))
    {
        return Err(Usage::hint(
            anyhow::anyhow!("run {} did not keep `{name}`", clean(&run.run)),
            "see what it kept with `cofferdam show`",
        ));
    }
    let destination = if is_stream {
        Destination::Stream(Box::new(std::io::stdout()))
    } else {
        Destination::Folder(export.to.clone())
    };
    let exported = Export {
        repository,
        run,
        only: export.selection.only.clone(),
        cancel: site::cancellation(),
    }
    .carry_out(destination)
    .await?;
    if is_stream {
        // Standard output is the archive: what there is to say goes to people.
        notice(&format!("wrote\n{}", text(&exported)));
    } else {
        show(settings.format, &exported, text)?;
    }
    Ok(if exported.left_out.is_empty() {
        Exit::Done
    } else {
        Exit::Unproven
    })
}

fn text(exported: &Exported) -> String {
    let rows = exported.files.iter().map(|file| {
        let note = if file.is_secret {
            "a Secret, not encrypted"
        } else {
            ""
        };
        vec![file.name.clone(), bytes(file.bytes), note.to_owned()]
    });
    let mut text = table(&["FILE", "BYTES", ""], rows, &[1]);
    for one in &exported.left_out {
        let artifact = one
            .artifact
            .as_ref()
            .map(|name| format!(", {name}"))
            .unwrap_or_default();
        text.push_str(&format!(
            "\nwarning: left out {}{}: {}",
            clean(&one.data_set),
            clean(&artifact),
            clean(&one.reason)
        ));
    }
    text.push_str(
        "\n\nnothing of this is encrypted; every file is for its owner alone (mode 0600)",
    );
    text
}
