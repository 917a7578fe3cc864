//! What other devices have read of a relay's log, compared with what this one is shown.
//!
//! With its receipt a device says how far it has read each log, and the run there. Whoever reads the same log (it has the
//! same log id) has to find the same run at that row. Where it does not, two devices were shown different histories;
//! where the log ends before that row for a while, and still does when the relay is asked, something is withheld. A relay
//! that was restored from an old copy looks like that to those who had read less than what it lost, and the others can't
//! tell: both are named, with what was seen.
//!
//! What is compared is one device's word and what a relay shows, so that is what is named: a member could lie.

use std::collections::{BTreeMap, VecDeque};

use sync_types::{
    DeviceId, LogId, RelayCursor, Run,
    limits::MEMBERS_MAX,
    wire::{AtMost, decode_exact, message},
};

use crate::{
    event::RelayState,
    protection::{Protection, Protections},
    timing::WITHHELD_MS,
};

message! {
    /// How far a device has read a log.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Head {
        /// Which.
        pub log_id: LogId,
        /// The last row it has read.
        pub cursor: RelayCursor,
        /// The log's run up to and with that.
        pub run: Run,
    }
}

message! {
    /// A relay shows this device something else than what another has read of the same log.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Contradiction {
        /// Who has read it.
        pub device: DeviceId,
        /// Up to which row.
        pub cursor: RelayCursor,
        /// The run it found there.
        pub theirs: Run,
        /// The run that this device found there: it was shown another history. None if the log ends before, as it is
        /// shown here: its end is withheld, or lost.
        pub ours: Option<Run>,
    }
}

impl Contradiction {
    /// What scripts and front ends see.
    pub const fn kind(&self) -> &'static str {
        if self.ours.is_some() { "forked" } else { "withheld" }
    }

    /// Several as bytes, to be stored.
    pub fn encode(all: &[Self]) -> Vec<u8> {
        rmp_serde::to_vec(all).expect("ids and numbers always encode into memory")
    }

    /// What was stored; none, if that is no such bytes.
    pub fn decode(bytes: &[u8]) -> Option<Vec<Self>> {
        decode_exact::<AtMost<MEMBERS_MAX, Self>>(bytes).ok().map(|all| all.0)
    }
}

/// So many of the rows read last can be compared with what somebody read who is behind.
const TRAIL_MAX: usize = 1_024;

/// What others have read of one relay's log, beside what this device has. Times are monotonic milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Of those who have read on.
    ahead: BTreeMap<(RelayCursor, DeviceId), Run>,
    /// The runs at the rows that were read last, and the last of those rows.
    trail: VecDeque<Run>,
    trail_end: RelayCursor,
    /// Of each of those, a row that it has read, and how long this device had waited when it heard of that. It stays that
    /// row until it is read here, whatever the other reads meanwhile: a relay that is only late is not late with any row
    /// for long.
    missing: BTreeMap<DeviceId, (RelayCursor, u64)>,
    /// How long this device has waited for more in all, with everything read that the relay names. What it is still to
    /// be sent may be long on its way over a slow link, and is no silence.
    waited_ms: u64,
    waits_since_ms: Option<u64>,
    protections: Protections,
}

impl Compared {
    pub(crate) fn new(protections: Protections) -> Self {
        Self { protections, ..Self::default() }
    }

    /// This is how far a device has read the log, of which this one knows `state`. Whether that contradicts.
    pub(crate) fn hear(&mut self, device: DeviceId, head: &Head, state: &mut RelayState) -> bool {
        self.ahead.retain(|(_, other), _| *other != device);
        if head.cursor > state.pulled {
            self.ahead.insert((head.cursor, device), head.run);
            return false;
        }
        match if head.cursor == state.pulled { Some(state.run) } else { self.run_at(head.cursor) } {
            Some(ours) => self.compare(state, (device, head.cursor, head.run), ours),
            None => {
                // What it said before it does not say any more, and this it can judge better than this device can.
                let stands = |known: &Contradiction| (known.cursor, known.theirs) == (head.cursor, head.run);
                state.contradictions.retain(|known| known.device != device || stands(known));
                false
            }
        }
    }

