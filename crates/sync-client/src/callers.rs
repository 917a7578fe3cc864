//! Who waits for a push, and what they will be told.
//!
//! Invariant: every caller gets exactly one answer, and is told that a blob is queued only once it is on the disk.

use std::collections::{BTreeMap, HashMap};

use sync_core::event::{PushState, Pushed, Token};
use sync_types::{ErrorCode, PushId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Callers who have gone away are looked for when there are this many.
const SWEEP_MIN: usize = 1_024;

/// The way back to a caller.
pub(crate) type Answer = oneshot::Sender<Result<Pushed, ErrorCode>>;

struct Caller {
    answer: Answer,
    /// What the engine made of the push, once it did.
    pushed: Option<Pushed>,
    /// On the disk.
    durable: bool,
}

/// See the [module](self).
pub(crate) struct Callers {
    waiting: BTreeMap<Token, Caller>,
    by_push: HashMap<PushId, Token>,
    /// Payload bytes on their way to the disk, held against the bound that all pushes share.
    room: Vec<OwnedSemaphorePermit>,
    sweep_at: usize,
}

impl Default for Callers {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), by_push: HashMap::new(), room: Vec::new(), sweep_at: SWEEP_MIN }
    }
}

impl Callers {
    pub(crate) fn add(&mut self, token: Token, answer: Answer, room: OwnedSemaphorePermit) {
        if self.waiting.len() >= self.sweep_at {
            self.waiting.retain(|_, caller| !caller.answer.is_closed());
            self.by_push.retain(|_, token| self.waiting.contains_key(token));
            self.sweep_at = SWEEP_MIN.max(2 * self.waiting.len());
        }
        self.waiting.insert(token, Caller { answer, pushed: None, durable: false });
        self.room.push(room);
    }

    /// The engine sealed this caller's blob.
    pub(crate) fn sealed(&mut self, token: Token, pushed: Pushed) {
        if let Some(caller) = self.waiting.get_mut(&token) {
            caller.pushed = Some(pushed);
            self.by_push.insert(pushed.push_id, token);
        }
    }

    /// What the engine sealed so far is on the disk.
    pub(crate) fn committed(&mut self, tokens: impl IntoIterator<Item = Token>) {
        self.room.clear();
        for token in tokens {
            if let Some(caller) = self.waiting.get_mut(&token) {
                caller.durable = true;
            }
        }
    }

    /// A relay has this blob.
    pub(crate) fn on_a_relay(&mut self, push: &PushId) {
        let caller = self.by_push.get(push).and_then(|token| self.waiting.get_mut(token));
        if let Some(pushed) = caller.and_then(|caller| caller.pushed.as_mut()) {
            pushed.state = pushed.state.max(PushState::Relay);
        }
    }

    /// The engine's answer.
    pub(crate) fn answer(&mut self, token: Token, result: Result<Pushed, ErrorCode>) {
        if let Some(caller) = self.take(token) {
            // A caller who is gone wants no answer.
            let _ = caller.answer.send(result);
        }
    }

    /// The caller waits no longer: what is known is the answer.
    pub(crate) fn give_up(&mut self, token: Token) {
        if let Some(caller) = self.take(token) {
            let _ = caller.answer.send(caller.pushed.filter(|_| caller.durable).ok_or(ErrorCode::Internal));
        }
    }

    /// The engine is gone. What is on the disk is queued; everything else failed for the reason given.
    pub(crate) fn answer_all(&mut self, code: ErrorCode) {
        self.room.clear();
        self.by_push.clear();
        for (_, caller) in std::mem::take(&mut self.waiting) {
            let _ = caller.answer.send(caller.pushed.filter(|_| caller.durable).ok_or(code));
        }
    }

    fn take(&mut self, token: Token) -> Option<Caller> {
        let caller = self.waiting.remove(&token)?;
        if let Some(pushed) = &caller.pushed {
            self.by_push.remove(&pushed.push_id);
        }
        Some(caller)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sync_types::LocalCursor;
    use tokio::sync::Semaphore;

    use super::*;

    fn pushed(number: u8) -> Pushed {
        let push_id = PushId::from_bytes([number; 16]);
        Pushed { push_id, cursor: LocalCursor::new(u64::from(number)), state: PushState::Queued }
    }

    async fn add(callers: &mut Callers, token: Token) -> oneshot::Receiver<Result<Pushed, ErrorCode>> {
        let (answer, answered) = oneshot::channel();
        let room = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("open");
        callers.add(token, answer, room);
        answered
    }

    #[tokio::test]
    async fn a_failing_disk_fails_only_what_is_not_on_it() {
        let mut callers = Callers::default();
        let on_disk = add(&mut callers, 1).await;
        callers.sealed(1, pushed(1));
        callers.committed([1]);
        let not_yet = add(&mut callers, 2).await;
        callers.sealed(2, pushed(2));
        callers.answer_all(ErrorCode::LocalFull);
        assert_eq!(on_disk.await, Ok(Ok(pushed(1))));
        assert_eq!(not_yet.await, Ok(Err(ErrorCode::LocalFull)));
    }

    #[tokio::test]
    async fn who_gives_up_is_told_how_far_it_got() {
        let mut callers = Callers::default();
        let one = add(&mut callers, 1).await;
        callers.sealed(1, pushed(1));
        callers.committed([1]);
        callers.on_a_relay(&pushed(1).push_id);
        callers.give_up(1);
        callers.answer(1, Err(ErrorCode::Internal));
        assert_eq!(one.await, Ok(Ok(Pushed { state: PushState::Relay, ..pushed(1) })));
    }

    #[tokio::test]
    async fn callers_who_left_do_not_pile_up() {
        let mut callers = Callers::default();
        for token in 0..10_000 {
            drop(add(&mut callers, token).await);
        }
        assert!(callers.waiting.len() <= SWEEP_MIN + 1, "{}", callers.waiting.len());
    }
}
