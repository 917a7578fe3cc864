//! The side that comes.

use std::{collections::VecDeque, sync::Arc};

use sync_core::{
    event::{SenderRow, StoreOp},
    keys::{DeviceKem, DeviceKey},
    pairing::{Joiner, Membership, PairingAction, PairingInput},
    stored::Secrets,
};
use sync_types::{BlobHash, Invite, Seq, limits::RELAYS_MAX, mailbox::Token};
use tokio::sync::mpsc;

use super::{Inbox, JoinEvent, room::Room};
use crate::{
    client::{InGroup, SyncClient},
    error::ClientError,
    mailbox::MailboxError,
    random::{random, rng},
    resolve::RelayAddr,
};

type Action = PairingAction<Box<Membership>>;

/// Runs one attempt to its end, which is the last event.
pub(super) async fn run(
    client: SyncClient,
    invite: Invite,
    mut inbox: Inbox,
    tell: &mpsc::Sender<JoinEvent>,
) -> Result<JoinEvent, ClientError> {
    let described = client.in_roster()?;
    let secrets =
        Secrets { device: DeviceKey::generate(&mut rng()), kem: DeviceKem::generate(&mut rng()), group: None };
    let (joiner, _claim) = Joiner::start(secrets, described, &invite, &mut rng());
    let (mut room, opening) = claim(&client, &invite, &inbox).await?;
    drop(invite);
    let ended = converse(&client, joiner, opening, &mut room, &mut inbox, tell).await;
    if ended.is_err() {
        room.burn().await;
    }
    room.leave().await;
    ended
}

/// Takes the joiner's side of the mailbox, on whichever relay has it.
async fn claim(client: &SyncClient, invite: &Invite, inbox: &Inbox) -> Result<(Room, PairingInput), ClientError> {
    let mut last = MailboxError::Unreachable;
    let (name, named) = match invite {
        Invite::Code(code) => (code.mailbox(), &[][..]),
        Invite::Link(link) => (link.mailbox(), link.relays()),
    };
    for (_, mailboxes) in client.mailboxes(named).await? {
        let token = Token::from_bytes(random());
        match mailboxes.claim(name, token).await {
            Ok((lifetime, bytes)) => {
                let room = Room::new(mailboxes, (name, token), lifetime, inbox.messages.clone());
                return Ok((room, PairingInput::Message { index: 0, bytes }));
            }
            Err(error) => {
                mailboxes.close().await;
                last = last.or_worse(error);
            }
        }
    }
    Err(last.into())
}

/// Does what the state machine says until it is done, or has failed as it knows how to. An error is one it knows
/// nothing of.
async fn converse(
    client: &SyncClient,
    mut joiner: Joiner,
    opening: PairingInput,
    room: &mut Room,
    inbox: &mut Inbox,
    tell: &mpsc::Sender<JoinEvent>,
) -> Result<JoinEvent, ClientError> {
    let mut actions = VecDeque::from(joiner.handle(opening));
    let mut entered = None;
    loop {
        let Some(action) = actions.pop_front() else {
            actions.extend(joiner.handle(inbox.next(room.ends).await));
            continue;
        };
        match action {
            Action::Create { .. } | Action::Claim { .. } => unreachable!("the mailbox is claimed already"),
            Action::Post { index, message } => match room.post(index, message).await {
                Ok(None) => {}
                // The group is entered: that the inviter has not heard of it changes nothing.
                Ok(Some(_)) | Err(_) if entered.is_some() => {
                    tracing::warn!("the inviter could not be told that this device has joined");
                }
                Ok(Some(gone)) => actions.extend(joiner.handle(gone)),
                Err(error) => return Err(error),
            },
            Action::Wait { from } => room.listen(from).await,
            Action::ShowDigits { digits, name, platform } => {
                // Nobody may be listening; the session then declines by itself.
                let _ = tell.send(JoinEvent::Digits { digits, name, platform }).await;
            }
            Action::Deliver(membership) => entered = Some(enter(client, *membership).await?),
            Action::Burn => room.burn().await,
            Action::Done => {
                let group = entered.expect("a pairing is done after its outcome was delivered");
                return Ok(JoinEvent::Joined { group_id: group.group_id, device_id: group.device_id });
            }
            Action::Failed(error) => return Ok(JoinEvent::Failed(ClientError::Refused(error.code()))),
        }
    }
}

/// Becomes a member, durably. What the inviter held is expected from the relays, so that none of them can hide it.
///
/// Roster entries that the grant only named need no place of their own. Each is in an envelope of whoever let that
/// device in; where the inviter holds it, it is within what is expected of that member. From each a chain of such
/// members leads to one whose entry is here, so nothing is called synced before they came or are told to be missing.
async fn enter(client: &SyncClient, membership: Membership) -> Result<Arc<InGroup>, ClientError> {
    let _entering = client.inner.entering.lock().await;
    match client.in_group() {
        Err(ClientError::NoGroup) => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(ClientError::AlreadyInGroup),
    }
    learn_relays(client, &membership.relays).await?;
    let mut ops: Vec<_> = membership.roster.into_iter().map(|entry| StoreOp::Roster { entry }).collect();
    ops.extend(membership.frontier.iter().map(|place| {
        StoreOp::Sender(SenderRow {
            sender: place.sender,
            seq: Seq::START,
            hash: BlobHash::ZERO,
            holes: Vec::new(),
            expected: place.seq,
        })
    }));
    client.enter(membership.secrets, &ops).await
}

/// Adds the relays of the device that invited, so that both meet on all of them. Before the group is entered: a relay
/// too many costs nothing, one too few could leave a device that joined by link alone.
async fn learn_relays(client: &SyncClient, granted: &[String]) -> Result<(), ClientError> {
    let known = client.inner.store.addresses().await?.len();
    let granted = granted.iter().filter_map(|address| address.parse::<RelayAddr>().ok()).map(|relay| relay.to_string());
    let granted: Vec<_> = granted.take(RELAYS_MAX.saturating_sub(known)).collect();
    Ok(client.inner.store.add_addresses(&granted).await?)
}
