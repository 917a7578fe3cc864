//! One file a command, and what they have in common: a client that is opened for them and closed after them.

mod ack;
mod devices;
mod diagnostics;
mod doctor;
mod export_kit;
mod import_kit;
mod init;
mod leave_group;
mod named;
mod pair;
mod pull;
mod push;
mod relay;
mod remove_device;
mod rename_device;
mod repair;
mod rotate_key;
mod snapshot;
mod status;
mod sync;
mod watch;

use std::path::{Path, PathBuf};

use sync_client::{OpenOptions, SyncClient};

use crate::{
    cli::{Cli, Command},
    error::CliError,
    interrupt::interrupted,
    output::Output,
};

/// Runs what was typed.
pub(crate) async fn run(cli: Cli, output: Output) -> Result<(), CliError> {
    let profile = cli.profile.or_else(default_profile).ok_or_else(|| {
        CliError::Usage("there is no home folder; say where the profile is with --profile DIR".to_owned())
    })?;
    match cli.command {
        Command::Init(args) => init::run(profile, args, output).await,
        Command::Pair(args) => {
            let options = if args.snapshot { snapshot::options() } else { OpenOptions::default() };
            with_options(&profile, Net::Used, options, async |client| pair::run(client, args, output).await).await
        }
        Command::Push(args) => {
            with_client(&profile, Net::Used, async |client| push::run(client, args, output).await).await
        }
        Command::Pull(args) => {
            let net = if args.offline { Net::Idle } else { Net::Asked };
            with_client(&profile, net, async |client| pull::run(client, &args, output).await).await
        }
        Command::Watch(args) => {
            let done = with_client(&profile, Net::Used, async |client| watch::run(client, &args, output).await).await;
            // A watch has no other end than this.
            if matches!(done, Err(CliError::Interrupted(_))) { Ok(()) } else { done }
        }
        Command::Sync(args) => {
            with_client(&profile, Net::Used, async |client| sync::run(client, &args, output).await).await
        }
        Command::Status(args) => {
            with_client(&profile, Net::unless(args.offline), async |client| status::run(client, &args, output).await)
                .await
        }
        Command::Ack(args) => {
            with_client(&profile, Net::Idle, async |client| ack::run(client, &args, output).await).await
        }
        Command::Devices(args) => {
            with_client(&profile, Net::unless(args.offline), async |client| devices::run(client, &args, output).await)
                .await
        }
        Command::RenameDevice(args) => {
            with_client(&profile, Net::Used, async |client| rename_device::run(client, &args, output).await).await
        }
        Command::RemoveDevice(args) => {
            with_client(&profile, Net::Used, async |client| remove_device::run(client, &args, output).await).await
        }
        Command::RotateKey => {
            with_client(&profile, Net::Used, async |client| rotate_key::run(client, output).await).await
        }
        Command::ExportKit(args) => {
            with_client(&profile, Net::Used, async |client| export_kit::run(client, &args, output).await).await
        }
        Command::ImportKit(args) => {
            with_client(&profile, Net::Used, async |client| import_kit::run(client, &args, output).await).await
        }
        Command::Snapshot(command) => {
            let options = snapshot::options();
            let run = async |client: &SyncClient| snapshot::run(client, &command, output).await;
            with_options(&profile, Net::Used, options, run).await
        }
        Command::LeaveGroup(args) => {
            with_client(&profile, Net::Asked, async |client| leave_group::run(client, &args, output).await).await
        }
        Command::Doctor => doctor::run(&profile, output).await,
        Command::Repair(args) => repair::run(&profile, &args, output).await,
        Command::Diagnostics => diagnostics::run(&profile, output).await,
        Command::Relay(command) => {
            let net = relay::net(&command);
            with_client(&profile, net, async |client| relay::run(client, &command, output).await).await
        }
    }
}

/// Whether a command has anything to ask of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Net {
    /// It syncs: on a device that was removed it ends with that, whatever it could show.
    Used,
    /// What a relay says is welcome, and nothing hangs on it.
    Asked,
    Idle,
}

impl Net {
    fn unless(offline: bool) -> Self {
        if offline { Self::Idle } else { Self::Used }
    }
}

/// Opens the profile, runs the command until it ends or somebody interrupts it, and closes the profile either way.
async fn with_client(
    profile: &Path,
    net: Net,
    command: impl AsyncFnOnce(&SyncClient) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let options = OpenOptions { auto_connect: net != Net::Idle, ..OpenOptions::default() };
    with_options(profile, net, options, command).await
}

async fn with_options(
    profile: &Path,
    net: Net,
    options: OpenOptions,
    command: impl AsyncFnOnce(&SyncClient) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let client = SyncClient::open(profile, options).await?;
    let done = tokio::select! {
        done = command(&client) => done,
        interrupt = interrupted() => Err(interrupt.map_or_else(CliError::Runtime, CliError::Interrupted)),
    };
    let done = if net == Net::Used { done.and(named::still_member(&client)) } else { done };
    client.close().await;
    done
}

fn default_profile() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".0k-sync"))
}
