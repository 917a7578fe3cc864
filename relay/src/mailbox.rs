//! Mailboxes: where two devices that share nothing but a code leave each other a few messages.
//!
//! In memory only: an invite that a restart ends is made again with a tap, and nothing of it should ever be on a
//! disk. The relay sees sealed messages and who may read them; it logs neither names nor tokens. What the two sides may
//! do with one of them is said by [`sync_types::mailbox::Mailbox`]; here are all of them together.
//!
//! Guessing is what limits are for here. A lookup that finds nothing is counted against its network address. Whoever holds a token is known not to be guessing, and takes part under a
//! limit of its own: guesses that others make from the same address are not held against it.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sync_types::{
    ErrorCode,
    invite::MailboxName,
    limits::{INVITE_TTL, MAILBOX_WAIT_MAX, MAILBOXES_MAX},
    mailbox::{Mailbox, Side, Token},
};
use tokio::sync::watch;

use crate::{
    config::Limits,
    error::Refusal,
    quota::{Address, Limiter},
};

/// Bytes of messages in all mailboxes together.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Requests that may wait on one mailbox at once.
const WAITING_MAX: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);

/// All mailboxes, and who asked how often. See the [module](self).
#[derive(Debug)]
pub(crate) struct Mailboxes {
    open: Mutex<Open>,
    creations: Limiter<Address>,
    claims: Limiter<Address>,
    misses: Limiter<Address>,
    /// Requests of token holders.
    holders: Limiter<Address>,
}

#[derive(Debug, Default)]
struct Open {
    mailboxes: HashMap<MailboxName, Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    mailbox: Mailbox,
    expires: Instant,
    /// How many messages there are, for those who wait. Dropped with the mailbox.
    arrived: watch::Sender<usize>,
}

/// Message 0, and how long the mailbox stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) message: Bytes,
    pub(crate) expires_in_s: u32,
}

impl Mailboxes {
    pub(crate) fn new(limits: &Limits) -> Self {
        let a_minute = |rate| Limiter::new(rate, rate, MINUTE);
        Self {
            open: Mutex::default(),
            creations: a_minute(limits.invites_per_minute),
            claims: a_minute(limits.claims_per_minute),
            misses: a_minute(limits.misses_per_minute),
            holders: a_minute(limits.invite_messages_per_minute),
        }
    }

    /// Opens a mailbox with its first message; says how many seconds it stays. Repeating it is harmless.
    pub(crate) fn create(
        &self,
        from: Address,
        name: MailboxName,
        token: &Token,
        message: Bytes,
        now: Instant,
    ) -> Result<u32, Refusal> {
        limited(self.creations.take(from, now))?;
        let mut open = self.lock();
        open.purge(now);
        if let Some(kept) = open.mailboxes.get(&name) {
            let repeated = kept.mailbox.was_opened_with(token, &message);
            return if repeated { Ok(kept.left(now)) } else { Err(ErrorCode::InviteNameTaken.into()) };
        }
        let mailbox = Mailbox::open(*token, message)?;
        if open.mailboxes.len() >= MAILBOXES_MAX || open.bytes + mailbox.bytes() > BYTES_MAX {
            return Err(ErrorCode::TooManyInvites.into());
        }
        open.bytes += mailbox.bytes();
        let kept = Kept { mailbox, expires: now + INVITE_TTL, arrived: watch::Sender::new(1) };
        let left = kept.left(now);
        open.mailboxes.insert(name, kept);
        Ok(left)
    }

    /// Takes the joiner's side. The same token is answered the same again.
    pub(crate) fn claim(
        &self,
        from: Address,
        name: MailboxName,
        token: &Token,
        now: Instant,
    ) -> Result<Taken, Refusal> {
        limited(self.claims.take(from, now))?;
        let mut open = self.lock();
        open.purge(now);
        if !open.mailboxes.get(&name).is_some_and(|kept| kept.mailbox.side(token) == Some(Side::Joiner)) {
            limited(self.misses.peek(&from, now))?;
        }
        let Some(kept) = open.mailboxes.get_mut(&name) else {
            limited(self.misses.take(from, now))?;
            return Err(ErrorCode::InviteNotFound.into());
        };
        Ok(Taken { message: kept.mailbox.claim(token)?, expires_in_s: kept.left(now) })
    }

