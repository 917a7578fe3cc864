//! The threads that everything here runs on.
//!
//! A front end has its own event loop, or none, and may stop it whenever it likes: at exit the app's windows are gone and
//! its main thread waits, while what was pushed last still goes out. So the engine has threads of its own.

use std::{
    pin::Pin,
    sync::{OnceLock, mpsc},
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::error::BridgeError;

/// One to drive, one to spare for what blocks it for a moment.
const WORKERS: usize = 2;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("0k-sync")
            .enable_all()
            .build()
            .expect("a process that can't start two threads can't run an app")
    })
}

/// Starts work there, at once.
pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    runtime().spawn(work)
}

/// The answer to a call that is under way: a future for any executor, or a channel for a thread that has none. Dropping it
/// stops nothing.
#[derive(Debug)]
#[must_use = "how the call went is known from its answer"]
pub struct Answer<T>(JoinHandle<Result<T, BridgeError>>);

impl<T: Send + 'static> Answer<T> {
    /// Starts work on threads of ours, at once.
    pub(crate) fn to(work: impl Future<Output = Result<T, BridgeError>> + Send + 'static) -> Self {
        Self(spawn(work))
    }

    /// The answer by a channel, on which a thread can wait for as long as it likes and no longer.
    pub fn on_channel(self) -> mpsc::Receiver<Result<T, BridgeError>> {
        let (tell, told) = mpsc::channel();
        spawn(async move {
            // Whoever asked may have stopped waiting.
            let _ = tell.send(self.await);
        });
        told
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, BridgeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(ended.unwrap_or_else(|error| {
            tracing::error!(%error, "a call ended badly");
            Err(BridgeError::Defect)
        }))
    }
}
