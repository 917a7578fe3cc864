//! Positions. Three kinds that must never be mixed, hence three types.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! position {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Before the first: nothing has this position.
            pub const START: Self = Self(0);

            /// Wraps a number; 0 is [`Self::START`].
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

position! {
    /// Where a row stands in one relay's log of one group: from 1, without gaps at assignment.
    RelayCursor
}
position! {
    /// Where a blob stands in this device's own log: from 1, in the order blobs became readable here. The only
    /// cursor an app sees, because it survives a change of relay.
    LocalCursor
}
position! {
    /// Where an envelope stands among all that its sender sealed: from 1, over every kind but receipts.
    Seq
}
