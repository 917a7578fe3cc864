//! A stream of bytes, cut into frames.
//!
//! However the bytes arrive, the frames are the same, and they are those of the protocol's definition: read here a
//! second time, as plainly as can be.

use bytes::Bytes;
use sync_types::{FrameBuffer, FrameError, RawFrame, limits::FRAME_LEN_MAX};

/// What a stream holds: its whole frames, and how it ends, with `true` for "in the middle of one".
type Cut = (Vec<RawFrame>, Result<bool, FrameError>);

/// The first byte is the size of the pieces in which the rest arrives.
pub(crate) fn run(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let expected = defined(stream);
    assert_eq!(cut(stream, stream.len().max(1)), expected, "at once");
    assert_eq!(cut(stream, usize::from(*size).max(1)), expected, "in pieces of {size}");
}

fn cut(stream: &[u8], size: usize) -> Cut {
    let (mut buffer, mut frames) = (FrameBuffer::default(), Vec::new());
    for piece in stream.chunks(size) {
        buffer.extend(piece);
        loop {
            match buffer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(buffer.is_mid_frame()))
}

fn defined(mut stream: &[u8]) -> Cut {
    let mut frames = Vec::new();
    while let Some((announced, rest)) = stream.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*announced);
        match usize::try_from(len).expect("a length fits memory") {
            0 => return (frames, Err(FrameError::Empty)),
            FRAME_LEN_MAX.. if len as usize != FRAME_LEN_MAX => return (frames, Err(FrameError::TooLarge { len })),
            wanted if wanted > rest.len() => break,
            wanted => {
                let (frame, rest) = rest.split_at(wanted);
                frames.push(RawFrame { kind: frame[0], payload: Bytes::copy_from_slice(&frame[1..]) });
                stream = rest;
            }
        }
    }
    (frames, Ok(!stream.is_empty()))
}
