//! `relay list`, `add` and `remove`: which relays carry this device's blobs.

use std::time::Duration;

use sync_client::{RelayAddr, SyncClient};

use super::Net;
use crate::{
    answer::{Contradiction, RelayAdded, RelayRemoved, RelayRow},
    cli::{RelayArgs, RelayCommand, RelayListArgs},
    error::CliError,
    output::Output,
};

/// How long to find out how the relays are. What is begun goes on by itself whenever this device is online.
const SETTLE_MAX: Duration = Duration::from_secs(5);

pub(super) fn net(command: &RelayCommand) -> Net {
    match command {
        RelayCommand::List(RelayListArgs { offline }) => Net::unless(*offline),
        RelayCommand::Add(_) => Net::Used,
        RelayCommand::Remove(_) => Net::Idle,
    }
}

pub(super) async fn run(client: &SyncClient, command: &RelayCommand, output: Output) -> Result<(), CliError> {
    match command {
        RelayCommand::List(args) => list(client, args, output).await,
        RelayCommand::Add(args) => add(client, args, output).await,
        RelayCommand::Remove(args) => remove(client, args, output).await,
    }
}

async fn list(client: &SyncClient, args: &RelayListArgs, output: Output) -> Result<(), CliError> {
    if !args.offline {
        settle(client, output).await;
    }
    let status = client.status();
    for relay in client.relays().await? {
        let state = relay.relay.and_then(|id| status.relays.iter().find(|state| state.relay == id));
        output.answer(&RelayRow {
            address: relay.address.to_string(),
            relay_id: relay.relay.map(|id| id.to_string()),
            connection: state.map_or("disconnected", |state| state.connection.name()),
            pending: state.map(|state| state.pending),
            refilling: state.is_some_and(|state| state.refilling),
            problem: state.and_then(|state| state.problem).map(|code| code.name()),
            contradictions: state.map(Contradiction::all).unwrap_or_default(),
        })?;
    }
    Ok(())
}

async fn add(client: &SyncClient, args: &RelayArgs, output: Output) -> Result<(), CliError> {
    let added: RelayAddr = args.relay.parse()?;
    let mut relays = addresses(client).await?;
    if !relays.contains(&added) {
        relays.push(added.clone());
        client.set_relays(&relays).await?;
    }
    output.answer(&RelayAdded { added: added.to_string() })?;
    settle(client, output).await;
    Ok(())
}

async fn remove(client: &SyncClient, args: &RelayArgs, output: Output) -> Result<(), CliError> {
    let removed: RelayAddr = args.relay.parse()?;
    let mut relays = addresses(client).await?;
    let before = relays.len();
    relays.retain(|relay| *relay != removed);
    if relays.len() == before {
        return Err(CliError::Usage(
            "this device uses no such relay; `sync-cli relay list` shows those it does".to_owned(),
        ));
    }
    client.set_relays(&relays).await?;
    output.answer(&RelayRemoved { removed: removed.to_string(), left: relays.len() })
}

async fn addresses(client: &SyncClient) -> Result<Vec<RelayAddr>, CliError> {
    Ok(client.relays().await?.into_iter().map(|relay| relay.address).collect())
}

/// However that ends, what is known then is the answer. Without a group there is nothing to carry yet.
async fn settle(client: &SyncClient, output: Output) {
    if client.device_id().is_ok() {
        let progress = output.progress("asking");
        let _ = client.sync(SETTLE_MAX).await;
        progress.finish_and_clear();
    }
}
