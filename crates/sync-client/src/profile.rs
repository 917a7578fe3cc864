//! Making a profile, and what it is made of.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use sync_core::{
    keys::{DeviceKem, DeviceKey, GroupKeys},
    passphrase::{Derivation, Passphrase},
    roster::{self, Genesis},
    stored::Secrets,
};
use sync_types::{DeviceId, GroupId, LocalLogId, RelayId, limits::RELAYS_MAX};

use crate::{
    clock::wall_ms,
    config::{ProfileConfig, RelayBackend},
    error::ClientError,
    lock::ProfileLock,
    passphrase, private,
    random::{random, rng},
    resolve::RelayAddr,
    secrets::{self, SecretStore, SecretsChoice},
    store::{AddressRow, FILE_NAME, Membership, ProfileRow, SqliteStore, Store},
};

/// What this kind of machine is called in the roster.
pub(crate) const PLATFORM: &str = std::env::consts::OS;

/// A profile, as a person set it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileInfo {
    /// What this device is called on the others.
    pub name: String,
    /// The app whose data it is.
    pub app_id: String,
    /// Where its secrets rest. With [`SecretsChoice::File`], whoever can copy the folder can read the group: say so.
    pub secrets: SecretsChoice,
    /// Its relays, in order of preference.
    pub relays: Vec<RelayAddr>,
    /// The log that its local cursors count in.
    pub local_log_id: LocalLogId,
    /// The group it is in.
    pub group_id: Option<GroupId>,
    /// Who it is there.
    pub device_id: Option<DeviceId>,
}

impl ProfileInfo {
    pub(crate) fn new(row: &ProfileRow, addresses: &[AddressRow]) -> Self {
        Self {
            name: row.name.clone(),
            app_id: row.app_id.clone(),
            secrets: row.secrets,
            relays: addresses.iter().filter_map(|row| row.address.parse().ok()).collect(),
            local_log_id: row.local_log_id,
            group_id: row.membership.map(|membership| membership.group),
            device_id: row.membership.map(|membership| membership.device),
        }
    }
}

/// A relay that a profile uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredRelay {
    /// As a person named it.
    pub address: RelayAddr,
    /// Who is there, if it was met, or if the address says so.
    pub relay: Option<RelayId>,
}

impl ConfiguredRelay {
    /// None if a newer version of us wrote an address of another form.
    pub(crate) fn new(row: &AddressRow) -> Option<Self> {
        let address: RelayAddr = row.address.parse().ok()?;
        let pin = row.pin.clone().or_else(|| address.known());
        Some(Self { relay: pin.map(|pin| pin.relay), address })
    }
}

/// What a profile calls itself in rosters.
pub(crate) fn in_roster(name: &str, app_id: &str) -> Result<roster::Profile, ClientError> {
    roster::Profile::new(name, PLATFORM, app_id)
        .filter(|profile| !profile.name().is_empty() && !profile.app_id().is_empty())
        .ok_or(ClientError::InvalidArgument("a device needs a name and an app id of reasonable length"))
}

/// A new group, as its only member has it.
pub(crate) struct Founding {
    membership: Membership,
    pub(crate) secrets: Secrets,
    pub(crate) genesis: Bytes,
}

/// Founds the group of these keys. If they come from a passphrase, the genesis says how.
pub(crate) fn found(described: &roster::Profile, keys: GroupKeys, derivation: Option<&Derivation>) -> Founding {
    let (device, kem) = (DeviceKey::generate(&mut rng()), DeviceKem::generate(&mut rng()));
    let group = keys.group_id();
    let genesis = Genesis::create_with(&group, (&device, &kem), described, derivation, wall_ms());
    let membership = Membership { group, device: device.device_id() };
    Founding { membership, secrets: Secrets { device, kem, group: Some(keys) }, genesis }
}

/// The passphrase, if it is good enough.
async fn checked(passphrase: Passphrase, described: roster::Profile) -> Result<Passphrase, ClientError> {
    let judging = move || {
        passphrase::check(&passphrase, &[described.name(), described.app_id()])?;
        Ok(passphrase)
    };
    tokio::task::spawn_blocking(judging).await.expect("judging does not fail")
}

/// The same from a passphrase, which takes its time and memory.
async fn found_from(described: roster::Profile, passphrase: Passphrase) -> Founding {
    let founding = move || {
        let derivation = Derivation::choose(passphrase::memory(), &mut rng());
        let keys = GroupKeys::from_passphrase(&passphrase, &derivation, &mut rng());
        found(&described, keys, Some(&derivation))
    };
    tokio::task::spawn_blocking(founding).await.expect("hashing does not fail")
}

/// Makes a profile: of a new group if there is a passphrase for its first keys, and of none yet without. Nothing is sent
/// anywhere.
pub(crate) async fn init(config: ProfileConfig, passphrase: Option<Passphrase>) -> Result<ProfileInfo, ClientError> {
    let RelayBackend::Relay(relays) = config.backend;
    let addresses = spelled(&relays)?;
    let described = in_roster(&config.name, &config.app_id)?;
    let passphrase = match passphrase {
        Some(passphrase) => Some(checked(passphrase, described.clone()).await?),
        None => None,
    };
    private::make_dir(&config.dir).map_err(ClientError::folder)?;
    refuse_shared(&config.dir)?;
    let _lock = ProfileLock::take(&config.dir).await?;
    let store = SqliteStore::open(&config.dir, true).await?;
    if store.profile().await?.is_some() {
        store.close().await;
        return Err(ClientError::ProfileExists);
    }
    let mut row = ProfileRow {
        profile_id: random(),
        local_log_id: LocalLogId::from_bytes(random()),
        name: described.name().to_owned(),
        app_id: described.app_id().to_owned(),
        secrets: config.secrets,
        membership: None,
    };
    let secrets = secrets_of(&row, &config.dir, config.passphrase);
    secrets.probe().await?;
    if row.secrets == SecretsChoice::File {
        tracing::warn!("this profile keeps its keys in a file: whoever can copy the folder can read the group");
    }
    let mut roster = Vec::new();
    if let Some(passphrase) = passphrase {
        let founding = found_from(described, passphrase).await;
        // The secrets first: without the profile nobody looks for them.
        secrets.save(founding.secrets.to_stored()).await?;
        row.membership = Some(founding.membership);
        roster.push(founding.genesis);
    }
    store.create_profile(&row, &addresses, &roster).await?;
    let info = ProfileInfo::new(&row, &store.addresses().await?);
    store.close().await;
    Ok(info)
}

