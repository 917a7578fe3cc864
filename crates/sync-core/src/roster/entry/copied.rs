//! The entry of a device that found another installation under its identity, and goes on as another device.

use bytes::Bytes;
use serde_bytes::ByteArray;
use sync_types::{
    DeviceId, GroupId, Seq,
    wire::{AtMost, message},
};

use super::{EntryHash, HEADS_MAX, JoinRequest, Profile, decode, encode, in_welcome};
use crate::keys::{DeviceKem, DeviceKey};

/// What a device says of itself that found another installation under its identity. See `engine/copying.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// From this place on it may have sealed other envelopes than the other installation has. It seals them again, as its
    /// own second and those that follow.
    pub from: Seq,
    /// The last of them, or the one before `from`.
    pub through: Seq,
    /// Up to here somebody may have them as they were.
    pub offered: Seq,
    /// Its newest receipt under the identity that it had.
    pub said: Seq,
}

message! {
    /// The welcome of a device by itself.
    struct CopyWelcome {
        inviter: DeviceId,
        joined_at_ms: u64,
        heads: AtMost<HEADS_MAX, ByteArray<32>>,
        from: Seq,
        through: Seq,
        offered: Seq,
        said: Seq,
    }
}

impl Copied {
    /// What the device has signed in the place of a pairing: that it is a copy, of whom, and from where on. So nobody else
    /// makes one of a device that joined.
    fn transcript(&self, former: &DeviceId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("0k-sync/1 copied");
        hasher.update(former.as_bytes());
        for number in [self.from, self.through, self.offered, self.said] {
            hasher.update(&number.get().to_be_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// What a welcome says, if it is one of a device by itself.
    pub(super) fn of(request: &JoinRequest, welcome: &[u8]) -> Option<Self> {
        let said: CopyWelcome = decode(welcome).ok()?;
        let copied = Self { from: said.from, through: said.through, offered: said.offered, said: said.said };
        let is_range = copied.from > Seq::START && copied.through.get() <= u64::from(u32::MAX) * 0x1_0000;
        (is_range && request.transcript == copied.transcript(&said.inviter)).then_some(copied)
    }

    /// How many envelopes it seals again.
    pub(crate) fn count(&self) -> u64 {
        (self.through.get() + 1).saturating_sub(self.from.get())
    }

    /// The payload of the entry by which a device that knows it was copied goes on as another: `former` signs for it.
    pub(crate) fn admit(
        &self,
        group: &GroupId,
        (former, device, kem): (&DeviceKey, &DeviceKey, &DeviceKem),
        profile: &Profile,
        joined_at_ms: u64,
        heads: &[EntryHash],
    ) -> Bytes {
        let inviter = former.device_id();
        let request = JoinRequest::create(group, (device, kem), profile, self.transcript(&inviter));
        let Self { from, through, offered, said } = *self;
        let heads = in_welcome(heads);
        request.welcomed(
            group,
            former,
            encode(&CopyWelcome { inviter, joined_at_ms, heads, from, through, offered, said }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::GroupRoot, roster::Entry};

    #[test]
    fn a_copy_is_one_by_its_own_signature_and_by_that_of_whom_it_was() {
        let group = GroupRoot::from_bytes(&[7; 32]).group_id();
        let [former, member, device] = [1, 2, 3].map(|n| DeviceKey::from_seed(&[n; 32]));
        let kem = DeviceKem::from_bytes(&[3; 32]);
        let profile = Profile::new("copy", "test", "app").expect("a short app id");
        let copied = Copied { from: Seq::new(2), through: Seq::new(1), offered: Seq::START, said: Seq::START };
        let read = |entry: &[u8]| match Entry::read(&group, entry) {
            Ok(Entry::Joined(joined)) => joined,
            other => panic!("{other:?}"),
        };
        let entry = copied.admit(&group, (&former, &device, &kem), &profile, 1, &[]);
        assert_eq!(read(&entry).copied, Some(copied));
        assert_eq!(copied.count(), 0);

        // Another member, or other places, and it is a device that somebody let in.
        let request = read(&entry).request;
        let welcomed = |inviter: &DeviceKey, copied: &Copied| {
            let Copied { from, through, offered, said } = *copied;
            let (inviter_id, heads) = (inviter.device_id(), in_welcome(&[]));
            let welcome = CopyWelcome { inviter: inviter_id, joined_at_ms: 1, heads, from, through, offered, said };
            read(&request.welcomed(&group, inviter, encode(&welcome)))
        };
        assert_eq!(welcomed(&former, &copied).copied, Some(copied));
        assert_eq!(welcomed(&member, &copied).copied, None);
        assert_eq!(welcomed(&former, &Copied { through: Seq::new(9), ..copied }).copied, None);
        let plain = read(&request.admit(&group, &former, 1, &[]));
        assert_eq!((plain.copied, plain.inviter), (None, former.device_id()));
    }
}
