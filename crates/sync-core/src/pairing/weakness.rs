//! Pairing with a piece taken away, so that attacks are seen to work where that piece is missing. Nothing can be taken away
//! in a build that is neither a test nor made for tests.

/// What can be missing, in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// The key is a hash of the password instead of an exchange.
    #[cfg(any(test, feature = "test-utils"))]
    PlainKey,
    /// The exchange always draws the same scalar.
    FixedScalar,
    /// What message 0 committed to is not compared with what message 4 reveals.
    NoCommitment,
}

#[cfg(not(any(test, feature = "test-utils")))]
pub(super) const fn has(_: Weakness) -> bool {
    false
}

#[cfg(any(test, feature = "test-utils"))]
pub(super) use self::taken::has;
#[cfg(any(test, feature = "test-utils"))]
pub use self::taken::{Weakened, weakened};

#[cfg(any(test, feature = "test-utils"))]
mod taken {
    use std::{cell::Cell, marker::PhantomData};

    use super::Weakness;

    thread_local! {
        static TAKEN: Cell<Option<Weakness>> = const { Cell::new(None) };
    }

    pub(in crate::pairing) fn has(weakness: Weakness) -> bool {
        TAKEN.get() == Some(weakness)
    }

    /// While this lives, pairing is weakened on the thread that made it.
    #[derive(Debug)]
    pub struct Weakened(PhantomData<*const ()>);

    /// Weakens pairing on this thread.
    #[must_use]
    pub fn weakened(weakness: Option<Weakness>) -> Weakened {
        TAKEN.set(weakness);
        Weakened(PhantomData)
    }

    impl Drop for Weakened {
        fn drop(&mut self) {
            TAKEN.set(None);
        }
    }
}
