//! Recovery kits: made on a device, printed by a person, and used where there is no device any more.
//!
//! sync-core decides what a kit is and how one leads back into its group ([`sync_core::kit`]); here its relays are asked
//! in turn, and what comes of it is entered as after a pairing.

mod page;
mod recover;

use std::{fmt, path::Path};

use sync_core::{
    Input,
    kit::{Kit, KitCode, KitError, KitSeed},
};
use sync_types::{DeviceId, ErrorCode, GroupId};
use zeroize::Zeroizing;

use crate::{
    client::SyncClient,
    error::ClientError,
    pairing,
    qr::{self, TooLongForQr},
    random::rng,
    store::{Backup, Place},
};

/// What is read of a backup at a time.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// A kit that was just made. Nobody can make the same one again: what is not printed or written down now is gone.
///
/// Whoever has both its text and its code gets in; one without the other is of no use to anybody.
pub struct RecoveryKit {
    device_id: DeviceId,
    app_id: String,
    text: Zeroizing<String>,
    code: KitCode,
}

impl RecoveryKit {
    /// Which member of the group it is: what takes it out again is [`SyncClient::remove_device`].
    pub fn device_id(&self) -> DeviceId {
        self.device_id
    }

    /// What is on the page, in one line: to copy, or to draw.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX`: what opens the page. It is on none, to be kept elsewhere.
    pub fn code(&self) -> Zeroizing<String> {
        self.code.to_text()
    }

    /// The text as a picture for a camera, see [`qr::svg`].
    ///
    /// # Errors
    /// [`TooLongForQr`].
    pub fn qr_svg(&self) -> Result<String, TooLongForQr> {
        qr::svg(&self.text)
    }

    /// The page to print, a whole HTML document that needs nothing else: the text, the picture, and what to do with them.
    pub fn page(&self) -> Zeroizing<String> {
        page::html(self)
    }
}

impl fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKit({:?})", self.device_id)
    }
}

impl SyncClient {
    /// Makes a recovery kit: a page and a code with which a person gets back into the group who has lost every device. A
    /// profile without a group starts one first.
    ///
    /// The kit is a member from now on, see [`crate::Device::kit`]: whatever keys the group gets are sealed to it, and
    /// removing it revokes it. It returns when that is safe here, and works once a relay has it: [`Self::sync`] tells.
    ///
    /// # Errors
    /// `group_too_large`, `removed`, `stale_key`, `identity_reused`, `local_storage`, `keychain_unavailable`, `closed`.
    pub async fn export_kit(&self) -> Result<RecoveryKit, ClientError> {
        let group = self.ensure_group().await?;
        let app_id = self.inner.profile.app_id.clone();
        let seed = KitSeed::generate(&mut rng());
        let inviter = group.device_id();
        let request = seed.request(&group.group_id, &inviter, &app_id);
        let request = request.ok_or(ClientError::Refused(ErrorCode::Internal))?;
        let device_id = request.device;
        group.decide(Input::Admit { request }).await?;
        let roster = group.roster(self.inner.store.load().await?.roster)?;
        let relays: Vec<_> = self.inner.store.addresses().await?.into_iter().map(|row| row.address).collect();
        // It signed for the device that was to let it in; that may have become another one just then.
        let is_kit = roster.member(&device_id).is_some_and(|member| member.is_kit);
        let kit = Kit::new(seed, &group.keys(), &roster, &relays).filter(|_| is_kit);
        let kit = kit.ok_or(ClientError::Refused(ErrorCode::IdentityReused))?;
        let code = KitCode::generate(&mut rng());
        Ok(RecoveryKit { device_id, app_id, text: kit.seal(&code), code })
    }

    /// Gets back into a group with a kit: the text of its page, typed, pasted or scanned, and its code. Asks the relays
    /// that the kit names and those of this profile. This device becomes a member of its own, under its own name; the kit
    /// stays what it is, so make a new one and remove this one.
    ///
    /// What ends it in the middle leaves nothing behind; it is begun again.
    ///
    /// # Errors
    /// `invalid_kit`, `invalid_kit_code`, `wrong_kit_code`, `kit_too_new`, `other_app`, `removed` if somebody removed the
    /// kit, `kit_unknown` if no relay that answers has the group with the kit in it, `stale_key`, `offline`,
    /// `group_too_large`, `already_in_group`, `local_storage`, `keychain_unavailable`, `closed`.
    pub async fn import_kit(&self, text: &str, code: &str) -> Result<(GroupId, DeviceId), ClientError> {
        match self.in_group() {
            Err(ClientError::NoGroup) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(ClientError::AlreadyInGroup),
        }
        let kit = opened(text, code)?;
        let membership = recover::run(self, kit, None).await?;
        let group = pairing::enter(self, membership).await?;
        Ok((group.group_id, group.device_id()))
    }

    /// The same with a copy of the folder of one of the group's devices, of which no keys are needed: who belongs to the group,
    /// and everybody's blobs, are read out of that, so it takes no relay that still has any of it. Relays are asked
    /// all the same, and one that knows of the kit's removal is enough. They are given what they lack of what the copy held.
    ///
    /// The copy is not written to. It has to have been made after the kit was. What it holds counts for what it would count
    /// for had a relay shown it. If this ends in the middle, it is called again, and goes on.
    ///
    /// # Errors
    /// As [`Self::import_kit`], where `kit_unknown` is said of the copy as well; `invalid_argument` if there is no profile of the
    /// kit's group in the folder, `store_corrupt` and `store_too_new` of what is there; `already_in_group` in another group than the kit's.
    pub async fn import_kit_with_backup(
        &self,
        text: &str,
        code: &str,
        folder: &Path,
    ) -> Result<(GroupId, DeviceId), ClientError> {
        let kit = opened(text, code)?;
        self.not_closed()?;
        let mut backup = Backup::open(folder, &self.inner.dir).await?;
        let imported = self.import_from(kit, &mut backup).await;
        backup.close().await;
        imported
    }

    async fn import_from(&self, kit: Kit, backup: &mut Backup) -> Result<(GroupId, DeviceId), ClientError> {
        if backup.group().await? != Some(kit.group_id()) {
            return Err(ClientError::InvalidArgument("the backup is of another group than the recovery kit"));
        }
        let group = match self.in_group() {
            Err(ClientError::NoGroup) => {
                let membership = recover::run(self, kit, Some(backup)).await?;
                pairing::enter(self, membership).await?
            }
            Ok(group) if group.group_id == kit.group_id() => group,
            Ok(_) => return Err(ClientError::AlreadyInGroup),
            Err(error) => return Err(error),
        };
        let mut place = Place::START;
        while place != Place::End {
            let (envelopes, next) = backup.envelopes(place, CHUNK_BYTES).await?;
            group.decide(Input::TakeBackup { envelopes, last: next == Place::End }).await?;
            place = next;
        }
        Ok((group.group_id, group.device_id()))
    }
}

fn opened(text: &str, code: &str) -> Result<Kit, ClientError> {
    let refused = |error: KitError| ClientError::Refused(error.code());
    Kit::check(text).map_err(refused)?;
    let code: KitCode = code.parse().map_err(refused)?;
    Kit::open(text, &code).map_err(refused)
}
