//! What an app's life means for its sync, as a function of what happens and of what happened before.
//!
//! | what happens | what is done | who waits |
//! | --- | --- | --- |
//! | launched | connect, push what waits, fetch what is new | nobody |
//! | a window is focused, the app resumed | the same, at most once a second | nobody |
//! | suspended | flush for half a second at most, then close the connections; whatever comes next opens them again | nobody |
//! | exit is requested | hide the windows, begin to flush | nobody |
//! | exit | wait for what is left of that half second | the app, that long |
//! | a slot in the background | a full cycle, within the slot; then as before | whoever was given the slot |
//!
//! Nothing depends on any of it: what was pushed is on the disk. SIGTERM and a crash give no event; Cmd+Q on macOS gives
//! only the last; an app may refuse to exit after all; iOS says that an app is suspended when it only shows its control
//! centre, and never that it is resumed. So each event stands for itself, in whatever order they come.

use std::time::{Duration, Instant};

/// How long the app is held up at its end, and what it is flushed for when it is suspended.
pub(crate) const FLUSH_MAX: Duration = Duration::from_millis(500);
/// How often being looked at is a reason to look for news.
const WAKE_EVERY: Duration = Duration::from_secs(1);
/// How long after the end an app that is still there has refused to end.
const STILL_THERE_AFTER: Duration = Duration::from_millis(250);

/// Something that happens to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It starts.
    Launched,
    /// One of its windows gets the focus.
    Focused,
    /// It is put aside, on a phone.
    #[cfg_attr(all(desktop, not(test)), expect(dead_code, reason = "phones tell it"))]
    Suspended,
    /// It is back, on a phone.
    #[cfg_attr(all(desktop, not(test)), expect(dead_code, reason = "phones tell it"))]
    Resumed,
    /// One of its windows asks for something, so it is there.
    Command,
    /// It is about to exit. It may refuse.
    ExitRequested,
    /// The time to exit is over, and it has not.
    StillThere,
    /// It exits.
    Exit,
    /// The system lets it work in the background until then.
    Slot {
        /// When it has to be done.
        until: Instant,
    },
    /// What the system let it do is done.
    SlotEnds,
}

/// Something to do about it, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Connect, push what waits and fetch what is new, unless the app wants to be offline.
    Wake,
    /// Flush for that long at most, then close the connections.
    Rest {
        /// How long.
        within: Duration,
    },
    /// A full cycle.
    Cycle {
        /// How long it may take.
        within: Duration,
    },
    /// Take the windows off the screen.
    HideWindows,
    /// Put them back.
    ShowWindows,
    /// Begin to flush.
    Flush {
        /// How long it may take.
        within: Duration,
    },
    /// Say [`Event::StillThere`] after that time.
    AskAgain {
        /// How long to wait.
        after: Duration,
    },
    /// Hold the app up until what was begun is done, say goodbye to the relays, and let go of it then at the latest.
    Finish {
        /// When.
        until: Instant,
    },
}

/// What there is to remember.
#[derive(Debug, Default)]
pub(crate) struct State {
    woken: Option<Instant>,
    suspended: bool,
    /// When the flush that is under way ends.
    flush_ends: Option<Instant>,
}

