//! `repair`: what `doctor` names and a program can mend.

use std::{path::Path, time::Duration};

use sync_client::{OpenOptions, Repaired, SyncClient};

use super::{Net, with_client};
use crate::{
    answer::{self, LostBlob, SetAside},
    cli::RepairArgs,
    error::CliError,
    output::Output,
};

pub(super) async fn run(profile: &Path, args: &RepairArgs, output: Output) -> Result<(), CliError> {
    if args.set_aside {
        let aside = SyncClient::set_aside(profile, OpenOptions::default()).await?;
        output.answer(&SetAside { set_aside: aside.display().to_string() })?;
        output.note(
            "nothing was deleted. Make a new profile with `sync-cli init`, then pair it with another device, or use a recovery \
             kit with `sync-cli import-kit`: what relays and other devices have comes back",
        );
        return Ok(());
    }
    let mut parts = Vec::new();
    let within = Duration::from_secs(args.timeout.into());
    let repaired = with_client(profile, Net::Used, async |client| {
        let progress = output.progress("mending");
        let done = client.repair(within).await;
        progress.finish_and_clear();
        parts = done?;
        Ok(())
    });
    match repaired.await {
        Ok(()) => {}
        // A profile that does not open is all there is to say.
        Err(CliError::Client(error)) => parts = vec![Repaired::of_failure(&error)],
        Err(error) => return Err(error),
    }
    for part in &parts {
        let lost = |blob: &sync_client::LostBlob| LostBlob {
            cursor: blob.cursor.get(),
            push_id: blob.push_id.to_string(),
            sender: blob.sender.to_string(),
        };
        output.answer(&answer::Repaired {
            part: part.part.name(),
            relay: part.relay.as_ref().map(ToString::to_string),
            found: part.found,
            mended: part.mended,
            code: part.code.map(|code| code.name()),
            lost: part.lost.iter().map(lost).collect(),
            text: part.text.clone(),
        })?;
    }
    let left: Vec<_> = parts.iter().filter_map(|part| part.code).collect();
    match left.first() {
        Some(first) => Err(CliError::Unmended { left: left.len(), looked_at: parts.len(), first: *first }),
        None => Ok(()),
    }
}
