//! Does with the engines what the app's life means for them.
//!
//! Runs on whatever thread tells of an event, the main thread mostly, and returns at once; but for the end, where the app
//! is held up until a channel says that the engines are done, or the time is over. Nothing is waited for that runs on this
//! thread or needs it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Receiver},
    time::{Duration, Instant},
};

use sync_bridge::{Answer, BridgeError, SyncHandle};

use crate::{
    engines::Engines,
    lifecycle::{Action, Event, State},
};

/// What is to be done about an event that takes the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Take the windows off the screen.
    HideWindows,
    /// Put them back.
    ShowWindows,
    /// Say that the app is still there, after that time.
    AskAgain(Duration),
}

/// See the [module](self).
pub(crate) struct Keeper {
    engines: Arc<Engines>,
    state: Mutex<State>,
    /// What somebody will wait for.
    under_way: Mutex<Vec<Done>>,
}

type Done = Receiver<Result<(), BridgeError>>;

impl Keeper {
    pub(crate) fn new(engines: Arc<Engines>) -> Self {
        Self { engines, state: Mutex::default(), under_way: Mutex::default() }
    }

    /// Does what an event means for the engines, and returns the rest.
    pub(crate) fn on(&self, event: Event) -> Vec<Request> {
        let actions = locked(&self.state).on(Instant::now(), event);
        actions.into_iter().filter_map(|action| self.perform(action)).collect()
    }

    fn perform(&self, action: Action) -> Option<Request> {
        match action {
            Action::Wake => self.engines.all().iter().for_each(|engine| in_background(engine.wake())),
            Action::Rest { within } => self.engines.all().iter().for_each(|engine| in_background(engine.rest(within))),
            Action::Cycle { within } => self.begin(|engine| engine.cycle(within)),
            Action::Flush { within } => self.begin(|engine| engine.flush(within)),
            Action::Finish { until } => self.finish(until),
            Action::HideWindows => return Some(Request::HideWindows),
            Action::ShowWindows => return Some(Request::ShowWindows),
            Action::AskAgain { after } => return Some(Request::AskAgain(after)),
        }
        None
    }

    /// The system lets the app work until then. Returns when it is done, on the thread that may wait for it.
    pub(crate) fn slot(&self, until: Instant) {
        self.on(Event::Slot { until });
        self.wait(until);
        self.on(Event::SlotEnds);
    }

    /// Begins something with all engines at once.
    fn begin(&self, act: impl Fn(&SyncHandle) -> Answer<()>) {
        let begun: Vec<Done> = self.engines.all().iter().map(|engine| act(engine).on_channel()).collect();
        locked(&self.under_way).extend(begun);
    }

    /// Waits for what was begun. What is not done in time is done when the app is next there.
    fn wait(&self, until: Instant) {
        let begun = std::mem::take(&mut *locked(&self.under_way));
        for done in begun {
            let _ = done.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
    }

    fn finish(&self, until: Instant) {
        self.wait(until);
        self.begin(SyncHandle::close);
        self.wait(until);
    }
}

/// Lets it be done, and says if it fails.
fn in_background(answer: Answer<()>) {
    tauri::async_runtime::spawn(async move {
        if let Err(error) = answer.await {
            tracing::warn!(code = error.code().name(), "the app's life could not be followed");
        }
    });
}

/// Nothing is done under these locks that could leave half of it behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
