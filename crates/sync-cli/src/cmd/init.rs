//! `init`: a profile for this device.

use std::path::PathBuf;

use sync_client::{ProfileConfig, RelayBackend, SecretsChoice, SyncClient};

use crate::{
    answer::Profile,
    cli::{InitArgs, Secrets},
    error::CliError,
    output::Output,
};

pub(super) async fn run(dir: PathBuf, args: InitArgs, output: Output) -> Result<(), CliError> {
    let (secrets, rest) = match args.secrets {
        Secrets::Keychain => (SecretsChoice::Keychain, "keychain"),
        Secrets::File => (SecretsChoice::File, "file"),
    };
    let backend = RelayBackend::Relay(vec![args.relay.parse()?]);
    let answer = Profile { name: args.name.clone(), app: args.app.clone(), secrets: rest };
    SyncClient::init(ProfileConfig { dir, name: args.name, app_id: args.app, backend, secrets, passphrase: None })
        .await?;
    output.answer(&answer)
}
