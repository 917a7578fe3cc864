//! What a passphrase has to be worth, and what this machine can spend on hashing it.

use sync_core::passphrase::{Passphrase, PassphraseError};
use sync_types::ErrorCode;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use zxcvbn::{Score, zxcvbn};

use crate::error::ClientError;

/// Refuses what a program that knows how people choose would guess within ten thousand million tries. `words` are what
/// whoever guesses knows already.
///
/// The estimate copies parts of the passphrase and does not wipe them; they are gone with the process, or when
/// something else takes their place.
pub(crate) fn check(passphrase: &Passphrase, words: &[&str]) -> Result<(), ClientError> {
    let estimate = zxcvbn(passphrase.as_str(), words);
    if estimate.score() == Score::Four { Ok(()) } else { Err(ClientError::Refused(ErrorCode::WeakPassphrase)) }
}

/// The bytes of memory this machine has, or of as much of it as this process may use; none if it doesn't say.
pub(crate) fn memory() -> Option<u64> {
    let asked = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(asked).ok()?;
    let allowed = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    Some(system.total_memory().min(allowed)).filter(|bytes| *bytes > 0)
}

impl From<PassphraseError> for ClientError {
    fn from(error: PassphraseError) -> Self {
        Self::InvalidPassphrase(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(text: &str) -> bool {
        match check(&Passphrase::new(text).expect("a line of text"), &["Kanarienvogel", "org.example.notes"]) {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::WeakPassphrase);
                true
            }
        }
    }

    #[test]
    fn what_is_easy_to_guess_is_refused() {
        for weak in [
            "password",
            "Passw0rd!",
            "correct horse",
            "qwertyuiopasdfghjkl",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "12345678901234567890",
            "kanarienvogel org.example.notes",
            "01.01.1990",
            "x7#q",
        ] {
            assert!(is_refused(weak), "{weak}");
        }
    }

    #[test]
    fn what_its_text_advises_is_taken() {
        let advice = ErrorCode::WeakPassphrase.text();
        assert!(advice.contains("six words") && advice.contains("twelve random letters and digits"), "{advice}");
        for strong in
            ["ramp onyx cabin gusto plow hinge", "k3v9xq7m2hzt", "Straußenfeder Mühle Quarz Ölkanne Zwölf Igel"]
        {
            assert!(!is_refused(strong), "{strong}");
        }
    }

    #[test]
    fn this_machine_says_how_much_memory_it_has() {
        assert!(memory().is_some_and(|bytes| bytes > 64 * 1024 * 1024), "{:?}", memory());
    }
}
