//! `doctor`: what sync rests on, how it is, and what to do.

use std::{path::Path, time::Duration};

use sync_client::{Finding, Verdict};

use super::{Net, with_client};
use crate::{answer, error::CliError, output::Output};

/// How long to wait for everything to be in step before it is judged.
const SETTLE_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(profile: &Path, output: Output) -> Result<(), CliError> {
    let mut findings = Vec::new();
    let looked = with_client(profile, Net::Used, async |client| {
        let progress = output.progress("looking");
        let found = client.checkup(SETTLE_MAX).await;
        progress.finish_and_clear();
        findings = found?;
        Ok(())
    });
    match looked.await {
        Ok(()) => {}
        // A profile that does not open is a finding too, and the only one there can be.
        Err(CliError::Client(error)) => findings = vec![Finding::of_failure(&error)],
        Err(error) => return Err(error),
    }
    for finding in &findings {
        output.answer(&answer::Finding {
            check: finding.check.name(),
            verdict: finding.verdict.name(),
            relay: finding.relay.as_ref().map(ToString::to_string),
            code: finding.code.map(|code| code.name()),
            text: finding.text.clone(),
        })?;
    }
    let bad: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).collect();
    match bad.iter().find_map(|finding| finding.code) {
        Some(first) => Err(CliError::Unwell { bad: bad.len(), looked_at: findings.len(), first }),
        None => Ok(()),
    }
}
