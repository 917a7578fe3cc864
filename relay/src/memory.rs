//! Gives memory back to the system when a crowd has left.
//!
//! iroh remembers a peer for a minute after its last connection. Then what the peer cost is free, but glibc keeps it:
//! a relay that once had a thousand devices would stay as large as if it had them still. Telling glibc to give it back
//! takes a walk over the whole heap, so that is done when it is worth it and not every now and then. See
//! [0009](../../docs/adr/0009-memory-is-given-back.md).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tracing::debug;

use crate::state::State;

/// How often the crowd is counted.
const LOOK: Duration = Duration::from_secs(15);
/// Looks that lie within the time that iroh remembers a peer: a minute, and a little more.
const LOOKS: usize = 6;
/// Fewer peers than this are not worth the walk. Each is a tenth of a megabyte.
const GONE_MIN: u64 = 100;

/// Looks after it until dropped.
pub(crate) async fn run(relay: Arc<State>) {
    let mut crowd = Crowd::default();
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let gates = [&relay.quotas.addresses, &relay.quotas.inviting];
        let open = gates.iter().map(|gate| gate.count() as u64).sum();
        let entered = gates.iter().map(|gate| gate.entered()).sum();
        if crowd.has_left(open, entered) {
            // Other threads that need memory wait for it by turns: this one serves nobody meanwhile.
            let given_back = tokio::task::spawn_blocking(give_back).await;
            debug!(?given_back, "a crowd has left");
        }
    }
}

/// How many peers iroh may remember, and the most it did since memory was last given back.
#[derive(Debug, Default)]
struct Crowd {
    /// Of the last looks: connections open, and all that there ever were.
    looks: VecDeque<(u64, u64)>,
    most: u64,
}

impl Crowd {
    /// Whether most of it has left, and iroh has forgotten them.
    fn has_left(&mut self, open: u64, entered: u64) -> bool {
        self.looks.push_back((open, entered));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        // Whoever left before the first of them is forgotten.
        let (open_before, entered_before) = self.looks.front().copied().unwrap_or_default();
        let remembered = open_before + (entered - entered_before);
        self.most = self.most.max(remembered);
        let left = remembered <= self.most / 2 && self.most - remembered >= GONE_MIN;
        if left {
            self.most = remembered;
        }
        left
    }
}

/// Gives back what is free. Whether there was anything.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "nothing safe does it")]
fn give_back() -> bool {
    // SAFETY: it takes no pointer, may be called at any time from any thread, and moves nothing that is in use.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Other allocators than glibc's have no such call, or no need of one.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that show the same, until they say that the crowd has left; how many that took.
    fn looks_until_left(crowd: &mut Crowd, open: u64, entered: u64) -> Option<usize> {
        (1..=10 * LOOKS).find(|_| crowd.has_left(open, entered))
    }

    #[test]
    fn it_has_left_once_nobody_remembers_it_and_only_once() {
        let mut crowd = Crowd::default();
        assert!(!crowd.has_left(0, 0));
        assert!(!crowd.has_left(1_000, 1_000));
        assert_eq!(looks_until_left(&mut crowd, 1_000, 1_000), None, "it is still there");
        assert_eq!(looks_until_left(&mut crowd, 3, 1_000), Some(LOOKS));
        assert_eq!(looks_until_left(&mut crowd, 3, 1_000), None);
    }

    #[test]
    fn those_who_come_and_go_one_at_a_time_are_a_crowd_too() {
        let mut crowd = Crowd::default();
        for entered in (0..5_000).step_by(100) {
            assert!(!crowd.has_left(1, entered));
        }
        assert_eq!(looks_until_left(&mut crowd, 1, 4_900), Some(LOOKS - 3), "half of those remembered are not enough");
    }

    #[test]
    fn a_few_are_no_crowd() {
        let mut crowd = Crowd::default();
        assert!(!crowd.has_left(GONE_MIN - 1, GONE_MIN - 1));
        assert_eq!(looks_until_left(&mut crowd, 0, GONE_MIN - 1), None);
    }

    #[test]
    fn a_crowd_that_shrinks_slowly_has_left_when_half_of_it_has() {
        let mut crowd = Crowd::default();
        assert_eq!(looks_until_left(&mut crowd, 1_000, 1_000), None);
        assert_eq!(looks_until_left(&mut crowd, 600, 1_000), None);
        assert_eq!(looks_until_left(&mut crowd, 400, 1_000), Some(LOOKS));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_is_free_is_given_back() {
        let resident_kib = || -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has one");
            line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
        };
        const KEPT_EVERY: usize = 64;
        let mut blocks: Vec<Option<Box<[u8]>>> = (0..64 * 1024).map(|_| Some(vec![1; 1024].into())).collect();
        // One that stays, now and then, so that nothing can be given back by itself.
        for (number, block) in blocks.iter_mut().enumerate() {
            if !number.is_multiple_of(KEPT_EVERY) {
                *block = None;
            }
        }
        let before = resident_kib();
        assert!(give_back());
        let after = resident_kib();
        assert!(after + 32 * 1024 < before, "{before} KiB before, {after} KiB after");
        assert_eq!(blocks.iter().flatten().count(), 1024);
    }
}
