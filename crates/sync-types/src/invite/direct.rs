//! Where the device that invites can be reached without a relay.
//!
//! ```text
//! [endpoint id [32], [address, …]]     an address is the four or sixteen bytes of its IP, then its port
//! ```
//! Bytes rather than text keep the QR code small.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_bytes::{ByteArray, ByteBuf, Bytes};

use crate::{
    limits::LINK_ADDRESSES_MAX,
    wire::{AtMost, message},
};

/// An endpoint that is there for one invite, as long as that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direct {
    /// Its id: a key made for this invite, so that a link tells nobody who the device is in any group.
    pub endpoint: [u8; 32],
    /// Where it listens: at most [`LINK_ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
}

message! {
    struct Wire {
        endpoint: ByteArray<32>,
        addresses: AtMost<LINK_ADDRESSES_MAX, Address>,
    }
}

impl Serialize for Direct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let addresses: Vec<_> = self.addresses.iter().copied().map(Address).collect();
        Wire { endpoint: ByteArray::new(self.endpoint), addresses: addresses.into() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Direct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { endpoint, addresses } = Wire::deserialize(deserializer)?;
        let addresses = addresses.0.into_iter().map(|address| address.0).collect();
        Ok(Self { endpoint: endpoint.into_array(), addresses })
    }
}

/// A socket address in six or eighteen bytes.
struct Address(SocketAddr);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = match self.0.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        bytes.extend_from_slice(&self.0.port().to_be_bytes());
        Bytes::new(&bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        let address = bytes.split_last_chunk::<2>().and_then(|(ip, port)| {
            let v4 = <[u8; 4]>::try_from(ip).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from)).ok()?;
            Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
        });
        address.map(Self).ok_or_else(|| de::Error::invalid_length(bytes.len(), &"six or eighteen bytes"))
    }
}
