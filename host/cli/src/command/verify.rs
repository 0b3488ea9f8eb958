//! `cofferdam verify`

use anyhow::Result;

use crate::arguments::Verify;
use crate::report::Exit;
use crate::settings::Settings;
use crate::site;

pub(super) async fn run(settings: &Settings, verify: &Verify) -> Result<Exit> {
    let choice = super::choice(&verify.run)?;
    // What was kept is read back whatever has become of the cluster, so no era is looked at.
    let application = site::application(settings)?;
    let prepared = site::bound(settings, application, &verify.selection.only).await?;
    let runner = site::runner(settings, &verify.pace).await?;
    let report = runner.verify(&prepared, &choice).await?;
    super::finish(settings.format, &report)
}