    /// What these have read is nothing to go by any more.
    pub(crate) fn forget(&mut self, who: impl Fn(&DeviceId) -> bool) {
        self.ahead.retain(|(_, device), _| !who(device));
    }

    fn run_at(&self, cursor: RelayCursor) -> Option<Run> {
        let behind = self.trail_end.get().checked_sub(cursor.get())?;
        let place = (self.trail.len() as u64).checked_sub(behind + 1)?;
        self.trail.get(usize::try_from(place).ok()?).copied()
    }

    /// Reading has come to this row of the log. Whether somebody had found another run there.
    pub(crate) fn pass(&mut self, cursor: RelayCursor, run: Run, state: &mut RelayState) -> bool {
        if self.trail_end.next() != cursor {
            self.trail.clear();
        }
        self.trail_end = cursor;
        self.trail.push_back(run);
        if self.trail.len() > TRAIL_MAX {
            self.trail.pop_front();
        }
        let mut news = false;
        while let Some(first) = self.ahead.first_entry().filter(|first| first.key().0 <= cursor) {
            let ((at, device), theirs) = first.remove_entry();
            news |= at == cursor && self.compare(state, (device, at, theirs), run);
        }
        news
    }

    /// So much of the log is read, and that is all that the relay names, or it is not.
    pub(crate) fn wait(&mut self, now_ms: u64, pulled: RelayCursor, caught_up: bool) {
        self.pause(now_ms);
        let unread: BTreeMap<_, _> = self.ahead.keys().map(|(cursor, device)| (*device, *cursor)).collect();
        self.missing.retain(|device, (cursor, _)| unread.contains_key(device) && *cursor > pulled);
        for (device, cursor) in unread {
            self.missing.entry(device).or_insert((cursor, self.waited_ms));
        }
        self.waits_since_ms = caught_up.then_some(now_ms);
    }

    /// Nothing is waited for, until [`Self::wait`] says so again.
    pub(crate) fn pause(&mut self, now_ms: u64) {
        if let Some(since_ms) = self.waits_since_ms.take() {
            self.waited_ms += now_ms.saturating_sub(since_ms);
        }
    }

    /// When [`Self::withheld`] has something to say.
    pub(crate) fn due_ms(&self, state: Option<&RelayState>) -> Option<u64> {
        let since_ms = self.waits_since_ms.filter(|_| self.protections.hold(Protection::WithheldNamed))?;
        let known =
            |device: &DeviceId| state.is_some_and(|state| of(state, device).is_some_and(|it| it.ours.is_none()));
        let news = self.missing.iter().filter(|(device, _)| !known(device));
        news.map(|(_, (_, heard))| since_ms + (heard + WITHHELD_MS).saturating_sub(self.waited_ms)).min()
    }

    /// The relay's log ends before what others have read of it. Whether that is news.
    pub(crate) fn withheld(&mut self, now_ms: u64, state: &mut RelayState) -> bool {
        let waited_ms = self.waited_ms + self.waits_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
        let mut news = false;
        for ((cursor, device), theirs) in &self.ahead {
            if self.missing.get(device).is_some_and(|(_, heard)| waited_ms >= heard + WITHHELD_MS) {
                news |= of(state, device).is_none_or(|known| known.ours.is_some());
                put(state, Contradiction { device: *device, cursor: *cursor, theirs: *theirs, ours: None });
            }
        }
        news
    }

