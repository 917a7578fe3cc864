//! How long the engine waits for what. Nothing here is a limit of the protocol: each device may choose its own.

use rand_core::Rng;

/// Opening a connection and being welcomed, each.
pub(crate) const CONNECT_MS: u64 = 5_000;
/// A relay that owes an answer and gives none for this long is given up, whatever else it says. The transport notices
/// a dead one much sooner; this is for one that lives and is stuck, and leaves a slow link time for the largest message.
pub(crate) const SILENCE_MS: u64 = 60_000;
/// A relay that is out of room, or refuses for a reason of its own, is asked again after this.
pub(crate) const REFUSED_RETRY_MS: u64 = 30_000;
/// How long a missing envelope is waited for, once every relay in reach is read to its end.
pub(crate) const GAP_MS: u64 = 30_000;
/// How long a relay may not show rows that another device has read there, before they count as withheld.
pub(crate) const WITHHELD_MS: u64 = 30_000;
/// How long a relay may not know what this device holds.
pub(crate) const ACK_MS: u64 = 500;
/// Rows after which it is told at once.
pub(crate) const ACK_ROWS: u64 = 512;
/// How long it is quiet before the others are told how far this device has come.
pub(crate) const RECEIPT_QUIET_MS: u64 = 3_000;
/// If it never is, they are told after this; and they are told no more often than that, but for much traffic.
pub(crate) const RECEIPT_SPACE_MS: u64 = 30_000;
/// How long nobody is told that more of this device's own is on every relay.
pub(crate) const RECEIPT_OWN_MS: u64 = 30_000;
/// A relay that shows something of no use at an id that is over is told again what is of use, after so long: there is room
/// for so much, and the newest stays.
pub(crate) const LEFT_AGAIN_MS: u64 = 10_000;
/// A device that is removed looks after so long whether that still holds, then after twice that, and so on up to a day.
pub(crate) const REMOVED_RETRY_MS: u64 = 600_000;
/// See [`REMOVED_RETRY_MS`].
pub(crate) const REMOVED_RETRY_MAX_MS: u64 = 24 * 3_600_000;
/// A member that has to be given a key is given it by the others without anybody's doing, unless it takes longer than this.
pub(crate) const KEYLESS_MS: u64 = 60_000;
/// By so many of its keys it asks at a time.
pub(crate) const REMOVED_ASKS_MAX: usize = 16;
/// A push does not hurry a connection attempt that began less than this ago.
pub(crate) const HURRY_MS: u64 = 1_000;

/// What any member may do for the group, those who joined later leave to those who joined earlier for so long, each
/// for the ones ahead of it: two who commit at once make work for everybody.
pub(crate) const DUTY_STEP_MS: u64 = 3_000;
/// The same for snapshots, which are more work and less urgent.
pub(crate) const SNAPSHOT_STEP_MS: u64 = 60_000;
/// An app that was asked for a snapshot and made none is asked again after this.
pub(crate) const SNAPSHOT_AGAIN_MS: u64 = 600_000;
/// How long a device that has nothing waits for the next part of a snapshot, before it reads the logs.
pub(crate) const SNAPSHOT_PATIENCE_MS: u64 = 60_000;
/// So long after everybody is known to have heard of a removal, whoever held more of the removed device's has said so.
pub(crate) const REMOVAL_HEARD_MS: u64 = 60_000;
/// How long a snapshot that is being loaded is waited for that no relay in reach offers any more.
pub(crate) const SNAPSHOT_ALONE_MS: u64 = 30_000;
/// A newcomer's keys are its inviter's to hand over for so long.
pub(crate) const COVER_MS: u64 = 20_000;

const BACKOFF_MS_MIN: u64 = 100;
const BACKOFF_MS_MAX: u64 = 30_000;
/// A relay that is started again, or a network that is changed, is mostly back after so long.
const SHORT_OUTAGE_MS: u64 = 5_000;
/// Until then the ceiling is doubled no more often than this if nobody is there, so that no device waits much longer
/// than the outage. A relay that is there and does not want it is left alone as ever.
const SHORT_OUTAGE_DOUBLINGS_MAX: u32 = 2;

/// When to try again, however often it fails.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    doublings: u32,
    since_ms: Option<u64>,
}

impl Backoff {
    /// Milliseconds until the next attempt, after one that failed or a connection that was lost. `met` says that
    /// somebody was there who did not welcome this device.
    ///
    /// Full jitter (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015) over a floor: anything
    /// from that to a ceiling twice as high as last time, so that a thousand devices don't come back at the same moment.
    pub(crate) fn failed(&mut self, now_ms: u64, met: bool, rng: &mut impl Rng) -> u64 {
        let ceiling = BACKOFF_MS_MIN.saturating_mul(1 << self.doublings.min(16)).min(BACKOFF_MS_MAX);
        let short = now_ms.saturating_sub(*self.since_ms.get_or_insert(now_ms)) < SHORT_OUTAGE_MS;
        if met || !short || self.doublings < SHORT_OUTAGE_DOUBLINGS_MAX {
            self.doublings = self.doublings.saturating_add(1);
        }
        BACKOFF_MS_MIN + rng.next_u64() % ceiling
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng as _;

    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    /// Attempts that fail at once, from the first to the last before `until_ms`: the pause after each.
    fn pauses(seed: u8, until_ms: u64, met: bool) -> Vec<u64> {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([seed; 32]);
        let mut backoff = Backoff::default();
        let mut now_ms = 7_000;
        let mut pauses = Vec::new();
        while now_ms < 7_000 + until_ms {
            let pause = backoff.failed(now_ms, met, &mut rng);
            pauses.push(pause);
            now_ms += pause;
        }
        pauses
    }

    #[test]
    fn a_short_outage_is_not_outlasted_by_much() {
        for seed in 0..50 {
            assert!(pauses(seed, SHORT_OUTAGE_MS, false).iter().all(|pause| (100..=500).contains(pause)));
        }
    }

    #[test]
    fn a_relay_that_does_not_want_a_device_is_soon_left_alone() {
        let longest = (0..50).filter_map(|seed| pauses(seed, SHORT_OUTAGE_MS, true).into_iter().max()).max();
        assert!(longest.is_some_and(|pause| pause > 2_000), "{longest:?}");
    }

    #[test]
    fn a_long_outage_is_met_with_ever_longer_pauses_that_no_two_devices_share() {
        for seed in 0..50 {
            let pauses = pauses(seed, HOUR_MS, false);
            assert!((120..400).contains(&pauses.len()), "{} attempts in an hour", pauses.len());
            let longest = pauses.iter().max();
            assert!(longest.is_some_and(|pause| (20_000..30_100).contains(pause)), "{longest:?}");
        }
        assert_ne!(pauses(0, HOUR_MS, false), pauses(1, HOUR_MS, false));
    }
}
