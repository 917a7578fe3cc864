//! MessagePack as this protocol uses it: a message is an array of its fields in documented order, byte strings
//! are `bin`, trailing fields of a newer build are ignored.
//!
//! A definition also says what its fields are for, see [`crate::describe`]: the code and the documents read the same.

use serde::{Deserialize, de};

/// Defines a struct that travels as an array of its fields. What follows the last known field is skipped, so a
/// newer build may append fields; it never reorders or removes one.
#[doc(hidden)]
#[macro_export]
macro_rules! message {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $($(#[doc = $doc:literal])* $field_vis:vis $field:ident: $type:ty,)* }
    ) => {
        $crate::described! {
            $(#[$meta])*
            $vis struct $name { $($(#[doc = $doc])* $field_vis $field: $type,)* }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTuple;
                const LEN: usize = [$(stringify!($field)),*].len();
                let mut tuple = serializer.serialize_tuple(LEN)?;
                $(tuple.serialize_element(&self.$field)?;)*
                tuple.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("the fields of ", stringify!($name)))
                    }
                    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<$name, A::Error> {
                        let mut known = 0;
                        $(
                            let $field: $type = seq.next_element()?
                                .ok_or_else(|| serde::de::Error::invalid_length(known, &self))?;
                            known += 1;
                        )*
                        let _ = known;
                        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                        Ok($name { $($field,)* })
                    }
                }
                deserializer.deserialize_seq(Visitor)
            }
        }
    };
}
pub use crate::message;

/// Defines a struct that can list its fields with their documentation, see [`crate::describe::Described`].
#[doc(hidden)]
#[macro_export]
macro_rules! described {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $($(#[doc = $doc:literal])* $field_vis:vis $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        $vis struct $name { $($(#[doc = $doc])* $field_vis $field: $type,)* }

        impl $crate::describe::Described for $name {
            const FIELDS: &'static [$crate::describe::Field] = &[$(
                $crate::describe::Field { name: stringify!($field), docs: &[$($doc),*] },
            )*];
        }
    };
}
pub use crate::described;

/// Decodes one value that takes up all of `bytes`. What it borrows is not copied on the way.
///
/// # Errors
/// If it is something else, is nested too deeply, or has bytes after it.
pub fn decode_exact<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(32);
    let value = T::deserialize(&mut deserializer)?;
    match <()>::deserialize(&mut deserializer) {
        // Any further byte would have been a marker.
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        Ok(()) | Err(_) => Err(de::Error::custom("bytes after the message")),
    }
}

/// A list of at most `MAX` elements. More is an error before they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtMost<const MAX: usize, T>(pub Vec<T>);

impl<const MAX: usize, T> From<Vec<T>> for AtMost<MAX, T> {
    fn from(list: Vec<T>) -> Self {
        Self(list)
    }
}

impl<const MAX: usize, T: serde::Serialize> serde::Serialize for AtMost<MAX, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, const MAX: usize, T: Deserialize<'de>> Deserialize<'de> for AtMost<MAX, T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<const MAX: usize, T>(std::marker::PhantomData<T>);
        impl<'de, const MAX: usize, T: Deserialize<'de>> de::Visitor<'de> for Visitor<MAX, T> {
            type Value = AtMost<MAX, T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "at most {MAX} elements")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if list.len() == MAX {
                        return Err(de::Error::invalid_length(MAX + 1, &self));
                    }
                    list.push(element);
                }
                Ok(AtMost(list))
            }
        }
        deserializer.deserialize_seq(Visitor::<MAX, T>(std::marker::PhantomData))
    }
}
