//! Connections between devices and relays: streams that keep their order until they break.

use std::collections::BTreeSet;

use sync_types::{DeviceMsg, RelayMsg};

/// One connection, for ever.
pub(crate) type SessionId = u64;

/// A message on its way, in one of two directions.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    ToRelay(DeviceMsg),
    ToDevice(RelayMsg),
}

impl Frame {
    /// Its bytes on the wire, and whether they are there for receipts alone.
    pub(crate) fn carries(&self) -> (u64, bool) {
        let (frame, is_receipt) = match self {
            Self::ToRelay(message) => (message.to_frame(), matches!(message, DeviceMsg::Receipt(_))),
            Self::ToDevice(message) => {
                (message.to_frame(), matches!(message, RelayMsg::Receipts(_) | RelayMsg::ReceiptAck(_)))
            }
        };
        (frame.len() as u64, is_receipt)
    }
}

/// One connection between a device and a relay.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) device: usize,
    pub(crate) relay: usize,
    pub(crate) since_ms: u64,
    /// Whether each end still thinks it is open.
    pub(crate) device_open: bool,
    pub(crate) relay_open: bool,
    /// Nothing passes any more, though nobody knows yet.
    pub(crate) broken: bool,
    /// When the last message of each direction arrives: the next one arrives later.
    pub(crate) last_to_relay_ms: u64,
    pub(crate) last_to_device_ms: u64,
}

impl Session {
    pub(crate) fn new(device: usize, relay: usize, since_ms: u64) -> Self {
        Self {
            device,
            relay,
            since_ms,
            device_open: true,
            relay_open: true,
            broken: false,
            last_to_relay_ms: 0,
            last_to_device_ms: 0,
        }
    }

    /// What the two ends derive from their connection. No two connections have the same.
    pub(crate) fn exporter(id: SessionId) -> [u8; 32] {
        let mut exporter = [7; 32];
        exporter[..8].copy_from_slice(&id.to_be_bytes());
        exporter
    }
}

/// Which links are cut.
#[derive(Debug, Default)]
pub(crate) struct Cuts(BTreeSet<(usize, usize)>);

impl Cuts {
    pub(crate) fn cut(&mut self, device: usize, relay: usize) {
        self.0.insert((device, relay));
    }

    pub(crate) fn mend(&mut self, device: usize, relay: usize) {
        self.0.remove(&(device, relay));
    }

    pub(crate) fn mend_all(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_cut(&self, device: usize, relay: usize) -> bool {
        self.0.contains(&(device, relay))
    }
}
