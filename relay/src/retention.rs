//! When blobs leave: a clock that no jump of the wall clock can move far, and the task that cleans up, and then looks
//! whether what stays is still what it was.
//!
//! Retention time follows the wall clock, but from one cleanup to the next it moves by one cleanup interval at
//! most, and never backwards. A machine that wakes up ten years in the future, or in 1970, deletes nothing that it
//! would not have deleted anyway: blobs may live longer than asked for, never shorter by more than an interval.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};

use crate::{
    state::State,
    store::{ClockMark, Sweep},
};

/// Milliseconds of the wall clock since 1970.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct RetentionClock {
    mark: Mutex<ClockMark>,
    interval_ms: u64,
}

impl RetentionClock {
    /// Goes on from where a store kept it; the first start takes over the wall clock.
    pub(crate) fn new(kept: Option<ClockMark>, interval_s: u64, wall_ms: u64) -> Self {
        let mark = kept.unwrap_or(ClockMark { time_ms: wall_ms, wall_ms });
        Self { mark: Mutex::new(mark), interval_ms: interval_s.saturating_mul(1_000) }
    }

    /// Retention time at a moment of the wall clock.
    pub(crate) fn at(&self, wall_ms: u64) -> u64 {
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        mark.time_ms.saturating_add(wall_ms.saturating_sub(mark.wall_ms).min(self.interval_ms))
    }

    /// Moves on to a moment of the wall clock, and says what to keep.
    pub(crate) fn tick(&self, wall_ms: u64) -> ClockMark {
        let time_ms = self.at(wall_ms);
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        *mark = ClockMark { time_ms: time_ms.max(mark.time_ms), wall_ms };
        *mark
    }
}

/// Bytes of envelopes that are looked at after a cleanup at least.
const INSPECTED_MIN: u64 = 64 * 1024 * 1024;
/// How long it may take until all of the file was: less than devices keep what they could bring again.
const INSPECTED_IN_S: u64 = 4 * 24 * 3_600;

/// Cleans up at the start and once every interval, until dropped.
pub(crate) async fn run(relay: Arc<State>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(relay.config.cleanup.interval));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        clean_up(&relay, relay.clock.tick(wall_ms())).await;
        let share = inspected_share(relay.store.totals().db_bytes, relay.config.cleanup.interval);
        if let Err(error) = relay.store.inspect(share).await {
            warn!(%error, "looking for what the disk has changed was cut short");
        }
    }
}

/// Bytes to look at in one interval.
fn inspected_share(db_bytes: u64, interval_s: u64) -> u64 {
    INSPECTED_MIN.max(db_bytes.saturating_mul(interval_s) / INSPECTED_IN_S)
}

async fn clean_up(relay: &State, clock: ClockMark) {
    let cleanup = &relay.config.cleanup;
    let devices_before_ms = clock.time_ms.saturating_sub(cleanup.device_expiry.saturating_mul(1_000));
    let sweep = Sweep { clock, devices_before_ms, vacuum: cleanup.vacuum_on_cleanup };
    let (mut expired, mut dropped, mut covered, mut parts) = (0, 0, 0, 0);
    let (mut devices, mut groups, mut packages) = (0, 0, 0);
    loop {
        match relay.store.sweep(sweep).await {
            Ok(swept) => {
                expired += swept.expired;
                dropped += swept.dropped;
                covered += swept.covered;
                parts += swept.parts;
                devices += swept.devices;
                groups += swept.groups;
                packages += swept.packages;
                if !swept.more {
                    break;
                }
            }
            Err(error) => {
                warn!(%error, "cleanup was cut short");
                break;
            }
        }
    }
    relay.metrics.expired.add(expired);
    info!(expired, dropped, covered, parts, devices, groups, packages, "cleaned up");
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const START: u64 = 1_000 * HOUR_MS;

    fn clock() -> RetentionClock {
        RetentionClock::new(None, 3_600, START)
    }

    #[test]
    fn all_of_a_file_is_looked_at_in_four_days_however_often_that_is() {
        const TIB: u64 = 1 << 40;
        for interval_s in [60, 3_600, 24 * 3_600] {
            let shares = INSPECTED_IN_S / interval_s;
            assert!(inspected_share(TIB, interval_s) * shares > TIB - shares, "{interval_s}");
        }
        assert_eq!(inspected_share(1_000, 3_600), INSPECTED_MIN);
    }

    #[test]
    fn it_follows_the_wall_clock() {
        let clock = clock();
        assert_eq!(clock.at(START + 5), START + 5);
        for hour in 1..50 {
            assert_eq!(clock.tick(START + hour * HOUR_MS).time_ms, START + hour * HOUR_MS);
        }
    }

    #[test]
    fn a_jump_of_ten_years_is_worth_one_interval() {
        let clock = clock();
        let far = START + 87_600 * HOUR_MS;
        assert_eq!(clock.at(far), START + HOUR_MS);
        assert_eq!(clock.tick(far).time_ms, START + HOUR_MS);
        assert_eq!(clock.tick(far + HOUR_MS).time_ms, START + 2 * HOUR_MS);
    }

    #[test]
    fn a_jump_back_stops_it_for_a_moment_only() {
        let clock = clock();
        assert_eq!(clock.tick(START - 500 * HOUR_MS).time_ms, START);
        assert_eq!(clock.tick(START - 499 * HOUR_MS).time_ms, START + HOUR_MS);
    }

    #[test]
    fn a_restart_goes_on_from_what_was_kept() {
        let kept = clock().tick(START + HOUR_MS);
        let clock = RetentionClock::new(Some(kept), 3_600, START + 500 * HOUR_MS);
        assert_eq!(clock.at(START + 500 * HOUR_MS), START + 2 * HOUR_MS);
    }
}
