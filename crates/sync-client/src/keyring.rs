//! Where a profile's secrets rest.
//!
//! The system's keychain, under the service `0k-sync` and the profile's random id; or, only where a person asked
//! for it, a file that only its owner can read. What is stored is one opaque run of bytes that sync-core wrote.
//! Secrets never rest in the profile's database, so a copied database opens nothing.

use std::{fs::File, io::Read as _, path::PathBuf, sync::Arc, time::Duration};

use keyring_core::{Entry, api::CredentialStoreApi};
use sync_types::ErrorCode;
use zeroize::Zeroizing;

use crate::private;

const SERVICE: &str = "0k-sync";
const FILE_NAME: &str = "secrets.key";
/// Longest wait for the keychain: a person may have to unlock it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a profile keeps its secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretsChoice {
    /// In the system's keychain.
    #[default]
    Keychain,
    /// In a file of the profile's folder that only its owner can read. For machines without a keychain: whoever
    /// can copy the folder can then read the group.
    File,
}

impl SecretsChoice {
    /// What scripts and the profile's database call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keychain => "keychain",
            Self::File => "file",
        }
    }

    /// The choice of this name, if it is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Keychain, Self::File].into_iter().find(|choice| choice.name() == name)
    }
}

/// Why secrets could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// There are none for this profile: it was copied from elsewhere, or the keychain was emptied.
    #[error("{}", ErrorCode::KeyMissing.text())]
    Missing,
    /// What is there was not written by this program, or by a newer one.
    #[error(
        "this profile's keys are damaged, or of a newer version; restore them from a backup, update, or pair this device as a new one"
    )]
    Unreadable,
    /// The keychain is not there, is locked, or does not answer.
    #[error("{}", ErrorCode::KeychainUnavailable.text())]
    Keychain(#[source] Option<keyring_core::Error>),
    /// Others may read the key file, or change it. What is in it may have become known: make it private again if it
    /// can't have, or pair this device as a new one.
    #[error("other users of this machine can use this profile's key file; take that right away from them")]
    Exposed,
    /// The key file can't be written or read.
    #[error("the key file can't be read or written; check the disk and the folder's permissions")]
    File(#[source] std::io::Error),
}

impl SecretsError {
    /// See [`crate::ClientError::code`].
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing | Self::Unreadable | Self::Exposed => ErrorCode::KeyMissing,
            Self::Keychain(_) => ErrorCode::KeychainUnavailable,
            Self::File(_) => ErrorCode::LocalStorage,
        }
    }
}

/// One profile's place for secrets.
#[derive(Clone, Debug)]
pub(crate) enum SecretStore {
    /// The system's keychain, by the entry's name.
    Keychain {
        /// The profile's id.
        user: Arc<str>,
    },
    /// The key file.
    File {
        /// Where.
        path: PathBuf,
    },
}

impl SecretStore {
    pub(crate) fn new(choice: SecretsChoice, dir: &std::path::Path, profile_id: &str) -> Self {
        match choice {
            SecretsChoice::Keychain => Self::Keychain { user: profile_id.into() },
            SecretsChoice::File => Self::File { path: dir.join(FILE_NAME) },
        }
    }

    /// Fails where saving could not succeed, before anything depends on it.
    pub(crate) async fn probe(&self) -> Result<(), SecretsError> {
        match self.load().await {
            Ok(_) | Err(SecretsError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces what is stored.
    pub(crate) async fn save(&self, secrets: Zeroizing<Vec<u8>>) -> Result<(), SecretsError> {
        match self.clone() {
            Self::Keychain { user } => in_keychain(user, move |entry| entry.set_secret(&secrets)).await,
            Self::File { path } => off_loop(move || private::write(&path, &secrets)).await.map_err(SecretsError::File),
        }
    }

    /// What is stored.
    pub(crate) async fn load(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        match self.clone() {
            Self::Keychain { user } => in_keychain(user, |entry| entry.get_secret().map(Zeroizing::new)).await,
            Self::File { path } => off_loop(move || read_file(&path)).await,
        }
    }

    /// Removes what is stored, if anything is.
    pub(crate) async fn delete(&self) -> Result<(), SecretsError> {
        let done = match self.clone() {
            Self::Keychain { user } => in_keychain(user, |entry| entry.delete_credential()).await,
            Self::File { path } => match off_loop(move || std::fs::remove_file(path)).await {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done.map_err(SecretsError::File),
            },
        };
        match done {
            Err(SecretsError::Missing) => Ok(()),
            done => done,
        }
    }
}

/// Does one thing with the profile's entry. Keychains block, and may ask a person, so this leaves the loop.
async fn in_keychain<T: Send + 'static>(
    user: Arc<str>,
    act: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
) -> Result<T, SecretsError> {
    let work = off_loop(move || act(&keychain()?.build(SERVICE, &user, None)?));
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(keyring_core::Error::NoEntry)) => Err(SecretsError::Missing),
        Ok(Err(error)) => Err(SecretsError::Keychain(Some(error))),
        Err(_) => Err(SecretsError::Keychain(None)),
    }
}

