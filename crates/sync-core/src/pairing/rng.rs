//! The caller's randomness, for libraries of an older generation that want a generator of their own.
//!
//! A [`Seeded`] is a ChaCha20 stream from 32 bytes the caller drew. Clatter makes its generator by `Default`; so one
//! is lent to it for just that call, and `Default` panics anywhere else: there is no generator without a seed.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
};

use chacha20::ChaCha20Rng;
use clatter::rand_core::{CryptoRng, Error, RngCore};
use rand_core::{Rng, SeedableRng};
use zeroize::Zeroizing;

/// What a generator starts from. Used for one of them.
pub(super) type Seed = Zeroizing<[u8; 32]>;

/// Draws a seed.
pub(super) fn seed(rng: &mut impl rand_core::CryptoRng) -> Seed {
    let mut seed = Seed::default();
    rng.fill_bytes(seed.as_mut_slice());
    seed
}

/// A generator. A clone draws from the same stream, so that no byte comes twice.
#[derive(Clone)]
pub(super) struct Seeded(Arc<Mutex<ChaCha20Rng>>);

thread_local! {
    static LENT: Cell<Option<Seeded>> = const { Cell::new(None) };
}

impl Seeded {
    pub(super) fn new(seed: Seed) -> Self {
        Self(Arc::new(Mutex::new(ChaCha20Rng::from_seed(*seed))))
    }

    /// Runs `make`, which takes this generator by calling `Seeded::default()` once.
    pub(super) fn lend<T>(self, make: impl FnOnce() -> T) -> T {
        LENT.set(Some(self));
        let made = make();
        assert!(LENT.take().is_none(), "the generator was not taken");
        made
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("drawing does not panic").fill_bytes(bytes);
    }
}

impl Default for Seeded {
    fn default() -> Self {
        LENT.take().expect("a generator is only made while one is lent")
    }
}

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill(bytes);
        Ok(())
    }
}

impl CryptoRng for Seeded {}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(byte: u8) -> Seeded {
        Seeded::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_clone_never_repeats_its_original() {
        let mut original = generator(1);
        let mut clone = original.clone();
        assert_ne!(original.next_u64(), clone.next_u64());
    }

    #[test]
    fn a_lent_generator_is_the_callers() {
        let mut lent = generator(2).lend(Seeded::default);
        assert_eq!(lent.next_u64(), generator(2).next_u64());
        assert_ne!(lent.next_u64(), generator(3).lend(Seeded::default).next_u64());
    }

    #[test]
    #[should_panic(expected = "only made while one is lent")]
    fn there_is_no_generator_without_a_seed() {
        let _ = Seeded::default();
    }
}
