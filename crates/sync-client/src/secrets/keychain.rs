//! The system's keychain, under the service `0k-sync` and the profile's random id.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use keyring_core::{Entry, api::CredentialStoreApi};
use zeroize::Zeroizing;

use super::{SecretStore, SecretsError, off_loop};

const SERVICE: &str = "0k-sync";
/// Longest wait for the keychain: a person may have to unlock it.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Keychain {
    user: Arc<str>,
}

impl Keychain {
    pub(super) fn new(profile_id: [u8; 16]) -> Self {
        Self { user: data_encoding::HEXLOWER.encode(&profile_id).into() }
    }

    /// Does one thing with the profile's entry. Keychains block, and may ask a person, so this leaves the loop.
    async fn with_entry<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<T, SecretsError> {
        let user = Arc::clone(&self.user);
        let work = off_loop(move || act(&keychain()?.build(SERVICE, &user, None)?));
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(keyring_core::Error::NoEntry)) => Err(SecretsError::Missing),
            Ok(Err(error)) => Err(SecretsError::Keychain(Some(error))),
            Err(_) => Err(SecretsError::Keychain(None)),
        }
    }
}

#[async_trait]
impl SecretStore for Keychain {
    async fn save(&self, secrets: Zeroizing<Vec<u8>>) -> Result<(), SecretsError> {
        self.with_entry(move |entry| entry.set_secret(&secrets)).await
    }

    async fn load(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        self.with_entry(|entry| entry.get_secret().map(Zeroizing::new)).await
    }

    async fn delete(&self) -> Result<(), SecretsError> {
        match self.with_entry(|entry| entry.delete_credential()).await {
            Err(SecretsError::Missing) => Ok(()),
            done => done,
        }
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use sync_types::ErrorCode;

    use super::{super::contract::keeps_secrets, *};

    fn this_test(name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", &format!("secrets::keychain::tests::{name}"), "--nocapture"]);
        command
    }

    fn is_installed(program: &str) -> bool {
        let tried = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    }

    /// The part a child process plays, on a session bus of its own with a keychain.
    #[tokio::test]
    async fn as_a_child_use_the_keychain() {
        if std::env::var_os("SYNC_TEST_KEYCHAIN").is_none() {
            return;
        }
        keeps_secrets(&Keychain::new([1; 16]), &Keychain::new([2; 16])).await;
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
        let error = Keychain::new([1; 16]).probe().await.expect_err("there is none");
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
