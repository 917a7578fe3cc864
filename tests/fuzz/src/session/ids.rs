//! What becomes of a group's ids: what a relay should know of them by what was asked and answered.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_types::{ErrorCode, RelayGroupId, RequestId, limits::MOVED_PACKAGES_MAX, message::Left};

/// Ids that a group may have.
pub(super) const IDS: usize = 4;

/// What others had left, or why it was not done.
type Answer = Result<Vec<Left>, ErrorCode>;

/// A MOVE that was asked for.
pub(super) struct Asked {
    pub(super) to: usize,
    pub(super) over: Vec<(usize, Bytes)>,
    /// It has no flaw.
    pub(super) good: bool,
    /// How it was answered: what others had left, or a refusal.
    answer: Option<Answer>,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Ids {
    over: BTreeMap<usize, Vec<Bytes>>,
    /// Where those that are over went: each move of one, the newest last.
    went: Vec<(usize, usize)>,
    /// Those under which there may be a log, or something left.
    pub(super) met: BTreeSet<usize>,
    /// A MOVE was altered or not answered: nobody can tell what was done.
    pub(super) doubtful: bool,
    /// In the order in which they are done. Answers come in another: long ones wait for short ones.
    asked: Vec<(RequestId, Asked)>,
}

impl Ids {
    pub(super) fn ask(&mut self, id: RequestId, to: usize, over: Vec<(usize, Bytes)>, good: bool) {
        self.met.extend(over.iter().map(|(id, _)| *id).chain([to]));
        self.asked.push((id, Asked { to, over, good, answer: None }));
    }

    /// Whether it was asked, and how well.
    pub(super) fn asked(&mut self, id: RequestId) -> Option<&mut Asked> {
        self.asked.iter_mut().find(|(of, _)| *of == id).map(|(_, asked)| asked)
    }

    /// A MOVE was done, or refused. What is known by now of all before it holds for the next.
    pub(super) fn answered(&mut self, id: RequestId, answer: Answer, name: &dyn Fn(usize) -> RelayGroupId) {
        let Some(asked) = self.asked(id) else { return };
        asked.answer = Some(answer);
        while self.asked.first().is_some_and(|(_, asked)| asked.answer.is_some()) {
            let (_, asked) = self.asked.remove(0);
            self.settle(asked, name);
        }
    }

    /// The session is over: what was not answered may have been done or not.
    pub(super) fn close(&mut self, name: &dyn Fn(usize) -> RelayGroupId) {
        for (_, asked) in std::mem::take(&mut self.asked) {
            self.doubtful |= asked.answer.is_none() && asked.good;
            self.settle(asked, name);
        }
    }

    fn settle(&mut self, asked: Asked, name: &dyn Fn(usize) -> RelayGroupId) {
        // Onto an id that is over nothing is moved, wherever that went.
        let to = asked.to;
        let in_a_circle = self.is_over(to) || asked.over.iter().any(|(id, _)| *id == to);
        let others = match asked.answer {
            Some(Ok(others)) => others,
            Some(Err(code)) => {
                assert!(self.doubtful || code != ErrorCode::GroupMoved || in_a_circle, "there was a way to go");
                return;
            }
            None => return,
        };
        assert!(self.doubtful || !in_a_circle, "moved in a circle");
        for (id, package) in &asked.over {
            let packages = self.over.entry(*id).or_default();
            if !packages.contains(package) {
                for (_, target) in self.went.iter_mut().filter(|(_, target)| target == id) {
                    *target = to;
                }
                self.went.push((*id, to));
                packages.push(package.clone());
                let more = packages.len().saturating_sub(MOVED_PACKAGES_MAX);
                packages.drain(..more);
            }
        }
        let known = asked.over.iter().flat_map(|(id, own)| {
            let others = self.over[id].iter().rev().filter(move |package| *package != own);
            others.map(|package| Left { group: name(*id), package: package.clone() })
        });
        let known: Vec<_> = known.take(MOVED_PACKAGES_MAX).collect();
        assert!(self.doubtful || known == others, "others left {known:?}, and {others:?} was told");
    }

    pub(super) fn is_over(&self, id: usize) -> bool {
        self.over.contains_key(&id)
    }

    /// Whether a log may be under this id, as far as anybody can tell.
    pub(super) fn may_live(&self, id: usize) -> bool {
        self.doubtful || !self.is_over(id)
    }

    /// This was told to who came by an id.
    pub(super) fn told(&self, id: usize, packages: &[Bytes]) {
        assert!(
            self.doubtful || self.over.get(&id).is_some_and(|left| left == packages),
            "{packages:?} was left at {id}"
        );
    }
}
