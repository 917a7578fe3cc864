//! Frames: `u32 length (big endian) · u8 type · MessagePack`. The length counts the type byte.
//!
//! A length is checked before a byte of its frame is kept, so a stranger makes nobody buffer more than
//! [`FRAME_LEN_MAX`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{id::RequestId, limits::FRAME_LEN_MAX, wire};

/// Why a stream of bytes is not a stream of frames. Ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The next frame announces more than [`FRAME_LEN_MAX`].
    #[error("frame of {len} bytes is larger than the protocol allows")]
    TooLarge {
        /// What it announces.
        len: u32,
    },
    /// The next frame announces no type byte.
    #[error("frame is empty")]
    Empty,
}

/// Why a frame is not a message of the expected direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A type this build has no word for, from a newer one: answer `unsupported` and go on.
    #[error("message type {kind:#04x} is unknown")]
    UnknownType {
        /// The type byte.
        kind: u8,
        /// The request it would answer to; 0 if that could not be read.
        id: RequestId,
    },
    /// Not the fields its type has. Ends the connection.
    #[error("message of type {kind:#04x} is malformed")]
    Malformed {
        /// The type byte.
        kind: u8,
    },
}

/// A frame whose length was right; its content is not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// The type byte.
    pub kind: u8,
    /// The MessagePack after it.
    pub payload: Bytes,
}

impl RawFrame {
    /// Reads the content as a `T`.
    pub(crate) fn decode<'de, T: Deserialize<'de>>(&'de self) -> Result<T, DecodeError> {
        wire::decode_exact(&self.payload).map_err(|_| DecodeError::Malformed { kind: self.kind })
    }

    /// The error for a type nobody here knows, with the request id every request starts with.
    pub(crate) fn unknown(&self) -> DecodeError {
        let id = wire::decode_exact::<OnlyId>(&self.payload).map_or(0, |message| message.id);
        DecodeError::UnknownType { kind: self.kind, id }
    }
}

wire::message! {
    /// What every request starts with.
    pub struct OnlyId {
        /// The request's id.
        pub id: RequestId,
    }
}

/// The whole frame of a message.
pub(crate) fn encode_frame<T: Serialize>(kind: u8, message: &T) -> Bytes {
    let mut frame = BytesMut::with_capacity(256).writer();
    frame.get_mut().put_u32(0);
    frame.get_mut().put_u8(kind);
    rmp_serde::encode::write(&mut frame, message).expect("a message always encodes into memory");
    let mut frame = frame.into_inner();
    let len = u32::try_from(frame.len() - 4).expect("messages are bounded far below 4 GiB");
    frame[..4].copy_from_slice(&len.to_be_bytes());
    frame.freeze()
}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: BytesMut,
}

impl FrameBuffer {
    /// Adds bytes from the stream. Keep calling [`Self::next_frame`] until it has no more, then read on.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there.
    ///
    /// # Errors
    /// [`FrameError`]; the stream is of no more use then.
    pub fn next_frame(&mut self) -> Result<Option<RawFrame>, FrameError> {
        let Some(announced) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let announced = u32::from_be_bytes(*announced);
        let len = announced as usize;
        if len > FRAME_LEN_MAX {
            return Err(FrameError::TooLarge { len: announced });
        }
        if len == 0 {
            return Err(FrameError::Empty);
        }
        if self.bytes.len() < 4 + len {
            self.bytes.reserve(4 + len - self.bytes.len());
            return Ok(None);
        }
        self.bytes.advance(4);
        let mut payload = self.bytes.split_to(len).freeze();
        let kind = payload.get_u8();
        Ok(Some(RawFrame { kind, payload }))
    }

    /// Whether bytes of an unfinished frame are waiting: a peer that stays like this is stalled.
    pub fn is_mid_frame(&self) -> bool {
        !self.bytes.is_empty()
    }
}
