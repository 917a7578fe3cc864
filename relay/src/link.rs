//! Frames over one QUIC stream (in a fuzzer, one in memory), with the patience of a relay: a peer may be silent, but not stuck halfway.
//!
//! Both halves may be dropped out of their futures at any await and lose nothing, so a session can stop reading or
//! writing to do something else, and still say a last word on a clean frame boundary.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

#[cfg(feature = "test-utils")]
use bytes::Buf;
use bytes::Bytes;
use iroh::endpoint::{RecvStream, SendStream};
use sync_types::{ErrorCode, FrameBuffer, FrameError, RawFrame};
use tokio::time::timeout;

/// How long a peer may take for a frame it has begun, or to take in bytes it was sent.
pub(crate) const STALL: Duration = Duration::from_secs(10);
/// Either way gets another second for each of these that passed: a slow line is no stalled one.
const SLOWEST_BYTES_PER_S: u64 = 8 * 1024;
/// Chunks read at once; each is about what a datagram brought. One by one, each would wait for the connection's lock.
const CHUNKS: usize = 16;

/// Why no more frames can be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// The connection is gone; nothing can be said any more.
    Lost,
    /// The peer is at fault, and is told why.
    Fault(ErrorCode),
}

/// Where a peer's bytes come from.
pub(crate) enum Source {
    Quic(RecvStream),
    #[cfg(feature = "test-utils")]
    Memory(tokio::io::ReadHalf<tokio::io::DuplexStream>),
}

impl Source {
    /// What has arrived, into the first of `chunks`: how many; `None` if the peer has finished.
    async fn read(&mut self, chunks: &mut [Bytes]) -> Result<Option<usize>, LinkError> {
        match self {
            Self::Quic(stream) => stream.read_many_chunks(chunks).await.map_err(|_| LinkError::Lost),
            #[cfg(feature = "test-utils")]
            Self::Memory(stream) => {
                let mut chunk = bytes::BytesMut::with_capacity(64 * 1024);
                let len = tokio::io::AsyncReadExt::read_buf(stream, &mut chunk).await.map_err(|_| LinkError::Lost)?;
                chunks[0] = chunk.freeze();
                Ok((len > 0).then_some(1))
            }
        }
    }
}

/// Where a peer's bytes go.
pub(crate) enum Sink {
    Quic(SendStream),
    #[cfg(feature = "test-utils")]
    Memory(tokio::io::WriteHalf<tokio::io::DuplexStream>),
}

impl Sink {
    /// Takes what fits off the front of `frames`; returns how many bytes that was.
    async fn write(&mut self, frames: &mut &mut [Bytes]) -> Result<usize, LinkError> {
        match self {
            Self::Quic(stream) => stream.write_many_chunks(frames).await.map_err(|_| LinkError::Lost),
            #[cfg(feature = "test-utils")]
            Self::Memory(stream) => {
                let Some(first) = frames.first_mut() else { return Ok(0) };
                let written = tokio::io::AsyncWriteExt::write(stream, first).await.map_err(|_| LinkError::Lost)?;
                first.advance(written);
                if first.is_empty() {
                    *frames = &mut std::mem::take(frames)[1..];
                }
                Ok(written)
            }
        }
    }

    /// Says that there is no more, and waits until the peer has it all.
    async fn finish(&mut self) -> Result<(), LinkError> {
        match self {
            Self::Quic(stream) => {
                stream.finish().map_err(|_| LinkError::Lost)?;
                stream.stopped().await.map(|_| ()).map_err(|_| LinkError::Lost)
            }
            #[cfg(feature = "test-utils")]
            Self::Memory(stream) => tokio::io::AsyncWriteExt::shutdown(stream).await.map_err(|_| LinkError::Lost),
        }
    }
}

/// The frames a peer sends.
pub(crate) struct FrameReader {
    stream: Source,
    buffer: FrameBuffer,
    /// When the frame that is coming in began, and how much of it came since.
    begun: Option<(Instant, u64)>,
    received: u64,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self::over(Source::Quic(stream))
    }

    pub(crate) fn over(stream: Source) -> Self {
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
            let mut chunks = [const { Bytes::new() }; CHUNKS];
            let read = if self.buffer.is_mid_frame() {
                let (begun, bytes) = *self.begun.get_or_insert((Instant::now(), 0));
                timeout(patience(begun, bytes), self.stream.read(&mut chunks))
                    .await
                    .map_err(|_| LinkError::Fault(ErrorCode::IdleTimeout))?
            } else {
                self.stream.read(&mut chunks).await
            };
            match read? {
                Some(read) => {
                    let len: u64 = chunks[..read].iter().map(|chunk| chunk.len() as u64).sum();
                    self.received += len;
                    if let Some((_, bytes)) = &mut self.begun {
                        *bytes += len;
                    }
                    chunks[..read].iter().for_each(|chunk| self.buffer.extend(chunk));
                }
                None if self.buffer.is_mid_frame() => return Err(LinkError::Fault(ErrorCode::Malformed)),
                None => return Ok(None),
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
    stream: Sink,
    waiting: VecDeque<Bytes>,
    sent: u64,
}

impl FrameWriter {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self::over(Sink::Quic(stream))
    }

    pub(crate) fn over(stream: Sink) -> Self {
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
            let written = timeout(patience(begun, bytes), self.stream.write(&mut frames)).await;
            let done = before - frames.len();
            self.waiting.drain(..done);
            let written = written.map_err(|_| LinkError::Fault(ErrorCode::IdleTimeout))?;
            let written = written? as u64;
            bytes += written;
            self.sent += written;
        }
        Ok(())
    }

    /// Says that there is no more, and waits until the peer has it all.
    pub(crate) async fn finish(&mut self) -> Result<(), LinkError> {
        self.flush().await?;
        self.stream.finish().await
    }

    /// Bytes sent since this was last asked.
    pub(crate) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }
}

/// How much longer something may take that began then, and of which so many bytes have passed.
fn patience(begun: Instant, bytes: u64) -> Duration {
    time_for(bytes).saturating_sub(begun.elapsed())
}

/// How long a peer may take over so many bytes.
pub(crate) fn time_for(bytes: u64) -> Duration {
    STALL + Duration::from_secs(bytes / SLOWEST_BYTES_PER_S)
}
