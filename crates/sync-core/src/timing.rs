//! How long the engine waits for what. Nothing here is a limit of the protocol: each device may choose its own.

use rand_core::Rng;

/// Opening a connection and being welcomed, each.
pub(crate) const CONNECT_MS: u64 = 5_000;
/// A relay that owes an answer and says nothing for this long is given up. The transport notices a dead one much
/// sooner; this is for one that lives and is stuck, and leaves a slow link time for the largest message.
pub(crate) const SILENCE_MS: u64 = 60_000;
/// A relay that is out of room, or refuses for a reason of its own, is asked again after this.
pub(crate) const REFUSED_RETRY_MS: u64 = 30_000;
/// How long a missing envelope is waited for, once every relay in reach is read to its end.
pub(crate) const GAP_MS: u64 = 30_000;
/// How long a relay may not know what this device holds.
pub(crate) const ACK_MS: u64 = 500;
/// Rows after which it is told at once.
pub(crate) const ACK_ROWS: u64 = 512;
/// A push does not hurry a connection attempt that began less than this ago.
pub(crate) const HURRY_MS: u64 = 1_000;

const BACKOFF_MS_MIN: u64 = 100;
const BACKOFF_MS_MAX: u64 = 30_000;

/// Full jitter (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015) over a floor: anything from
/// that to a ceiling twice as high as last time, so that a thousand devices don't come back at the same moment.
pub(crate) fn backoff_ms(attempt: u32, rng: &mut impl Rng) -> u64 {
    let ceiling = BACKOFF_MS_MIN.saturating_mul(1u64 << attempt.min(16)).min(BACKOFF_MS_MAX);
    BACKOFF_MS_MIN + rng.next_u64() % ceiling
}
