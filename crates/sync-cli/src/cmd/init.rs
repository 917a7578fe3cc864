//! `init`: a profile, and a group for it if there is a passphrase to start one with.

use std::path::PathBuf;

use sync_client::{ProfileConfig, RelayBackend, SecretsChoice, SyncClient};

use crate::{
    answer::Profile,
    cli::{InitArgs, Secrets},
    error::CliError,
    output::Output,
    passphrase,
};

pub(super) async fn run(dir: PathBuf, args: InitArgs, output: Output) -> Result<(), CliError> {
    let (secrets, rest) = match args.secrets {
        Secrets::Keychain => (SecretsChoice::Keychain, "keychain"),
        Secrets::File => (SecretsChoice::File, "file"),
    };
    let relays = args.relay.iter().map(|relay| relay.parse()).collect::<Result<_, _>>()?;
    let backend = RelayBackend::Relay(relays);
    let passphrase = match args.passphrase_file {
        Some(file) => Some(passphrase::in_file(&file)?),
        None if args.passphrase => Some(passphrase::typed().await?),
        None => None,
    };
    let mut answer = Profile { name: args.name.clone(), app: args.app.clone(), secrets: rest, group_id: None };
    let config = ProfileConfig { dir, name: args.name, app_id: args.app, backend, secrets, passphrase: None };
    let made = match passphrase {
        Some(passphrase) => SyncClient::init_from_passphrase(config, passphrase).await?,
        None => SyncClient::init(config).await?,
    };
    answer.group_id = made.group_id.map(|group| group.to_string());
    output.answer(&answer)
}
