//! Waiting for what is bound to happen.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks until there is an answer, and fails with `what` if there is none within `limit`.
///
/// # Panics
/// When `limit` has passed.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
