//! A frame's content, read as every message there is.
//!
//! What decodes says the same when it is encoded again, in the one form that this build writes, and that form leads
//! back to itself. What the bytes said before is read here a second time, by [`Value`]: nothing is made up or mixed up.

use std::fmt::Debug;

use bytes::Bytes;
use sync_types::{
    DecodeError, DeviceMsg, FrameBuffer, RawFrame, RelayMsg, RequestId,
    mailbox::{MailboxReply, MailboxRequest},
};

use crate::msgpack::{Value, numbers};

/// One direction of one protocol.
struct Direction<M> {
    types: &'static [(u8, &'static str)],
    read: fn(&RawFrame) -> Result<M, DecodeError>,
    write: fn(&M) -> Bytes,
}

/// The first byte chooses who speaks to whom, the second is the message's type, the rest its content.
pub(crate) fn run(data: &[u8]) {
    let [direction, kind, content @ ..] = data else { return };
    let frame = RawFrame { kind: *kind, payload: Bytes::copy_from_slice(content) };
    match direction % 4 {
        0 => try_on(
            &frame,
            &Direction { types: DeviceMsg::TYPES, read: DeviceMsg::from_frame, write: DeviceMsg::to_frame },
        ),
        1 => {
            try_on(&frame, &Direction { types: RelayMsg::TYPES, read: RelayMsg::from_frame, write: RelayMsg::to_frame })
        }
        2 => try_on(
            &frame,
            &Direction {
                types: MailboxRequest::TYPES,
                read: MailboxRequest::from_frame,
                write: MailboxRequest::to_frame,
            },
        ),
        _ => try_on(
            &frame,
            &Direction { types: MailboxReply::TYPES, read: MailboxReply::from_frame, write: MailboxReply::to_frame },
        ),
    }
}

fn try_on<M: Debug + PartialEq>(frame: &RawFrame, direction: &Direction<M>) {
    let known = direction.types.iter().any(|(kind, _)| *kind == frame.kind);
    match (direction.read)(frame) {
        Ok(message) => {
            assert!(known);
            let written = only_frame(&(direction.write)(&message));
            assert_eq!(written.kind, frame.kind);
            let again = (direction.read)(&written).expect("what this build writes it reads");
            assert_eq!(again, message, "encoded and decoded again");
            assert_eq!(only_frame(&(direction.write)(&again)), written, "the one form there is");
            let (said, meant) = (Value::read(&frame.payload), Value::read(&written.payload));
            let (said, meant) = (said.expect("it decodes"), meant.expect("it was encoded"));
            assert!(meant.is_said_by(&said), "{meant:?} was made of {said:?}");
        }
        Err(DecodeError::UnknownType { kind, id }) => {
            assert!(!known && kind == frame.kind);
            assert!(id == 0 || first_number(&frame.payload) == Some(id), "an answer to a request that was not made");
        }
        Err(DecodeError::Malformed { kind }) => assert!(known && kind == frame.kind),
    }
}

/// The frame that these bytes are.
fn only_frame(bytes: &[u8]) -> RawFrame {
    let mut buffer = FrameBuffer::default();
    buffer.extend(bytes);
    let frame = buffer.next_frame().expect("it is a frame").expect("it is whole");
    assert!(!buffer.is_mid_frame(), "nothing comes after it");
    frame
}

fn first_number(content: &[u8]) -> Option<RequestId> {
    let fields = match Value::read(content)? {
        Value::Array(fields) => fields,
        Value::Bytes(bytes) => numbers(&bytes),
        Value::Nil | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Other => return None,
    };
    let Value::Integer(number) = fields.first()? else { return None };
    RequestId::try_from(*number).ok()
}