/// The profile in a folder, locked for this process.
pub(crate) async fn open(dir: &Path) -> Result<(ProfileLock, SqliteStore, ProfileRow), ClientError> {
    if !dir.join(FILE_NAME).is_file() {
        return Err(ClientError::NoProfile);
    }
    refuse_shared(dir)?;
    let lock = ProfileLock::take(dir).await?;
    let store = SqliteStore::open(dir, false).await?;
    let row = store.profile().await?.ok_or(ClientError::NoProfile)?;
    Ok((lock, store, row))
}

pub(crate) fn secrets_of(row: &ProfileRow, dir: &Path, passphrase: Option<Arc<Passphrase>>) -> Arc<dyn SecretStore> {
    secrets::place(row.secrets, dir, row.profile_id, passphrase)
}

/// Each relay's one spelling, each once, in order.
pub(crate) fn spelled(relays: &[RelayAddr]) -> Result<Vec<String>, ClientError> {
    let mut addresses: Vec<String> = Vec::new();
    for address in relays.iter().map(RelayAddr::to_string) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.len() > RELAYS_MAX {
        return Err(ClientError::InvalidArgument("a profile has room for sixteen relays"));
    }
    Ok(addresses)
}

/// Who can write to the folder could put another profile's secrets there, or links to what isn't ours.
fn refuse_shared(dir: &Path) -> Result<(), ClientError> {
    if private::others_write(&dir.metadata().map_err(ClientError::folder)?) {
        return Err(ClientError::InvalidArgument(
            "other users of this machine can write to the profile's folder; take that right away from them, or choose \
             another folder",
        ));
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use sync_core::{keys::EpochSecret, roster::Entry};
    use sync_types::ErrorCode;

    use super::*;

    fn config(dir: &Path) -> ProfileConfig {
        let relay = "http://127.0.0.1:9".parse().expect("an address");
        ProfileConfig {
            dir: dir.to_owned(),
            name: "phone".to_owned(),
            app_id: "org.example.app".to_owned(),
            backend: RelayBackend::Relay(vec![relay]),
            secrets: SecretsChoice::File,
            passphrase: None,
        }
    }

    #[tokio::test]
    async fn everything_in_a_profile_is_for_its_owner_alone() {
        let parent = tempfile::tempdir().expect("a folder");
        let dir = parent.path().join("profile");
        init(config(&dir), None).await.expect("a fresh folder");
        let (_lock, store, _row) = open(&dir).await.expect("opens");
        store.execute("UPDATE profile SET app_acked = 0").await;
        let mut found = 0;
        for entry in fs::read_dir(&dir).expect("readable") {
            let entry = entry.expect("readable");
            let mode = entry.metadata().expect("is there").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
            found += 1;
        }
        assert!(found >= 4, "the database, its two helpers and the lock");
        assert_eq!(fs::metadata(&dir).expect("is there").permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn the_passphrase_and_what_the_genesis_says_make_the_first_keys_again() {
        let text = "ramp onyx cabin gusto plow hinge";
        let passphrase = |text| Passphrase::new(text).expect("a line of text");
        let dir = tempfile::tempdir().expect("a folder");
        let refused = init(config(dir.path()), Some(passphrase("password"))).await.expect_err("is easy to guess");
        assert_eq!(refused.code(), ErrorCode::WeakPassphrase);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0, "nothing was made");
        let info = init(config(dir.path()), Some(passphrase(text))).await.expect("a fresh folder");

        let (_lock, store, row) = open(dir.path()).await.expect("opens");
        let stored = secrets_of(&row, dir.path(), None).load().await.expect("is there");
        let keys = Secrets::from_stored(&stored).expect("ours").group.expect("in a group");
        assert_eq!(info.group_id, Some(keys.group_id()));
        let [genesis] = &store.load().await.expect("readable").roster[..] else { panic!("one entry") };
        let Ok(Entry::Genesis(genesis)) = Entry::read(&keys.group_id(), genesis) else { panic!("a genesis") };
        let derivation = Derivation::read(&genesis.passphrase.expect("it says how")).expect("sound").expect("known");
        let again = EpochSecret::from_passphrase(&passphrase(text), &derivation);
        assert_eq!(again.as_bytes(), keys.current().secret().as_bytes());
        assert_eq!(keys.current().number(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_others_can_write_to_is_not_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let share = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("ours");
        share(0o777);
        assert_eq!(init(config(dir.path()), None).await.expect_err("is shared").code(), ErrorCode::InvalidArgument);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0, "and nothing was put there");

        share(0o755);
        init(config(dir.path()), None).await.expect("others may look");
        share(0o775);
        let refused = open(dir.path()).await.map(drop).expect_err("is shared now");
        assert_eq!(refused.code(), ErrorCode::InvalidArgument);
    }
}
