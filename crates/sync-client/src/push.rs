//! Pushing a blob.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use sync_core::event::{Pushed, Token};
use sync_types::{ErrorCode, limits::PAYLOAD_LEN_MAX};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{client::SyncClient, config::PushOptions, driver::Command, error::ClientError};

/// Payload bytes on their way to the disk, of all pushes together. Whoever pushes more waits.
pub(crate) const ROOM_BYTES: usize = 16 * 1024 * 1024;
/// The unit they are counted in.
pub(crate) const ROOM_UNIT: usize = 1_024;

impl SyncClient {
    /// Pushes a blob to the group's other devices. Resolves once it is safe on this one, online or not, or as far as
    /// [`PushOptions::wait`] says; past [`PushOptions::timeout`] with however far it got.
    ///
    /// # Errors
    /// `blob_too_large`, `no_group`, `local_full`, `local_storage`, `identity_reused`, `closed`. A push that fails
    /// left nothing behind; it may be repeated.
    pub async fn push(&self, payload: impl Into<Bytes>, options: PushOptions) -> Result<Pushed, ClientError> {
        self.enqueue(payload, options).await?.done().await
    }

    /// The first half of [`Self::push`]: takes a place in the queue. Blobs are pushed in the order of these places, so
    /// a caller with many takes their places one after the other and waits for them together.
    ///
    /// # Errors
    /// `blob_too_large`, `no_group`, `closed`.
    pub async fn enqueue(&self, payload: impl Into<Bytes>, options: PushOptions) -> Result<PendingPush, ClientError> {
        let payload = payload.into();
        if payload.len() > PAYLOAD_LEN_MAX {
            return Err(ClientError::BlobTooLarge { len: payload.len() });
        }
        let ttl_s = u32::try_from(options.ttl.as_secs())
            .map_err(|_| ClientError::InvalidArgument("a time to live may be up to 136 years"))?;
        let commands = self.in_group()?.commands.clone();
        let deadline = Instant::now().checked_add(options.timeout);
        let units = u32::try_from(payload.len() / ROOM_UNIT + 1).expect("a payload is at most 1 MiB");
        let room = Arc::clone(&self.inner.room).acquire_many_owned(units).await.map_err(|_| ClientError::Closed)?;
        let token = self.inner.tokens.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let command = Command::Push { token, payload, ttl_s, wait: options.wait, answer, room };
        commands.send(command).await.map_err(|_| ClientError::Closed)?;
        Ok(PendingPush { token, deadline, answered, commands })
    }
}

/// A push that has its place in the queue. Dropping it doesn't take it out again.
#[derive(Debug)]
#[must_use = "whether the push succeeded is known when it is done"]
pub struct PendingPush {
    token: Token,
    deadline: Option<Instant>,
    answered: oneshot::Receiver<Result<Pushed, ErrorCode>>,
    commands: mpsc::Sender<Command>,
}

impl PendingPush {
    /// The second half of [`SyncClient::push`].
    ///
    /// # Errors
    /// As [`SyncClient::push`].
    pub async fn done(mut self) -> Result<Pushed, ClientError> {
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(u32::MAX.into()));
        let answer = match tokio::time::timeout_at(deadline, &mut self.answered).await {
            Ok(answer) => answer,
            Err(_) => {
                // The answer comes all the same: with what is known by now, and from behind the push in the queue.
                let _ = self.commands.send(Command::GiveUp { token: self.token }).await;
                self.answered.await
            }
        };
        answer.map_err(|_| ClientError::Closed)?.map_err(ClientError::Refused)
    }
}