    fn compare(
        &self,
        state: &mut RelayState,
        (device, cursor, theirs): (DeviceId, RelayCursor, Run),
        ours: Run,
    ) -> bool {
        if ours == theirs || !self.protections.hold(Protection::ForksNamed) {
            state.contradictions.retain(|known| known.device != device);
            return false;
        }
        let found = Contradiction { device, cursor, theirs, ours: Some(ours) };
        let is_news = of(state, &device) != Some(&found);
        put(state, found);
        is_news
    }
}

fn of<'a>(state: &'a RelayState, device: &DeviceId) -> Option<&'a Contradiction> {
    state.contradictions.iter().find(|known| known.device == *device)
}

/// The newest of each device is kept.
fn put(state: &mut RelayState, found: Contradiction) {
    state.contradictions.retain(|known| known.device != found.device);
    if state.contradictions.len() < MEMBERS_MAX {
        state.contradictions.push(found);
    }
}

#[cfg(test)]
mod tests {
    use sync_types::{BlobId, Seq};

    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 32]);
    const LOG: LogId = LogId::from_bytes([2; 16]);

    /// The run of the true log at this row.
    fn run(cursor: u64) -> Run {
        (1..=cursor).fold(Run::START, |run, row| run.then(&blob_id(row)))
    }

    fn blob_id(row: u64) -> BlobId {
        let mut bytes = [0; BlobId::LEN];
        bytes[..8].copy_from_slice(&row.to_be_bytes());
        BlobId::from_bytes(bytes)
    }

    fn head(cursor: u64, run: Run) -> Head {
        Head { log_id: LOG, cursor: RelayCursor::new(cursor), run }
    }

    /// One who has read so many rows of it.
    fn reader(rows: u64) -> (Compared, RelayState) {
        let mut state = RelayState {
            log_id: LOG,
            pulled: RelayCursor::START,
            run: Run::START,
            acked: Seq::START,
            mark: None,
            refill: None,
            compares: false,
            blob_len_max: None,
            paved: None,
            contradictions: Vec::new(),
        };
        let mut compared = Compared::default();
        for row in 1..=rows {
            let (cursor, run) = (RelayCursor::new(row), state.run.then(&blob_id(row)));
            assert!(!compared.pass(cursor, run, &mut state));
            (state.pulled, state.run) = (cursor, run);
        }
        (compared, state)
    }

    #[test]
    fn who_is_behind_is_compared_with_the_rows_read_last() {
        let (mut compared, mut state) = reader(TRAIL_MAX as u64 + 9);
        for cursor in [10, 11, 500, TRAIL_MAX as u64 + 8, TRAIL_MAX as u64 + 9] {
            assert!(!compared.hear(DEVICE, &head(cursor, run(cursor)), &mut state), "{cursor}");
            assert!(compared.hear(DEVICE, &head(cursor, run(3)), &mut state), "{cursor}");
            assert_eq!(state.contradictions.iter().map(Contradiction::kind).collect::<Vec<_>>(), ["forked"]);
            assert!(!compared.hear(DEVICE, &head(cursor, run(3)), &mut state), "it is no news twice");
            assert!(!compared.hear(DEVICE, &head(cursor, run(cursor)), &mut state), "and is over once it says so");
            assert_eq!(state.contradictions, []);
        }
        assert!(!compared.hear(DEVICE, &head(9, run(3)), &mut state), "that far back this device can't tell");
    }

    #[test]
    fn who_is_ahead_is_compared_once_reading_comes_there() {
        let (mut compared, mut state) = reader(3);
        assert!(!compared.hear(DEVICE, &head(5, run(2)), &mut state));
        assert!(!compared.pass(RelayCursor::new(4), run(4), &mut state));
        assert!(compared.pass(RelayCursor::new(5), run(5), &mut state));
        assert_eq!(state.contradictions[0].ours, Some(run(5)));
    }

    #[test]
    fn an_end_is_withheld_after_a_while_and_of_who_counts() {
        let (mut compared, mut state) = reader(3);
        compared.hear(DEVICE, &head(5, run(5)), &mut state);
        compared.wait(1_000, state.pulled, false);
        assert_eq!(compared.due_ms(Some(&state)), None, "something is still to be read");
        compared.wait(2_000, state.pulled, true);
        compared.wait(3_000, state.pulled, true);
        assert_eq!(compared.due_ms(Some(&state)), Some(2_000 + WITHHELD_MS));
        assert!(!compared.withheld(1_999 + WITHHELD_MS, &mut state));
        assert!(compared.withheld(2_000 + WITHHELD_MS, &mut state));
        assert_eq!((state.contradictions[0].kind(), compared.due_ms(Some(&state))), ("withheld", None));

        let (mut compared, mut state) = reader(3);
        compared.hear(DEVICE, &head(5, run(5)), &mut state);
        compared.wait(2_000, state.pulled, true);
        compared.forget(|device| *device == DEVICE);
        compared.wait(3_000, state.pulled, true);
        assert_eq!(compared.due_ms(Some(&state)), None);
    }

    #[test]
    fn what_is_on_its_way_is_not_withheld_and_stops_the_clock_but_does_not_set_it_back() {
        let (mut compared, mut state) = reader(3);
        compared.hear(DEVICE, &head(9, run(9)), &mut state);
        compared.wait(1_000, state.pulled, true);
        compared.wait(11_000, state.pulled, false);
        assert_eq!(compared.due_ms(Some(&state)), None);
        compared.wait(81_000, state.pulled, true);
        assert_eq!(compared.due_ms(Some(&state)), Some(71_000 + WITHHELD_MS), "ten seconds were waited before");
        compared.pause(82_000);
        assert_eq!(compared.due_ms(Some(&state)), None);
        compared.wait(99_000, state.pulled, true);
        assert_eq!(compared.due_ms(Some(&state)), Some(88_000 + WITHHELD_MS), "and one more");
    }

    #[test]
    fn a_log_that_grows_does_not_excuse_the_row_that_is_missing_and_one_that_is_late_is_no_liar() {
        let (mut compared, mut state) = reader(3);
        for (now_ms, read) in [(1_000, 3), (11_000, 4), (21_000, 5)] {
            compared.hear(DEVICE, &head(10 + read, run(10 + read)), &mut state);
            compared.wait(now_ms, RelayCursor::new(read), true);
            assert_eq!(compared.due_ms(Some(&state)), Some(1_000 + WITHHELD_MS), "row 13 is missing since then");
        }
        assert!(compared.withheld(1_000 + WITHHELD_MS, &mut state));
        assert_eq!(state.contradictions[0].cursor, RelayCursor::new(15), "the last that it is known to have read");

        let (mut compared, mut state) = reader(3);
        for now_ms in (0..WITHHELD_MS * 3).step_by(1_000) {
            let read = 3 + now_ms / 1_000;
            compared.hear(DEVICE, &head(read + 2, run(read + 2)), &mut state);
            compared.wait(now_ms, RelayCursor::new(read), true);
            assert!(compared.due_ms(Some(&state)).is_none_or(|due_ms| due_ms > now_ms), "always two rows behind");
        }
    }

    /// One may have read on before a relay was put back, or say anything.
    #[test]
    fn that_one_is_far_ahead_says_nothing_of_what_another_has_read() {
        const OTHER: DeviceId = DeviceId::from_bytes([3; 32]);
        let (mut compared, mut state) = reader(3);
        compared.hear(DEVICE, &head(900, run(9)), &mut state);
        compared.wait(1_000, state.pulled, true);
        assert!(compared.withheld(1_000 + WITHHELD_MS, &mut state));
        compared.hear(OTHER, &head(4, run(4)), &mut state);
        compared.wait(50_000, state.pulled, true);
        assert_eq!(compared.due_ms(Some(&state)), Some(50_000 + WITHHELD_MS));
        assert!(!compared.withheld(60_000, &mut state) && state.contradictions.len() == 1);
    }
}