    /// Leaves message number `index`. Repeating it is harmless.
    pub(crate) fn post(
        &self,
        from: Address,
        name: MailboxName,
        token: &Token,
        index: u8,
        message: Bytes,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut open = self.lock();
        let room = BYTES_MAX - open.bytes;
        let (kept, side) = self.enter(&mut open, from, name, token, now)?;
        let taken = kept.mailbox.post(side, index, message, room)?;
        kept.arrived.send_replace(kept.mailbox.count());
        open.bytes += taken;
        Ok(())
    }

    /// The messages from a number on; waits for one if there is none. Empty if none came in time.
    pub(crate) async fn wait(
        &self,
        from: Address,
        name: MailboxName,
        token: &Token,
        first: u8,
        wait: Duration,
    ) -> Result<Vec<Bytes>, Refusal> {
        let mut arrived = {
            let mut open = self.lock();
            let (kept, _) = self.enter(&mut open, from, name, token, Instant::now())?;
            if kept.mailbox.count() > usize::from(first) || wait.is_zero() {
                return Ok(kept.mailbox.messages_from(first));
            }
            if kept.arrived.receiver_count() >= WAITING_MAX {
                return Err(Refusal::later(ErrorCode::RateLimited, Duration::from_secs(1)));
            }
            kept.arrived.subscribe()
        };
        let waiting = arrived.wait_for(|count| *count > usize::from(first));
        let waited = tokio::time::timeout(wait.min(MAILBOX_WAIT_MAX), waiting).await.map(|arrived| arrived.is_ok());
        match waited {
            Ok(true) => {
                let open = self.lock();
                let kept = open.mailboxes.get(&name).filter(|kept| kept.mailbox.side(token).is_some());
                Ok(kept.ok_or(ErrorCode::InviteNotFound)?.mailbox.messages_from(first))
            }
            Ok(false) => Err(ErrorCode::InviteNotFound.into()),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Removes the mailbox: the code is used up.
    pub(crate) fn burn(&self, from: Address, name: MailboxName, token: &Token, now: Instant) -> Result<(), Refusal> {
        let mut open = self.lock();
        self.enter(&mut open, from, name, token, now)?;
        open.remove(&name);
        Ok(())
    }

    /// Forgets mailboxes whose time is over.
    pub(crate) fn purge(&self, now: Instant) {
        self.lock().purge(now);
    }

    /// Ends all of them, and with them whoever waits on one.
    pub(crate) fn close(&self) {
        *self.lock() = Open::default();
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().mailboxes.len()
    }

    /// Finds a mailbox for someone who should hold one of its tokens. Without one it can't be told from a
    /// mailbox that isn't there, and counts as a miss.
    fn enter<'a>(
        &self,
        open: &'a mut Open,
        from: Address,
        name: MailboxName,
        token: &Token,
        now: Instant,
    ) -> Result<(&'a mut Kept, Side), Refusal> {
        open.purge(now);
        match open.mailboxes.get_mut(&name).and_then(|kept| kept.mailbox.side(token).map(|side| (kept, side))) {
            Some(entered) => {
                limited(self.holders.take(from, now))?;
                Ok(entered)
            }
            None => {
                limited(self.misses.take(from, now))?;
                Err(ErrorCode::InviteNotFound.into())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn remove(&mut self, name: &MailboxName) {
        if let Some(kept) = self.mailboxes.remove(name) {
            self.bytes -= kept.mailbox.bytes();
        }
    }

    fn purge(&mut self, now: Instant) {
        let over: Vec<_> =
            self.mailboxes.iter().filter(|(_, kept)| kept.expires <= now).map(|(name, _)| *name).collect();
        for name in over {
            self.remove(&name);
        }
    }
}

impl Kept {
    fn left(&self, now: Instant) -> u32 {
        u32::try_from(self.expires.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX)
    }
}

fn limited(taken: Result<(), Duration>) -> Result<(), Refusal> {
    taken.map_err(|wait| Refusal::later(ErrorCode::RateLimited, wait))
}
