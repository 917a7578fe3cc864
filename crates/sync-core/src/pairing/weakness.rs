//! Pairing with a piece taken away, so that attacks are seen to work where that piece is missing.

/// What can be missing, in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weakness {
    /// The key is a hash of the password instead of an exchange.
    #[cfg(test)]
    PlainKey,
    /// The exchange always draws the same scalar.
    FixedScalar,
    /// What message 0 committed to is not compared with what message 4 reveals.
    NoCommitment,
}

#[cfg(not(test))]
pub(super) const fn has(_: Weakness) -> bool {
    false
}

#[cfg(test)]
pub(super) use self::taken::{has, with};

#[cfg(test)]
mod taken {
    use std::cell::Cell;

    use super::Weakness;

    thread_local! {
        static TAKEN: Cell<Option<Weakness>> = const { Cell::new(None) };
    }

    pub(in crate::pairing) fn has(weakness: Weakness) -> bool {
        TAKEN.get() == Some(weakness)
    }

    /// Does something on this thread with pairing so weakened.
    pub(in crate::pairing) fn with<T>(weakness: Option<Weakness>, act: impl FnOnce() -> T) -> T {
        TAKEN.set(weakness);
        let done = act();
        TAKEN.set(None);
        done
    }
}
