//! The Noise channel two devices talk through once they know of each other that both have the code.
//!
//! `Noise_hybridNNpsk0_25519+MLKEM768_ChaChaPoly_SHA256`: ephemeral keys only, X25519 and ML-KEM-768 together, so that
//! a recording stays closed even to a quantum computer, and the PAKE's key as pre-shared key. The prologue binds all
//! that was said before. The creator of the invite speaks first.

use clatter::{
    Handshaker, HybridHandshakeCore, HybridHandshakeParams,
    bytearray::ByteArray,
    constants::{MAX_MESSAGE_LEN, MAX_TAG_LEN},
    crypto::{cipher::ChaChaPoly, dh::X25519, hash::Sha256},
    handshakepattern::noise_hybrid_nn_psk0,
    transportstate::TransportState,
};
use sync_types::limits::MAILBOX_MESSAGE_LEN_MAX;
use zeroize::Zeroizing;

use super::{
    kem::MlKem768,
    pake::Side,
    rng::{Seed, Seeded},
};

/// Bytes that a message in the open channel has beyond its text.
pub(super) const TAG_LEN: usize = MAX_TAG_LEN;

const _: () = assert!(MAILBOX_MESSAGE_LEN_MAX <= MAX_MESSAGE_LEN, "a longer message makes Clatter panic");

/// The bytes are not the other side's next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAuthentic;

/// A channel whose two opening messages are not both through.
pub(super) struct Handshake(Box<HybridHandshakeCore<X25519, MlKem768, MlKem768, ChaChaPoly, Sha256, Seeded>>);

impl Handshake {
    pub(super) fn new(side: Side, psk: &[u8; 32], prologue: &[u8; 32], seed: Seed) -> Self {
        let params = HybridHandshakeParams::new(noise_hybrid_nn_psk0(), side == Side::Creator).with_prologue(prologue);
        let mut handshake = Seeded::new(seed)
            .lend(|| HybridHandshakeCore::new(params))
            .expect("the pattern is a hybrid one, and its keys are made as it goes");
        handshake.push_psk(psk);
        Self(Box::new(handshake))
    }

    /// The own opening message.
    pub(super) fn write(&mut self, text: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        let overhead = self.0.get_next_message_overhead().map_err(|_| NotAuthentic)?;
        let mut message = vec![0; overhead + text.len()];
        let len = self.0.write_message(text, &mut message).map_err(|_| NotAuthentic)?;
        message.truncate(len);
        Ok(message)
    }

    /// The other side's opening message.
    pub(super) fn read(&mut self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
        if message.len() > MAILBOX_MESSAGE_LEN_MAX {
            return Err(NotAuthentic);
        }
        let mut text = Zeroizing::new(vec![0; message.len()]);
        let len = self.0.read_message(message, &mut text).map_err(|_| NotAuthentic)?;
        text.truncate(len);
        Ok(text)
    }

    /// The open channel, once both messages are through.
    pub(super) fn finish(self) -> Result<Channel, NotAuthentic> {
        self.0.finalize().map(|transport| Channel(Box::new(transport))).map_err(|_| NotAuthentic)
    }
}

/// An open channel. Each message is the next one or none: the count is in the nonce.
pub(super) struct Channel(Box<TransportState<ChaChaPoly, Sha256>>);

impl Channel {
    /// What both opening messages and all before them came to. The same on both sides of an honest channel only.
    pub(super) fn handshake_hash(&self) -> [u8; 32] {
        self.0.get_handshake_hash().as_slice().try_into().expect("SHA-256 gives 32 bytes")
    }

    pub(super) fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        self.0.send_vec(text).expect("a text fits a mailbox message, and a channel carries a dozen of them")
    }

    pub(super) fn open(&mut self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
        if !(TAG_LEN..=MAILBOX_MESSAGE_LEN_MAX).contains(&message.len()) {
            return Err(NotAuthentic);
        }
        let mut text = Zeroizing::new(vec![0; message.len() - TAG_LEN]);
        self.0.receive(message, &mut text).map_err(|_| NotAuthentic)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(psks: [u8; 2], prologues: [u8; 2]) -> [Handshake; 2] {
        let side = |index: usize, side| {
            let seed = Zeroizing::new([index as u8 + 1; 32]);
            Handshake::new(side, &[psks[index]; 32], &[prologues[index]; 32], seed)
        };
        [side(0, Side::Creator), side(1, Side::Joiner)]
    }

    fn open() -> [Channel; 2] {
        let [mut creator, mut joiner] = pair([1, 1], [2, 2]);
        let first = creator.write(b"one").expect("its turn");
        assert_eq!(joiner.read(&first).expect("authentic").as_slice(), b"one");
        let second = joiner.write(b"two").expect("its turn");
        assert_eq!(creator.read(&second).expect("authentic").as_slice(), b"two");
        [creator.finish().expect("done"), joiner.finish().expect("done")]
    }

    #[test]
    fn two_messages_open_a_channel_with_one_hash() {
        let [mut creator, mut joiner] = open();
        assert_eq!(creator.handshake_hash(), joiner.handshake_hash());
        for text in [&b""[..], b"three", &[4; 10_000]] {
            assert_eq!(joiner.open(&creator.seal(text)).expect("authentic").as_slice(), text);
            assert_eq!(creator.open(&joiner.seal(text)).expect("authentic").as_slice(), text);
        }
    }

    #[test]
    fn the_protocol_is_the_documented_one() {
        let name = pair([1, 1], [2, 2])[0].0.get_name();
        assert_eq!(name.as_str(), "Noise_hybridNNpsk0_25519+MLKEM768_ChaChaPoly_SHA256");
    }

    #[test]
    fn another_psk_or_prologue_reads_nothing() {
        for (psks, prologues) in [([1, 9], [2, 2]), ([1, 1], [2, 9])] {
            let [mut creator, mut joiner] = pair(psks, prologues);
            let first = creator.write(b"one").expect("its turn");
            assert!(joiner.read(&first).is_err());
        }
    }

    #[test]
    fn a_message_counts_once_in_its_place_on_its_side() {
        let [mut creator, mut joiner] = open();
        let (first, second) = (creator.seal(b"1"), creator.seal(b"2"));
        assert!(joiner.open(&second).is_err(), "out of order");
        assert!(joiner.open(&first).is_ok());
        assert!(joiner.open(&first).is_err(), "replayed");
        assert!(creator.open(&second).is_err(), "reflected");
        for short in [&b""[..], &[0; TAG_LEN - 1]] {
            assert!(joiner.open(short).is_err());
        }
    }

    #[test]
    fn opening_messages_of_any_length_are_read_or_refused() {
        let [mut creator, _] = pair([1, 1], [2, 2]);
        let first = creator.write(b"one").expect("its turn");
        for len in (0..first.len()).chain([MAX_MESSAGE_LEN + 1]) {
            let [_, mut joiner] = pair([1, 1], [2, 2]);
            let mut message = first.clone();
            message.resize(len, 0);
            assert!(joiner.read(&message).is_err(), "{len}");
        }
    }
}
