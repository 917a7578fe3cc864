//! Which window listens to what, so that what it began ends with it.
//!
//! A page that is closed or loaded anew takes its functions with it and says nothing. What it subscribed to ends then, and
//! a pairing that it began is declined: nobody is left who could compare digits.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sync_bridge::{Subscription, SyncHandle};

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Listeners(Mutex<Listening>);

#[derive(Default)]
struct Listening {
    next_id: u32,
    subscriptions: BTreeMap<u32, (String, Subscription)>,
    /// The last pairing of each profile, and the window that began it.
    pairings: BTreeMap<String, (String, SyncHandle)>,
}

impl Listeners {
    /// Keeps a window's subscription until [`Self::unsubscribe`] or [`Self::gone`].
    pub(crate) fn subscribe(&self, window: &str, subscription: Subscription) -> u32 {
        let mut listening = self.listening();
        let id = listening.next_id;
        listening.next_id = id.wrapping_add(1);
        listening.subscriptions.insert(id, (window.to_owned(), subscription));
        id
    }

    /// Ends a window's own subscription. Others are none of its business.
    pub(crate) fn unsubscribe(&self, window: &str, id: u32) {
        let mut listening = self.listening();
        if listening.subscriptions.get(&id).is_some_and(|(owner, _)| owner == window) {
            listening.subscriptions.remove(&id);
        }
    }

    /// A window began a pairing of this profile.
    pub(crate) fn pairs(&self, window: &str, profile: Option<&str>, handle: &SyncHandle) {
        let profile = profile.unwrap_or_default().to_owned();
        self.listening().pairings.insert(profile, (window.to_owned(), handle.clone()));
    }

    /// A window is closed, or its page loaded anew.
    pub(crate) fn gone(&self, window: &str) {
        let mut listening = self.listening();
        listening.subscriptions.retain(|_, (owner, _)| owner != window);
        listening.pairings.retain(|_, (owner, handle)| {
            if owner == window {
                handle.deny();
            }
            owner != window
        });
    }

    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{self, RecvTimeoutError},
        time::Duration,
    };

    use sync_bridge::{PairingEvent, SecretsChoice, Settings};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_window_that_is_gone_takes_its_pairing_and_its_subscriptions_along() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let settings = Settings { secrets: Some(SecretsChoice::File), ..Settings::new(dir.path(), "phone", "app") };
        let (sync, listeners) = (SyncHandle::new(settings), Listeners::default());
        let listen = |window| {
            let (told, hears) = mpsc::channel();
            let subscription = sync.subscribe(move |event| told.send(event).is_ok());
            (listeners.subscribe(window, subscription), hears)
        };
        let ((_, second), (id, main), (own, ended)) = (listen("second"), listen("main"), listen("main"));
        let (told, hears) = mpsc::channel();
        listeners.pairs("second", None, &sync);
        let opened = sync.create_invite(move |event| drop(told.send(event))).on_channel();
        opened.recv_timeout(PATIENCE).expect("is answered").expect("is open, by link");

        listeners.unsubscribe("main", own);
        listeners.unsubscribe("second", id);
        listeners.gone("second");
        let is_last = |event: &PairingEvent| matches!(event, PairingEvent::Failed { .. });
        while !is_last(&hears.recv_timeout(PATIENCE).expect("the pairing is over")) {}
        // What ended has dropped its function; what goes on tells of the group that the invite made.
        for over in [second, ended] {
            while over.recv_timeout(PATIENCE).map_err(|error| assert_eq!(error, RecvTimeoutError::Disconnected)).is_ok()
            {
            }
        }
        main.recv_timeout(PATIENCE).expect("another window's goes on, and only its own window ends it");
    }
}
