//! `diagnostics`: a report for whoever helps.

use std::{fmt, path::Path, time::Duration};

use serde::Serialize;
use sync_client::Diagnostics;

use super::{Net, with_client};
use crate::{error::CliError, output::Output};

/// How long to wait for everything to be in step before it is judged.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// On several lines for people, who paste it somewhere.
#[derive(Serialize)]
#[serde(transparent)]
struct Report(Diagnostics);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_text())
    }
}

pub(super) async fn run(profile: &Path, output: Output) -> Result<(), CliError> {
    let mut report = None;
    let looked = with_client(profile, Net::Used, async |client| {
        let progress = output.progress("looking");
        let found = client.diagnostics(SETTLE_MAX).await;
        progress.finish_and_clear();
        report = Some(found?);
        Ok(())
    });
    let report = match looked.await {
        Ok(()) => report.expect("the command ended well"),
        // What is wrong with a profile that does not open is what the report is wanted for.
        Err(CliError::Client(error)) => Diagnostics::of_failure(&error),
        Err(error) => return Err(error),
    };
    output.answer(&Report(report))
}
