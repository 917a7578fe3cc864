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
    store::{ClockMark, Inspected, Sweep},
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

/// Bytes of envelopes that are looked at after a cleanup at least, and all of them in so many cleanups: an hour each, in
/// about four days, which is sooner than devices let go of what they could bring again.
const INSPECTED_MIN: u64 = 64 * 1024 * 1024;
const INSPECTED_IN: u64 = 96;
/// As many as are looked at in one go, so that readers come in between.
const INSPECTED_STEP: u64 = 1024 * 1024;

/// Cleans up at the start and once every interval, until dropped.
pub(crate) async fn run(relay: Arc<State>) {
    let mut inspected = Inspected::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(relay.config.cleanup.interval));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        clean_up(&relay, relay.clock.tick(wall_ms())).await;
        inspected = inspect(&relay, inspected).await;
    }
}

/// Goes on looking through the store from where it stopped; says where it stops now.
async fn inspect(relay: &State, mut inspected: Inspected) -> Inspected {
    let mut left = INSPECTED_MIN.max(relay.store.totals().db_bytes / INSPECTED_IN);
    while left > 0 {
        match relay.store.inspect(inspected, INSPECTED_STEP).await {
            Ok(next) => inspected = next,
            Err(error) => {
                warn!(%error, "looking for damage was cut short");
                break;
            }
        }
        if inspected == Inspected::default() {
            break;
        }
        left = left.saturating_sub(INSPECTED_STEP);
    }
    inspected
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
