//! Which relays are configured, where they are, and which addresses have to be asked.
//!
//! Decides only; the driver asks. A web address is asked at every start, and again when its relay can't be reached
//! where it was. One whose relay is known is usable all the while.
//!
//! Invariant: an address, once it led to a relay, never leads to another.

use std::time::{Duration, Instant};

use sync_types::{ErrorCode, RelayId};

use crate::{
    resolve::{RelayAddr, ResolveError},
    store::{AddressRow, Pin},
};

const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// One configured relay.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) address: RelayAddr,
    pub(crate) pin: Option<Pin>,
    /// When to ask next; none while an answer is awaited, or when there is nothing to ask.
    ask_at: Option<Instant>,
    asking: bool,
    failures: u32,
    /// How often its relay was looked for in vain.
    misses: u64,
    /// It was looked for in vain just now, and its address is being asked whether it is somewhere else.
    missed: bool,
    problem: Option<ErrorCode>,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Nothing a person or the engine would notice.
    AsBefore,
    /// The relay is known now, or is somewhere else: worth storing.
    Pinned,
    /// Something is wrong that was not before.
    Problem(ErrorCode),
}

/// All of them, in order of preference.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    /// From what is stored. Addresses that can't be read any more are left out, and said so.
    pub(crate) fn new(rows: Vec<AddressRow>, now: Instant) -> Self {
        let route = |row: AddressRow| match row.address.parse::<RelayAddr>() {
            Ok(address) => {
                let pin = row.pin.or_else(|| address.known());
                let ask_at = address.web().map(|_| now);
                Some(Route {
                    address,
                    pin,
                    ask_at,
                    asking: false,
                    failures: 0,
                    misses: 0,
                    missed: false,
                    problem: None,
                })
            }
            Err(error) => {
                tracing::error!(%error, "a stored relay address can't be read");
                None
            }
        };
        Self(rows.into_iter().filter_map(route).collect())
    }

    /// Takes these instead. What is known of an address that stays is kept, but for an answer that is awaited: it is
    /// asked again.
    pub(crate) fn replace(&mut self, rows: Vec<AddressRow>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        let mut routes = Self::new(rows, now).0;
        for route in &mut routes {
            if let Some(place) = before.iter().position(|known| known.address == route.address) {
                let known = before.swap_remove(place);
                let ask_at = if known.asking { Some(now) } else { known.ask_at };
                *route = Route { ask_at, asking: false, ..known };
            }
        }
        self.0 = routes;
    }

    /// The relays that are known, each once.
    pub(crate) fn relays(&self) -> Vec<RelayId> {
        let mut relays = Vec::new();
        for pin in self.0.iter().filter_map(|route| route.pin.as_ref()) {
            if !relays.contains(&pin.relay) {
                relays.push(pin.relay);
            }
        }
        relays
    }

    /// The route of a place that [`Self::take_due`] gave out.
    pub(crate) fn get(&self, place: usize) -> &Route {
        &self.0[place]
    }

    /// Where a relay is.
    pub(crate) fn pin_of(&self, relay: &RelayId) -> Option<&Pin> {
        self.0.iter().filter_map(|route| route.pin.as_ref()).find(|pin| pin.relay == *relay)
    }

    /// What is wrong with the addresses that no status of a relay shows: those whose relay is not known.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = Option<ErrorCode>> {
        self.0.iter().filter(|route| route.pin.is_none()).map(|route| route.problem)
    }

    /// What is wrong with a relay's address.
    pub(crate) fn problem_of(&self, relay: &RelayId) -> Option<ErrorCode> {
        let leads_there = |route: &&Route| route.pin.as_ref().is_some_and(|pin| pin.relay == *relay);
        self.0.iter().filter(leads_there).find_map(|route| route.problem)
    }

    /// Why a connection to a relay ended, given what it died of. That somebody else answers where a web address once
    /// pointed is no news of the relay: asking the address again tells.
    pub(crate) fn why_lost(&self, relay: &RelayId, reason: Option<ErrorCode>) -> Option<ErrorCode> {
        let leads_there = |route: &&Route| route.pin.as_ref().is_some_and(|pin| pin.relay == *relay);
        let asked = self.0.iter().filter(leads_there).any(|route| route.address.web().is_some());
        self.problem_of(relay).or(reason.filter(|code| !asked || *code != ErrorCode::RelayIdentityChanged))
    }

    /// When [`Self::take_due`] has something.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.0.iter().filter_map(|route| route.ask_at).min()
    }

    /// The next address to ask, with the place to report the answer under.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(usize, RelayAddr, Option<Pin>)> {
        let (place, route) =
            self.0.iter_mut().enumerate().find(|(_, route)| route.ask_at.is_some_and(|at| at <= now))?;
        route.ask_at = None;
        route.asking = true;
        Some((place, route.address.clone(), route.pin.clone()))
    }

    /// An address has answered.
    pub(crate) fn answered(&mut self, place: usize, answer: Result<Pin, ResolveError>, now: Instant) -> Answered {
        let route = &mut self.0[place];
        route.asking = false;
        let missed = std::mem::take(&mut route.missed);
        match answer {
            Ok(pin) => {
                route.failures = 0;
                route.problem = None;
                if route.pin.as_ref() == Some(&pin) {
                    route.misses += u64::from(missed);
                    return Answered::AsBefore;
                }
                route.pin = Some(pin);
                Answered::Pinned
            }
            Err(error) => {
                let code = error.code();
                route.misses += u64::from(missed || route.pin.is_none());
                if route.pin.is_none() {
                    let wait = RETRY_MIN.saturating_mul(1 << route.failures.min(10)).min(RETRY_MAX);
                    route.ask_at = Some(now + wait);
                    route.failures += 1;
                }
                // With the relay known, a silent web side alone is no problem.
                let counts = route.pin.is_none() || code != ErrorCode::Offline;
                if counts && route.problem.replace(code) != Some(code) {
                    return Answered::Problem(code);
                }
                Answered::AsBefore
            }
        }
    }

    /// The relay was not to be reached where it should be: its web side may know better.
    pub(crate) fn unreachable(&mut self, relay: &RelayId, now: Instant) {
        for route in &mut self.0 {
            if route.pin.as_ref().is_none_or(|pin| pin.relay != *relay) {
                continue;
            }
            if route.address.web().is_none() {
                route.misses += 1;
                continue;
            }
            route.missed = true;
            if !route.asking {
                route.ask_at = Some(now);
            }
        }
    }

    /// How often each configured relay was looked for in vain.
    pub(crate) fn misses(&self) -> Vec<u64> {
        self.0.iter().map(|route| route.misses).collect()
    }

    /// Asks at once what would be asked later.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for route in &mut self.0 {
            if route.ask_at.is_some() {
                route.ask_at = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(relay: u8, host: &str) -> Pin {
        Pin { relay: RelayId::from_bytes([relay; 32]), hosts: vec![host.to_owned()] }
    }

    fn web(pin: Option<Pin>, now: Instant) -> Routes {
        Routes::new(vec![AddressRow { address: "http://relay.example.org".to_owned(), pin }], now)
    }

    #[test]
    fn an_unknown_relay_is_asked_for_until_it_answers_and_then_no_more() {
        let now = Instant::now();
        let mut routes = web(None, now);
        for failures in 0..20 {
            let (place, _, known) = routes.take_due(now + RETRY_MAX * failures).expect("due");
            assert!(known.is_none() && routes.ask_at().is_none());
            let told = routes.answered(place, Err(ResolveError::Unreachable(None)), now + RETRY_MAX * failures);
            let first = Answered::Problem(ErrorCode::Offline);
            assert_eq!(told, if failures == 0 { first } else { Answered::AsBefore });
            assert!(routes.ask_at().expect("again") <= now + RETRY_MAX * (failures + 1));
        }
        assert_eq!(routes.unknown().collect::<Vec<_>>(), [Some(ErrorCode::Offline)]);
        routes.hurry(now);
        let (place, ..) = routes.take_due(now).expect("due");
        assert_eq!(routes.answered(place, Ok(pin(1, "h:1")), now), Answered::Pinned);
        assert_eq!((routes.relays(), routes.ask_at()), (vec![RelayId::from_bytes([1; 32])], None));
        assert_eq!(routes.unknown().count(), 0);
    }

    #[test]
    fn a_known_relay_is_usable_while_its_web_side_is_down_and_may_move() {
        let now = Instant::now();
        let mut routes = web(Some(pin(1, "h:1")), now);
        let (place, ..) = routes.take_due(now).expect("asked at every start");
        assert_eq!(routes.answered(place, Err(ResolveError::Unreachable(None)), now), Answered::AsBefore);
        assert_eq!((routes.relays().len(), routes.ask_at()), (1, None));

        routes.unreachable(&RelayId::from_bytes([1; 32]), now);
        let (place, _, known) = routes.take_due(now).expect("asked again");
        assert_eq!(known, Some(pin(1, "h:1")));
        routes.unreachable(&RelayId::from_bytes([1; 32]), now);
        assert_eq!(routes.ask_at(), None, "one question at a time");
        assert_eq!(routes.answered(place, Ok(pin(1, "h:2")), now), Answered::Pinned);
        assert_eq!(routes.pin_of(&RelayId::from_bytes([1; 32])), Some(&pin(1, "h:2")));
    }

    #[test]
    fn other_relays_take_the_place_of_those_that_were_and_what_stays_is_known_still() {
        let now = Instant::now();
        let mut routes = web(None, now);
        let (place, ..) = routes.take_due(now).expect("due");
        routes.answered(place, Ok(pin(1, "h:1")), now);
        routes.unreachable(&RelayId::from_bytes([1; 32]), now);
        routes.take_due(now).expect("asked again");

        let row = |address: &str| AddressRow { address: address.to_owned(), pin: None };
        routes.replace(vec![row("http://other.example.org"), row("http://relay.example.org")], now);
        assert_eq!(routes.relays(), [RelayId::from_bytes([1; 32])], "a pin is kept");
        let mut due = Vec::new();
        while let Some((place, address, _)) = routes.take_due(now) {
            due.push((place, address.to_string()));
        }
        let expected = [(0, "http://other.example.org".to_owned()), (1, "http://relay.example.org".to_owned())];
        assert_eq!(due, expected, "a new address is asked, and one whose answer was awaited");
        routes.replace(Vec::new(), now);
        assert_eq!((routes.relays(), routes.ask_at()), (Vec::new(), None));
    }

    #[test]
    fn another_relay_at_the_address_is_a_problem_told_once() {
        let now = Instant::now();
        let mut routes = web(Some(pin(1, "h:1")), now);
        for told in [Answered::Problem(ErrorCode::RelayIdentityChanged), Answered::AsBefore] {
            routes.unreachable(&RelayId::from_bytes([1; 32]), now);
            let (place, ..) = routes.take_due(now).expect("due");
            assert_eq!(routes.answered(place, Err(ResolveError::IdentityChanged), now), told);
            assert_eq!(routes.relays(), [RelayId::from_bytes([1; 32])]);
        }
        assert_eq!(routes.problem_of(&RelayId::from_bytes([1; 32])), Some(ErrorCode::RelayIdentityChanged));
    }
}
