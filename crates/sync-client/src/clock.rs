//! The time, as sync-core wants it: one clock that never goes back and decides, and the device's own for people.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sync_core::Now;

/// Counts from its own making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock {
    pub(crate) fn now(&self) -> Now {
        Now { mono_ms: millis(self.origin.elapsed()), wall_ms: wall_ms() }
    }

    /// When that is, of [`Now::mono_ms`].
    pub(crate) fn instant(&self, mono_ms: u64) -> Instant {
        self.origin + Duration::from_millis(mono_ms)
    }
}

/// Unix milliseconds by the device's clock; 0 for a clock before 1970.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
