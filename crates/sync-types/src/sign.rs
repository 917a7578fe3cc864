//! What a signature covers: one purpose a signature, so that none can be replayed as another.

/// Why something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A device opens a session on a relay. Signed by the group's relay key.
    Hello,
    /// A device seals an envelope.
    Envelope,
    /// A device vouches for an entry in the group's roster.
    Roster,
    /// A joiner asks to be entered in the roster.
    Pairing,
    /// A member gives the group new keys, removes a device, or both.
    Commit,
    /// A group is known by another id on a relay. Signed by the group's old and new relay keys.
    Move,
    /// A device says how far it has come. Its own purpose, so that no log takes it for an envelope, nor the other way round.
    Receipt,
    /// A device seals a snapshot, or a part of one. Its own purpose for the same reason.
    Snapshot,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Hello => "0k-sync/1 hello",
            Self::Envelope => "0k-sync/1 envelope",
            Self::Roster => "0k-sync/1 roster",
            Self::Pairing => "0k-sync/1 pairing",
            Self::Commit => "0k-sync/1 commit",
            Self::Move => "0k-sync/1 move",
            Self::Receipt => "0k-sync/1 receipt",
            Self::Snapshot => "0k-sync/1 snapshot",
        }
    }
}

/// `"0k-sync/1 <purpose>" ‖ 0x00 ‖ scope ‖ BLAKE3(parts, one after the other)`.
///
/// `scope` is the group id; where a relay verifies, which must not learn that one, it is the relay group id.
/// Every part but the last must have a fixed length, or carry its length, or two contents could sign alike.
pub fn message(purpose: Purpose, scope: &[u8; 32], parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let name = purpose.name().as_bytes();
    let mut message = Vec::with_capacity(name.len() + 1 + 32 + 32);
    message.extend_from_slice(name);
    message.push(0);
    message.extend_from_slice(scope);
    message.extend_from_slice(hasher.finalize().as_bytes());
    message
}

/// TLS exporter label whose 32 bytes tie a HELLO to its connection.
pub const HELLO_EXPORTER_LABEL: &[u8] = b"EXPORTER-0k-sync/1 hello";

/// What HELLO's signature covers, by the relay-auth key of `group`: both ends of this very connection.
pub fn hello(
    group: &crate::RelayGroupId,
    device: &crate::DeviceId,
    relay: &crate::RelayId,
    exporter: &[u8; 32],
) -> Vec<u8> {
    message(Purpose::Hello, group.as_bytes(), &[device.as_bytes(), relay.as_bytes(), exporter])
}

/// What a signature in MOVE covers, by the relay-auth key of `group`: both ends of this very connection, the id the group
/// is known by from now on, and the package left for holders of the old key; an empty one for the new key's own.
pub fn moved(
    group: &crate::RelayGroupId,
    (device, relay, exporter): (&crate::DeviceId, &crate::RelayId, &[u8; 32]),
    new: &crate::RelayGroupId,
    package: &[u8],
) -> Vec<u8> {
    let parts: [&[u8]; 5] = [device.as_bytes(), relay.as_bytes(), exporter, new.as_bytes(), package];
    message(Purpose::Move, group.as_bytes(), &parts)
}
