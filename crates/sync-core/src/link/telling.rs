//! What a relay is told of how far this device has come, and what others have read of its log.

use sync_types::{DeviceId, DeviceMsg, RelayCursor, RequestId, Seq, message::features};

use super::Link;
use crate::{event::Now, heads::Head};

impl Link {
    /// The relay does these things beyond the first build's.
    pub(crate) fn can(&mut self, features: u64) {
        self.features = features;
    }

    /// Whether the relay takes receipts, and this device's log of it is read: a device that was restored from a backup
    /// has found that out by then.
    pub(crate) fn takes_receipts(&self) -> bool {
        self.is_live() && self.read_through && self.features & features::RECEIPTS != 0
    }

    /// When the relay is to be asked again to take one.
    pub(crate) fn receipt_again_ms(&self) -> Option<u64> {
        self.receipt_again_ms.filter(|_| self.takes_receipts())
    }

    /// Notes that the relay is told this receipt, if it was not. Under which request id.
    pub(crate) fn tell_receipt(&mut self, now: Now, count: Seq) -> Option<RequestId> {
        let again = self.receipt_again_ms.is_some_and(|at| now.mono_ms >= at);
        let is_news = self.receipt_again_ms.is_none() && self.receipt.0 < count;
        if !self.takes_receipts() || !(again || is_news) {
            return None;
        }
        let id = self.next_id();
        self.receipt = (count, id);
        self.receipt_again_ms = None;
        Some(id)
    }

    /// The relay has answered that. Whether this was the request; if it is to be asked again, then when.
    pub(crate) fn receipt_answered(&mut self, id: RequestId, again_ms: Option<u64>) -> bool {
        let is_it = self.receipt.1 == id && id != 0;
        if is_it {
            self.receipt_again_ms = again_ms;
        }
        is_it
    }

    // ── What others have read of its log ──

    /// How far this device has read it.
    pub(crate) fn head(&self) -> Option<Head> {
        let state = self.state.as_ref().filter(|state| state.pulled > RelayCursor::START)?;
        Some(Head { log_id: state.log_id, cursor: state.pulled, run: state.run })
    }

    /// Whether everybody's heads are to be heard anew.
    pub(crate) fn take_heads_due(&mut self) -> bool {
        std::mem::take(&mut self.heads_due)
    }

    /// How far a device has read its logs. Whether that contradicts what this device was shown here.
    pub(crate) fn hear_heads(&mut self, device: DeviceId, heads: &[Head]) -> bool {
        let Some(state) = &mut self.state else { return false };
        let of_this = heads.iter().find(|head| head.log_id == state.log_id);
        of_this.is_some_and(|head| self.compared.hear(device, head, state))
    }

    /// Somebody has read more than this device has been shown, and that may be on its way.
    pub(crate) fn is_behind(&self) -> bool {
        self.compared.due_ms(self.state.as_ref()).is_some()
    }

    /// Looks whether others who count have read more than the relay has shown for a while. It is asked for its log once
    /// more before it is named: what was on its way to this device, or came while its process slept, comes before the
    /// answer.
    pub(crate) fn look_ahead(&mut self, now: Now, is_member: impl Fn(&DeviceId) -> bool) -> Ahead {
        self.compared.forget(|device| !is_member(device));
        if let Some(state) = &mut self.state {
            state.contradictions.retain(|known| is_member(&known.device));
        }
        if self.is_live() && self.page_seen {
            self.compared.wait(now.mono_ms, self.pulled(), self.is_caught_up());
        } else {
            self.compared.pause(now.mono_ms);
        }
        let is_due = self.compared.due_ms(self.state.as_ref()).is_some_and(|due| now.mono_ms >= due);
        if !is_due {
            return Ahead::Fine;
        }
        if self.asked_for_more.take().is_none_or(|id| !self.is_pull(id)) {
            return self.pull(now).map_or(Ahead::Fine, |pull| {
                self.asked_for_more = self.pull_id;
                Ahead::Ask(pull)
            });
        }
        let news = self.state.as_mut().is_some_and(|state| self.compared.withheld(now.mono_ms, state));
        if news { Ahead::Contradicted } else { Ahead::Fine }
    }
}

/// What is to be done about it that others have read more than a relay has shown.
pub(crate) enum Ahead {
    /// Nothing.
    Fine,
    /// It is to be asked.
    Ask(DeviceMsg),
    /// It does not show what they have read.
    Contradicted,
}
