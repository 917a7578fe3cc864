//! Frames over one QUIC stream, with the patience of a relay: a peer may be silent, but not stuck halfway.
//!
//! Both halves may be dropped out of their futures at any await and lose nothing, so a session can stop reading or
//! writing to do something else, and still say a last word on a clean frame boundary.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use iroh::endpoint::{RecvStream, SendStream};
use sync_types::{ErrorCode, FrameBuffer, FrameError, RawFrame};
use tokio::time::timeout;

/// How long a peer may take for a frame it has begun, or to take in bytes it was sent.
pub(crate) const STALL: Duration = Duration::from_secs(10);
/// Either way gets another second for each of these that passed: a slow line is no stalled one.
const SLOWEST_BYTES_PER_S: u64 = 8 * 1024;
/// Read at once.
const CHUNK: usize = 64 * 1024;

/// Why no more frames can be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// The connection is gone; nothing can be said any more.
    Lost,
    /// The peer is at fault, and is told why.
    Fault(ErrorCode),
}

/// The frames a peer sends.
pub(crate) struct FrameReader {
    stream: RecvStream,
    buffer: FrameBuffer,
    /// When the frame that is coming in began, and how much of it came since.
    begun: Option<(Instant, u64)>,
    received: u64,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: FrameBuffer::default(), begun: None, received: 0 }
    }

    /// The next frame; `None` if the peer has finished.
    pub(crate) async fn next(&mut self) -> Result<Option<RawFrame>, LinkError> {
        loop {
            let frame = self.buffer.next_frame().map_err(|error| match error {
                FrameError::TooLarge { .. } => LinkError::Fault(ErrorCode::FrameTooLarge),
                FrameError::Empty => LinkError::Fault(ErrorCode::Malformed),
            })?;
            if let Some(frame) = frame {
                self.begun = None;
                return Ok(Some(frame));
            }
            let chunk = if self.buffer.is_mid_frame() {
                let (begun, bytes) = *self.begun.get_or_insert((Instant::now(), 0));
                timeout(patience(begun, bytes), self.stream.read_chunk(CHUNK))
                    .await
                    .map_err(|_| LinkError::Fault(ErrorCode::IdleTimeout))?
            } else {
                self.stream.read_chunk(CHUNK).await
            };
            match chunk {
                Ok(Some(chunk)) => {
                    self.received += chunk.len() as u64;
                    if let Some((_, bytes)) = &mut self.begun {
                        *bytes += chunk.len() as u64;
                    }
                    self.buffer.extend(&chunk);
                }
                Ok(None) if self.buffer.is_mid_frame() => return Err(LinkError::Fault(ErrorCode::Malformed)),
                Ok(None) => return Ok(None),
                Err(_) => return Err(LinkError::Lost),
            }
        }
    }

    /// Bytes received since this was last asked.
    pub(crate) fn take_received(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }
}

/// The frames a peer is sent.
pub(crate) struct FrameWriter {
    stream: SendStream,
    waiting: VecDeque<Bytes>,
    sent: u64,
}

impl FrameWriter {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self { stream, waiting: VecDeque::new(), sent: 0 }
    }

    /// Puts a frame behind those that wait. [`Self::flush`] sends them.
    pub(crate) fn queue(&mut self, frame: Bytes) {
        self.waiting.push_back(frame);
    }

    /// Hands all that waits to the connection. A peer is stalled that takes nothing in for long, or a byte now
    /// and then.
    pub(crate) async fn flush(&mut self) -> Result<(), LinkError> {
        let (begun, mut bytes) = (Instant::now(), 0);
        while !self.waiting.is_empty() {
            let mut frames = self.waiting.make_contiguous();
            let before = frames.len();
            let written = timeout(patience(begun, bytes), self.stream.write_many_chunks(&mut frames)).await;
            let done = before - frames.len();
            self.waiting.drain(..done);
            let written = written.map_err(|_| LinkError::Fault(ErrorCode::IdleTimeout))?;
            let written = written.map_err(|_| LinkError::Lost)? as u64;
            bytes += written;
            self.sent += written;
        }
        Ok(())
    }

    /// Says that there is no more, and waits until the peer has it all.
    pub(crate) async fn finish(&mut self) -> Result<(), LinkError> {
        self.flush().await?;
        self.stream.finish().map_err(|_| LinkError::Lost)?;
        self.stream.stopped().await.map(|_| ()).map_err(|_| LinkError::Lost)
    }

    /// Bytes sent since this was last asked.
    pub(crate) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }
}

/// How much longer something may take that began then, and of which so many bytes have passed.
fn patience(begun: Instant, bytes: u64) -> Duration {
    (STALL + Duration::from_secs(bytes / SLOWEST_BYTES_PER_S)).saturating_sub(begun.elapsed())
}