#[cfg(target_os = "linux")]
fn keychain() -> keyring_core::Result<Arc<impl CredentialStoreApi>> {
    zbus_secret_service_keyring_store::Store::new()
}

#[cfg(target_os = "macos")]
fn keychain() -> keyring_core::Result<Arc<impl CredentialStoreApi>> {
    apple_native_keyring_store::keychain::Store::new()
}

#[cfg(windows)]
fn keychain() -> keyring_core::Result<Arc<impl CredentialStoreApi>> {
    windows_native_keyring_store::Store::new()
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn keychain() -> keyring_core::Result<Arc<keyring_core::mock::Store>> {
    Err(keyring_core::Error::NoDefaultStore)
}

async fn off_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("keychains and files report failure, they don't panic")
}

/// The key file's content, if nobody else can have seen it.
fn read_file(path: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(SecretsError::Missing),
        Err(error) => return Err(SecretsError::File(error)),
    };
    let metadata = file.metadata().map_err(SecretsError::File)?;
    if private::others_use(&metadata) {
        return Err(SecretsError::Exposed);
    }
    let mut secrets = Zeroizing::new(Vec::new());
    file.read_to_end(&mut secrets).map_err(SecretsError::File)?;
    Ok(secrets)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn secrets(byte: u8) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(vec![byte; 100])
    }

    fn this_test(name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", &format!("keyring::tests::{name}"), "--nocapture"]);
        command
    }

    fn is_installed(program: &str) -> bool {
        let tried = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    }

    /// What every place for secrets does.
    async fn keeps_secrets(ours: &SecretStore, others: &SecretStore) {
        ours.probe().await.expect("usable");
        assert!(matches!(ours.load().await, Err(SecretsError::Missing)));
        ours.save(secrets(1)).await.expect("saves");
        ours.save(secrets(2)).await.expect("replaces");
        assert_eq!(ours.load().await.expect("is there"), secrets(2));
        assert!(matches!(others.load().await, Err(SecretsError::Missing)), "another profile's are its own");
        ours.delete().await.expect("deletes");
        ours.delete().await.expect("nothing to delete is fine");
        assert!(matches!(ours.load().await, Err(SecretsError::Missing)));
    }

    #[tokio::test]
    async fn a_key_file_is_for_its_owner_alone() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let ours = SecretStore::new(SecretsChoice::File, dir.path(), "ours");
        keeps_secrets(&ours, &SecretStore::new(SecretsChoice::File, other.path(), "theirs")).await;
        ours.save(secrets(3)).await.expect("saves");
        let file = std::fs::metadata(dir.path().join(FILE_NAME)).expect("is there");
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1, "nothing unfinished is left");

        let shared = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(dir.path().join(FILE_NAME), shared).expect("ours");
        assert!(matches!(ours.load().await, Err(SecretsError::Exposed)));
        assert!(matches!(ours.probe().await, Err(SecretsError::Exposed)), "nor is a profile made around it");
    }

    /// The part a child process plays, on a session bus of its own with a keychain.
    #[tokio::test]
    async fn as_a_child_use_the_keychain() {
        if std::env::var_os("SYNC_TEST_KEYCHAIN").is_none() {
            return;
        }
        let store = |user: &str| SecretStore::new(SecretsChoice::Keychain, std::path::Path::new("/"), user);
        keeps_secrets(&store("ours"), &store("theirs")).await;
        println!("the keychain kept them");
    }

    #[test]
    fn the_systems_keychain_keeps_secrets() {
        if !is_installed("dbus-run-session") || !is_installed("gnome-keyring-daemon") {
            println!("skipped: takes dbus-run-session and gnome-keyring-daemon, which are not installed");
            return;
        }
        let home = tempfile::tempdir().expect("a folder");
        let child = this_test("as_a_child_use_the_keychain");
        let unlocked =
            "printf password | gnome-keyring-daemon --unlock --components=secrets --daemonize >&2; exec \"$@\"";
        let output = Command::new("dbus-run-session")
            .args(["--", "sh", "-c", unlocked, "sh"])
            .arg(child.get_program())
            .args(child.get_args())
            .env("SYNC_TEST_KEYCHAIN", "1")
            .env("XDG_DATA_HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("the keychain kept them"), "{said}");
    }

    /// The part a child process plays, on a machine without a keychain.
    #[tokio::test]
    async fn as_a_child_miss_the_keychain() {
        if std::env::var_os("SYNC_TEST_NO_KEYCHAIN").is_none() {
            return;
        }
        let store = SecretStore::new(SecretsChoice::Keychain, std::path::Path::new("/"), "ours");
        let error = store.probe().await.expect_err("there is none");
        assert_eq!(error.code(), ErrorCode::KeychainUnavailable);
        println!("there was no keychain");
    }

    #[test]
    fn a_machine_without_a_keychain_says_so() {
        let output = this_test("as_a_child_miss_the_keychain")
            .env("SYNC_TEST_NO_KEYCHAIN", "1")
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("there was no keychain"), "{said}");
    }
}