impl State {
    /// What to do about an event.
    pub(crate) fn on(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Launched | Event::Resumed => self.wake(now),
            Event::Focused if self.suspended || self.woken.is_none_or(|woken| now >= woken + WAKE_EVERY) => {
                self.wake(now)
            }
            Event::Command if self.suspended => self.wake(now),
            Event::Focused | Event::Command => Vec::new(),
            Event::Suspended if self.suspended => Vec::new(),
            Event::Suspended => {
                self.suspended = true;
                vec![Action::Rest { within: FLUSH_MAX }]
            }
            Event::Slot { until } => vec![Action::Cycle { within: until.saturating_duration_since(now) }],
            Event::SlotEnds if self.suspended => vec![Action::Rest { within: Duration::ZERO }],
            Event::SlotEnds => Vec::new(),
            Event::ExitRequested if self.flush_ends.is_some() => Vec::new(),
            Event::ExitRequested => {
                self.flush_ends = Some(now + FLUSH_MAX);
                vec![
                    Action::HideWindows,
                    Action::Flush { within: FLUSH_MAX },
                    Action::AskAgain { after: FLUSH_MAX + STILL_THERE_AFTER },
                ]
            }
            Event::StillThere if self.flush_ends.take().is_some() => vec![Action::ShowWindows],
            Event::StillThere => Vec::new(),
            Event::Exit => match self.flush_ends {
                Some(until) => vec![Action::Finish { until }],
                None => {
                    self.flush_ends = Some(now + FLUSH_MAX);
                    vec![Action::Flush { within: FLUSH_MAX }, Action::Finish { until: now + FLUSH_MAX }]
                }
            },
        }
    }

    fn wake(&mut self, now: Instant) -> Vec<Action> {
        self.woken = Some(now);
        self.suspended = false;
        vec![Action::Wake]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Action = Action::Rest { within: FLUSH_MAX };

    /// An app's life, told in milliseconds.
    struct Life {
        state: State,
        born: Instant,
    }

    impl Life {
        fn new() -> Self {
            Self { state: State::default(), born: Instant::now() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.born + Duration::from_millis(ms)
        }

        fn on(&mut self, ms: u64, event: Event) -> Vec<Action> {
            self.state.on(self.at(ms), event)
        }
    }

    #[test]
    fn launching_wakes_and_looking_at_it_wakes_at_most_once_a_second() {
        let mut life = Life::new();
        assert_eq!(life.on(0, Event::Launched), [Action::Wake]);
        assert_eq!(life.on(500, Event::Focused), [], "it has just been woken");
        assert_eq!(life.on(1_500, Event::Focused), [Action::Wake]);
        assert_eq!(life.on(1_600, Event::Focused), [], "another window");
        assert_eq!(life.on(1_700, Event::Command), [], "a command alone is no reason");
    }

    #[test]
    fn a_phones_app_rests_when_it_is_suspended_and_wakes_when_it_is_resumed() {
        let mut life = Life::new();
        life.on(0, Event::Launched);
        assert_eq!(life.on(100, Event::Suspended), [REST]);
        assert_eq!(life.on(110, Event::Suspended), [], "it rests");
        assert_eq!(life.on(200, Event::Resumed), [Action::Wake], "however soon");
        assert_eq!(life.on(300, Event::Suspended), [REST]);
    }

    #[test]
    fn ios_may_suspend_and_never_resume_and_whatever_comes_next_wakes() {
        for next in [Event::Focused, Event::Command, Event::Resumed] {
            let mut life = Life::new();
            life.on(0, Event::Launched);
            life.on(100, Event::Suspended);
            assert_eq!(life.on(150, next), [Action::Wake], "{next:?}");
            assert_eq!(life.on(160, next).len(), usize::from(next == Event::Resumed), "once: {next:?}");
        }
    }

    #[test]
    fn a_slot_in_the_background_is_a_full_cycle_within_it_and_leaves_the_app_suspended() {
        let mut life = Life::new();
        life.on(0, Event::Launched);
        life.on(100, Event::Suspended);
        let until = life.at(26_000);
        assert_eq!(life.on(1_000, Event::Slot { until }), [Action::Cycle { within: Duration::from_secs(25) }]);
        let rests = [Action::Rest { within: Duration::ZERO }];
        assert_eq!(life.on(9_000, Event::SlotEnds), rests, "it may be stopped at any moment");
        assert_eq!(life.on(27_000, Event::Slot { until }), [Action::Cycle { within: Duration::ZERO }], "a late one");
        assert_eq!(life.on(28_000, Event::Resumed), [Action::Wake]);
        assert_eq!(life.on(28_100, Event::SlotEnds), [], "it is being used");
    }

    #[test]
    fn the_flush_begins_when_exit_is_requested_and_both_share_one_half_second() {
        let mut life = Life::new();
        let begun = life.on(1_000, Event::ExitRequested);
        assert_eq!(begun[..2], [Action::HideWindows, Action::Flush { within: FLUSH_MAX }]);
        assert_eq!(life.on(1_100, Event::ExitRequested), [], "asked twice");
        assert_eq!(life.on(1_200, Event::Exit), [Action::Finish { until: life.at(1_500) }]);
    }

    #[test]
    fn an_exit_without_warning_flushes_and_waits_half_a_second() {
        let mut life = Life::new();
        life.on(0, Event::Launched);
        let expected = [Action::Flush { within: FLUSH_MAX }, Action::Finish { until: life.at(2_500) }];
        assert_eq!(life.on(2_000, Event::Exit), expected);
    }

    #[test]
    fn an_app_that_refuses_to_exit_gets_its_windows_back_and_may_exit_another_time() {
        let mut life = Life::new();
        let begun = life.on(0, Event::ExitRequested);
        let Action::AskAgain { after } = begun[2] else { panic!("{begun:?}") };
        assert!(after > FLUSH_MAX, "not while it may still be exiting");
        assert_eq!(life.on(750, Event::StillThere), [Action::ShowWindows]);
        assert_eq!(life.on(760, Event::StillThere), []);
        assert_eq!(life.on(5_000, Event::ExitRequested), begun);
        assert_eq!(life.on(5_100, Event::Exit), [Action::Finish { until: life.at(5_500) }]);
    }
}
