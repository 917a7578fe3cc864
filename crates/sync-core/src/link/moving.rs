//! A relay is told of new keys: what it was told, and what is on its way.

use sync_types::RequestId;

use super::Link;
use crate::{
    event::{Now, Paved},
    timing::LEFT_AGAIN_MS,
};

impl Link {
    /// What it was told of the commits.
    pub(crate) fn paved(&self) -> Option<Paved> {
        self.state.as_ref().and_then(|state| state.paved)
    }

    /// MOVEs that tell all it has to know are on their way.
    pub(crate) fn is_moving(&self) -> bool {
        self.moving_to.is_some()
    }

    /// Somebody has left what is of no use where this device has left something: that may have had to make room.
    pub(crate) fn move_again(&mut self, now: Now) {
        self.move_again_ms.get_or_insert(now.mono_ms + LEFT_AGAIN_MS);
    }

    /// Forgets what the relay was told, if it is to be told again by now.
    pub(crate) fn forget_moves(&mut self, now: Now) {
        if self.move_again_ms.is_some_and(|at_ms| now.mono_ms >= at_ms) {
            self.move_again_ms = None;
            if let Some(state) = &mut self.state {
                state.paved = None;
            }
        }
    }

    /// MOVEs of these ids are on their way.
    pub(crate) fn moves(&mut self, now: Now, ids: impl IntoIterator<Item = RequestId>, to: Paved) {
        self.moving.extend(ids);
        self.moving_to = Some(to);
        self.moving_whole = self.paved().is_none();
        self.owed_since_ms.get_or_insert(now.mono_ms);
    }

    /// One was answered, be it with a refusal: a relay that refuses is filled again under the new keys, as if it had
    /// been wiped. Whether it was one.
    pub(crate) fn moved(&mut self, id: RequestId) -> bool {
        self.moving.remove(&id)
    }

    /// All that was to be moved is, and the log is known: notes that. Whether that is news.
    pub(crate) fn pave(&mut self) -> bool {
        let done = self.is_live() && self.moving.is_empty() && self.moving_to.is_some();
        let Some(state) = self.state.as_mut().filter(|_| done) else { return false };
        let to = self.moving_to.take();
        std::mem::replace(&mut state.paved, to) != to
    }
}
