//! ML-KEM-768 (FIPS 203), as Clatter's handshakes want a KEM.
//!
//! Clatter's own adapter is for an older ml-kem, which does not build beside the one that HPKE uses.

use clatter::{
    KeyPair,
    bytearray::{ByteArray, HeapArray, SensitiveByteArray},
    error::{KemError, KemResult},
    traits::{CryptoComponent, Kem, Rng},
};
use ml_kem::{
    B32, Decapsulate, KeyExport, Seed,
    ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey},
};

/// Bytes of an encapsulation key.
const PUBLIC_LEN: usize = 1184;
/// Bytes of a ciphertext.
const CIPHERTEXT_LEN: usize = 1088;
/// Bytes of the seed `d ‖ z` a decapsulation key is made from.
const SEED_LEN: usize = 64;

#[derive(Clone)]
pub(super) struct MlKem768;

impl CryptoComponent for MlKem768 {
    fn name() -> &'static str {
        "MLKEM768"
    }
}

impl Kem for MlKem768 {
    type SecretKey = SensitiveByteArray<[u8; SEED_LEN]>;
    type PubKey = HeapArray<PUBLIC_LEN>;
    type Ct = HeapArray<CIPHERTEXT_LEN>;
    type Ss = SensitiveByteArray<[u8; 32]>;

    fn genkey_rng<R: Rng>(rng: &mut R) -> KemResult<KeyPair<Self::PubKey, Self::SecretKey>> {
        let mut seed = Self::SecretKey::new_zero();
        rng.fill_bytes(seed.as_mut());
        let key = DecapsulationKey::from_seed(Seed::from(*seed));
        let public = Self::PubKey::from_slice(&key.encapsulation_key().to_bytes());
        Ok(KeyPair::new(public, seed))
    }

    fn encapsulate<R: Rng>(public: &[u8], rng: &mut R) -> KemResult<(Self::Ct, Self::Ss)> {
        let public = public.try_into().map_err(|_| KemError::Input)?;
        let key = EncapsulationKey::new(public).map_err(|_| KemError::Input)?;
        let mut message = SensitiveByteArray::<[u8; 32]>::new_zero();
        rng.fill_bytes(message.as_mut());
        let (ciphertext, shared) = key.encapsulate_deterministic(&B32::from(*message));
        Ok((Self::Ct::from_slice(&ciphertext), Self::Ss::from_slice(&shared)))
    }

    fn decapsulate(ciphertext: &[u8], secret: &[u8]) -> KemResult<Self::Ss> {
        let ciphertext: &Ciphertext = ciphertext.try_into().map_err(|_| KemError::Input)?;
        let seed: &Seed = secret.try_into().map_err(|_| KemError::Input)?;
        Ok(Self::Ss::from_slice(&DecapsulationKey::from_seed(*seed).decapsulate(ciphertext)))
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::pairing::rng::Seeded;

    fn keys(byte: u8) -> (KeyPair<HeapArray<PUBLIC_LEN>, SensitiveByteArray<[u8; SEED_LEN]>>, Seeded) {
        let mut rng = Seeded::new(Zeroizing::new([byte; 32]));
        (MlKem768::genkey_rng(&mut rng).expect("makes a key"), rng)
    }

    #[test]
    fn both_sides_share_a_secret_of_the_sizes_of_fips_203() {
        let (keys, mut rng) = keys(1);
        let (ciphertext, ours) = MlKem768::encapsulate(keys.public.as_slice(), &mut rng).expect("a valid key");
        let theirs = MlKem768::decapsulate(ciphertext.as_slice(), keys.secret.as_slice()).expect("the right sizes");
        assert_eq!(ours, theirs);
        let sizes = [keys.public.as_slice().len(), ciphertext.as_slice().len(), ours.as_slice().len()];
        assert_eq!(sizes, [1184, 1088, 32]);
    }

    #[test]
    fn a_fresh_secret_comes_with_every_encapsulation() {
        let (keys, mut rng) = keys(2);
        let (first, one) = MlKem768::encapsulate(keys.public.as_slice(), &mut rng).expect("a valid key");
        let (second, other) = MlKem768::encapsulate(keys.public.as_slice(), &mut rng).expect("a valid key");
        assert!(first != second && one != other);
    }

    #[test]
    fn an_altered_ciphertext_gives_another_secret() {
        let (keys, mut rng) = keys(3);
        let (mut ciphertext, ours) = MlKem768::encapsulate(keys.public.as_slice(), &mut rng).expect("a valid key");
        ciphertext.as_mut()[0] ^= 1;
        let theirs = MlKem768::decapsulate(ciphertext.as_slice(), keys.secret.as_slice()).expect("the right sizes");
        assert_ne!(ours, theirs);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (keys, mut rng) = keys(4);
        // FIPS 203, 7.2: a coefficient of 4095 is not below the modulus.
        assert!(MlKem768::encapsulate(&[0xff; PUBLIC_LEN], &mut rng).is_err());
        assert!(MlKem768::encapsulate(&keys.public.as_slice()[1..], &mut rng).is_err());
        assert!(MlKem768::decapsulate(&[0; CIPHERTEXT_LEN - 1], keys.secret.as_slice()).is_err());
    }
}
