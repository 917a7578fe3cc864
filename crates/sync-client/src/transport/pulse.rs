//! Whether there is still somebody at the other end.
//!
//! A relay that is killed says no goodbye, and one that is back a moment later can't say that it doesn't know the
//! connection: iroh picks the key of QUIC's stateless resets at random at every start. So a device would talk to
//! nobody until its idle timeout. Instead it looks now and then: something was sent that wants an answer, and look
//! after look nothing at all has come in. That alone proves nothing, so it doesn't end the connection. It is a
//! reason to knock: see [`super::dial::replace`].
//!
//! What is counted is looks, not time: a process that was stopped, or got no processor, has looked seldom, and what
//! arrived meanwhile is read between two looks.

use std::time::Duration;

use iroh::endpoint::{Connection, ConnectionStats};

/// The pause between two looks while something is under way. At rest nobody looks but after a keep-alive.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// Looks without an answer that are no reason to doubt a connection: time for two losses in a row and a late
/// acknowledgement.
const LOOKS: u32 = 6;
/// Besides, so many round trips.
const ROUND_TRIPS: u32 = 4;

/// How much has passed over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Frames sent that the other side has to answer, be it by an acknowledgement. Not all of them, but those that
    /// carry messages, repetitions among them, and keep-alives.
    asked: u64,
    /// Datagrams received, whatever was in them.
    pub(super) heard: u64,
}

impl Traffic {
    /// Of this connection, up to now.
    pub(super) fn of(connection: &Connection) -> Self {
        let ConnectionStats { udp_rx, frame_tx, .. } = connection.stats();
        Self { asked: frame_tx.stream + frame_tx.ping, heard: udp_rx.datagrams }
    }
}

/// What a look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Nothing is under way.
    AtRest,
    /// Something was sent, or has come in.
    Busy,
    /// Something was sent, and nothing comes in any more.
    Silent,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Pulse {
    seen: Traffic,
    in_vain: u32,
}

impl Pulse {
    /// Of a connection that is alive.
    pub(super) fn new(traffic: Traffic) -> Self {
        Self { seen: traffic, in_vain: 0 }
    }

    /// Takes a look, [`LOOK`] or more after the one before. `round_trip` is how long an answer takes.
    pub(super) fn look(&mut self, traffic: Traffic, round_trip: Duration) -> Sign {
        let asked = traffic.asked != self.seen.asked;
        let heard = traffic.heard != self.seen.heard;
        self.seen = traffic;
        if heard {
            // What was asked before may be answered with it; if not, it is sent again.
            self.in_vain = 0;
            return Sign::Busy;
        }
        if !asked && self.in_vain == 0 {
            return Sign::AtRest;
        }
        self.in_vain += 1;
        let round_trips = (ROUND_TRIPS * round_trip).as_millis().div_ceil(LOOK.as_millis());
        if u128::from(self.in_vain) > u128::from(LOOKS) + round_trips { Sign::Silent } else { Sign::Busy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Duration = Duration::from_millis(1);

    /// A connection, looked at.
    struct Looked {
        pulse: Pulse,
        traffic: Traffic,
        round_trip: Duration,
    }

    impl Looked {
        fn new(round_trip: Duration) -> Self {
            let traffic = Traffic { asked: 7, heard: 9 };
            Self { pulse: Pulse::new(traffic), traffic, round_trip }
        }

        fn look(&mut self, asked: u64, heard: u64) -> Sign {
            self.traffic = Traffic { asked: self.traffic.asked + asked, heard: self.traffic.heard + heard };
            self.pulse.look(self.traffic, self.round_trip)
        }

        /// Looks until there is nothing to see.
        fn looks_in_vain(&mut self) -> u32 {
            (1..).find(|_| self.look(0, 0) != Sign::Busy).expect("one look is the last")
        }
    }

    #[test]
    fn a_connection_on_which_nothing_is_asked_is_never_doubted() {
        let mut looked = Looked::new(NEAR);
        for _ in 0..1_000 {
            assert_eq!(looked.look(0, 0), Sign::AtRest);
        }
    }

    #[test]
    fn an_answer_ends_the_looking() {
        let mut looked = Looked::new(NEAR);
        assert_eq!(looked.look(1, 0), Sign::Busy);
        assert_eq!(looked.look(0, 1), Sign::Busy);
        assert_eq!(looked.look(0, 0), Sign::AtRest);
        // Both between two looks, in whatever order.
        assert_eq!(looked.look(3, 1), Sign::Busy);
        assert_eq!(looked.look(0, 0), Sign::AtRest);
    }

    #[test]
    fn one_question_without_an_answer_is_enough() {
        let mut looked = Looked::new(NEAR);
        assert_eq!(looked.look(1, 0), Sign::Busy);
        assert_eq!(looked.looks_in_vain(), LOOKS + 1, "its acknowledgement is a round trip away");
        assert_eq!(looked.look(0, 0), Sign::Silent, "nothing but an answer helps");
        assert_eq!(looked.look(5, 0), Sign::Silent, "least of all asking more");
        assert_eq!(looked.look(0, 1), Sign::Busy);
        assert_eq!(looked.look(0, 0), Sign::AtRest);
    }

    #[test]
    fn anything_heard_in_between_starts_it_over() {
        let mut looked = Looked::new(NEAR);
        for _ in 0..100 {
            assert_eq!(looked.look(1, 1), Sign::Busy);
            for _ in 0..LOOKS {
                assert_eq!(looked.look(1, 0), Sign::Busy, "a device in use on a lossy line");
            }
        }
    }

    #[test]
    fn what_is_far_away_gets_more_time() {
        let mut satellite = Looked::new(Duration::from_millis(650));
        assert_eq!(satellite.look(1, 0), Sign::Busy);
        assert_eq!(satellite.looks_in_vain(), LOOKS + 26);
    }
}
