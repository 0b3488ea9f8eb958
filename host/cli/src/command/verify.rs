//! `cofferdam verify`

use anyhow::Result;

use crate::arguments::Verify;
use crate::report::Exit;
use crate::settings::Settings;
use crate::site;

pub(super) async fn run(settings: &Settings, verify: &Verify) -> Result<Exit> {
    let choice = super::choice(&verify.run)?;
    let prepared = site::prepared(settings, &verify.selection.only).await?;
    let runner = site::runner(settings, &verify.pace).await?;
    let report = runner.verify(&prepared, &choice).await?;
    super::finish(settings.format, &report)
}
