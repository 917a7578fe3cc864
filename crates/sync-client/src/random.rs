//! The operating system's randomness, the only one there is in this client.

use getrandom::{
    SysRng,
    rand_core::{CryptoRng, UnwrapErr},
};

/// Bytes nobody can guess. Every supported system has them; one that stopped having them is one to panic on.
pub(crate) fn rng() -> impl CryptoRng {
    UnwrapErr(SysRng)
}

/// `N` of those bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("every supported system has a source of randomness");
    bytes
}
