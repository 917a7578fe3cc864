//! MessagePack, read a second time: what the bytes say, whatever they are read as.
//!
//! Written from the format's specification and from nothing of ours, so that a mistake of the decoder's has to be
//! made here as well to go unnoticed.

use crate::invite::spelled;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Integer(i128),
    Float(f64),
    /// A byte string or a text.
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    /// What no message of ours holds.
    Other,
}

/// Deeper than anything that is decoded.
const DEPTH_MAX: usize = 64;

impl Value {
    /// The value that takes up all of `bytes`.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let value = reader.value(DEPTH_MAX)?;
        reader.0.is_empty().then_some(value)
    }

    /// Whether `other` says the same as this one and perhaps more: fields after the last one that is known, an
    /// integer in more bytes than it takes, a byte string as a text, an id in hex, a mailbox's name as people type it.
    pub(crate) fn is_said_by(&self, other: &Self) -> bool {
        match (self, other) {
            // The decoder takes a byte string for an array of its bytes, and the other way round.
            (Self::Array(_), Self::Bytes(theirs)) => self.is_said_by(&Self::Array(numbers(theirs))),
            (Self::Bytes(ours), Self::Array(theirs)) => numbers(ours) == *theirs,
            (Self::Array(ours), Self::Array(theirs)) => {
                ours.len() <= theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| ours.is_said_by(theirs))
            }
            (Self::Bytes(ours), Self::Bytes(theirs)) => {
                let text = || std::str::from_utf8(theirs).ok();
                let hex = || ours.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                ours == theirs
                    || text().is_some_and(|text| text.eq_ignore_ascii_case(&hex()))
                    || text().and_then(spelled).is_some_and(|name| name.as_bytes() == ours)
            }
            _ => self == other,
        }
    }
}

pub(crate) fn numbers(bytes: &[u8]) -> Vec<Value> {
    bytes.iter().map(|byte| Value::Integer((*byte).into())).collect()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        Some(match self.take(1)?[0] {
            byte @ 0x00..=0x7f => Value::Integer(byte.into()),
            byte @ 0x80..=0x8f => self.map(usize::from(byte & 0x0f), depth)?,
            byte @ 0x90..=0x9f => self.array(usize::from(byte & 0x0f), depth)?,
            byte @ 0xa0..=0xbf => self.bytes(usize::from(byte & 0x1f))?,
            0xc0 => Value::Nil,
            0xc1 => return None,
            byte @ 0xc2..=0xc3 => Value::Bool(byte == 0xc3),
            byte @ 0xc4..=0xc6 => {
                let len = self.length(1 << (byte - 0xc4))?;
                self.bytes(len)?
            }
            byte @ 0xc7..=0xc9 => {
                let len = self.length(1 << (byte - 0xc7))?;
                self.take(len + 1).map(|_| Value::Other)?
            }
            0xca => Value::Float(f32::from_be_bytes(self.take(4)?.try_into().ok()?).into()),
            0xcb => Value::Float(f64::from_be_bytes(self.take(8)?.try_into().ok()?)),
            byte @ 0xcc..=0xcf => Value::Integer(self.unsigned(1 << (byte - 0xcc))?),
            byte @ 0xd0..=0xd3 => {
                let len = 1 << (byte - 0xd0);
                let (number, bits) = (self.unsigned(len)?, 8 * len);
                Value::Integer(if number >> (bits - 1) == 1 { number - (1 << bits) } else { number })
            }
            byte @ 0xd4..=0xd8 => self.take((1 << (byte - 0xd4)) + 1).map(|_| Value::Other)?,
            byte @ 0xd9..=0xdb => {
                let len = self.length(1 << (byte - 0xd9))?;
                self.bytes(len)?
            }
            byte @ 0xdc..=0xdd => {
                let len = self.length(2 << (byte - 0xdc))?;
                self.array(len, depth)?
            }
            byte @ 0xde..=0xdf => {
                let len = self.length(2 << (byte - 0xde))?;
                self.map(len, depth)?
            }
            byte @ 0xe0..=0xff => Value::Integer(i128::from(byte.cast_signed())),
        })
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn unsigned(&mut self, len: usize) -> Option<i128> {
        Some(self.take(len)?.iter().fold(0, |number, byte| number << 8 | i128::from(*byte)))
    }

    fn length(&mut self, len: usize) -> Option<usize> {
        self.unsigned(len)?.try_into().ok()
    }

    fn bytes(&mut self, len: usize) -> Option<Value> {
        self.take(len).map(|bytes| Value::Bytes(bytes.to_vec()))
    }

    fn array(&mut self, len: usize, depth: usize) -> Option<Value> {
        // Not allocated ahead: the length may be a lie.
        let mut values = Vec::new();
        for _ in 0..len {
            values.push(self.value(depth)?);
        }
        Some(Value::Array(values))
    }

    fn map(&mut self, len: usize, depth: usize) -> Option<Value> {
        for _ in 0..len {
            self.value(depth)?;
            self.value(depth)?;
        }
        Some(Value::Other)
    }
}
