//! Saying that a story could not be told on this machine.

use std::env;

/// Says so on standard output, or fails if `SYNC_ALL_TESTS` is set: where everything is meant to be tested, nothing
/// is left out.
///
/// # Panics
/// If `SYNC_ALL_TESTS` is set.
#[expect(clippy::print_stdout, reason = "who runs this wants to know what was not tested")]
pub fn skipped(why: &str) {
    assert!(env::var_os("SYNC_ALL_TESTS").is_none(), "SYNC_ALL_TESTS is set, and this machine can't: {why}");
    println!("SKIPPED: {why}");
}
