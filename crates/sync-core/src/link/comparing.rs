//! A relay that is compared with what is held here, because a person asked for it or because it may have been wiped of what this
//! device could not read then, and what it is given by that.
//!
//! It goes as with a relay that lost rows: the log is read from its start, and what was not seen there is offered. But this
//! log has lost nothing, so what is not in it may have left it for good reasons, and nobody brings that back. That it goes on
//! is stored, how far it has come is not: after a restart it begins anew.

use super::Link;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    is_over: bool,
    /// Offered by it.
    filled: u64,
    /// What is held was gone through up to this position.
    place: u64,
    /// The front of the log is gone.
    is_cut: bool,
}

impl Link {
    /// Begins, or begins anew. Of a log that was never met there is nothing to compare: all of it is read, and filled, anyhow.
    pub(crate) fn compare(&mut self) {
        self.comparison = self.state.as_mut().map(|state| {
            state.compares = true;
            Comparison::default()
        });
        self.begin_filling();
    }

    /// It gets everything that it is not seen to hold, whatever it had confirmed.
    pub(crate) fn fill_again(&mut self) {
        if let Some(state) = &mut self.state {
            state.refill = Some(0);
        }
        self.begin_filling();
    }

    fn begin_filling(&mut self) {
        self.reread();
        self.coverage.clear();
        self.restart_refill();
    }

    /// How many envelopes it was offered since [`Self::compare`]; none while that is going on, or if it was never begun.
    pub(crate) fn compared(&self) -> Option<u64> {
        self.comparison.as_ref().filter(|comparison| comparison.is_over).map(|comparison| comparison.filled)
    }

    /// What is offered now is what was missing in a log that lost nothing.
    pub(crate) fn only_compares(&self) -> bool {
        self.going_on().is_some() && self.state.as_ref().is_none_or(|state| state.refill.is_none())
    }

    /// Whether the front of the log that is compared is gone.
    pub(crate) fn is_cut(&self) -> bool {
        self.going_on().is_some_and(|comparison| comparison.is_cut)
    }

    /// Whether it is given what it lacks, for one reason or the other.
    pub(crate) fn fills(&self) -> bool {
        self.fills_from().is_some()
    }

    /// Up to where what is held was gone through for that.
    pub(crate) fn fills_from(&self) -> Option<u64> {
        let refill = self.state.as_ref().and_then(|state| state.refill);
        refill.or(self.going_on().map(|comparison| comparison.place))
    }

    /// What is held was gone through up to there.
    pub(crate) fn filled_through(&mut self, place: u64) {
        if let Some(refill) = self.state.as_mut().and_then(|state| state.refill.as_mut()) {
            *refill = place;
        }
        if let Some(comparison) = &mut self.comparison {
            comparison.place = place;
        }
    }

    /// It has everything that it is to have.
    pub(crate) fn filled(&mut self) {
        if let Some(state) = &mut self.state {
            state.refill = None;
            state.compares = false;
        }
        if let Some(comparison) = &mut self.comparison {
            comparison.is_over = true;
        }
        self.coverage.clear();
    }

    /// It was offered something.
    pub(crate) fn count_filled(&mut self) {
        if let Some(comparison) = self.comparison.as_mut().filter(|comparison| !comparison.is_over) {
            comparison.filled += 1;
        }
    }

    pub(super) fn note_cut(&mut self) {
        if let Some(comparison) = self.comparison.as_mut().filter(|comparison| !comparison.is_over) {
            comparison.is_cut = true;
        }
    }

    fn going_on(&self) -> Option<&Comparison> {
        self.comparison.as_ref().filter(|comparison| !comparison.is_over)
    }
}
