//! The side that comes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use sync_core::{
    event::{SenderRow, StoreOp},
    keys::{DeviceKem, DeviceKey},
    pairing::{Joiner, Membership, PairingAction, PairingInput},
    stored::Secrets,
};
use sync_types::{BlobHash, ErrorCode, Invite, Seq, invite::MailboxName, limits::RELAYS_MAX, mailbox::Token};
use tokio::{sync::mpsc, time::timeout};

use super::{Inbox, JoinEvent, room::Room};
use crate::{
    client::{InGroup, SyncClient},
    error::ClientError,
    mailbox::{MailboxError, Mailboxes},
    random::{random, rng},
    resolve::RelayAddr,
    transport::CONNECT_TIMEOUT,
};

/// How long to look for the device that invites before the relays are asked: one lost packet, and no more.
const DIRECT_MAX: Duration = Duration::from_millis(1_500);
/// How long to try to tell the inviter that all is well.
const LAST_WORD_MAX: Duration = Duration::from_secs(15);
/// How often to look again, longer, where no relay has the invite.
const DIRECT_AGAIN: usize = 3;

type Action = PairingAction<Box<Membership>>;

/// Runs one attempt to its end, which is the last event.
pub(super) async fn run(
    client: SyncClient,
    invite: Invite,
    mut inbox: Inbox,
    tell: &mpsc::Sender<JoinEvent>,
) -> Result<JoinEvent, ClientError> {
    let described = client.in_roster(None)?;
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

/// Takes the joiner's side of the mailbox: on the device that invites, if the link leads there, or on whichever relay has
/// it.
///
/// That device knows for sure, so what it says counts. If it can't be reached at once it may be elsewhere, or a packet
/// was lost: it is tried again when nobody else has the invite.
async fn claim(client: &SyncClient, invite: &Invite, inbox: &Inbox) -> Result<(Room, PairingInput), ClientError> {
    let (name, place, named) = match invite {
        Invite::Code(code) => (code.mailbox(), None, &[][..]),
        Invite::Link(link) => (link.mailbox(), link.direct(), link.relays()),
    };
    // One for all ways: where both lead to the same mailbox in the end, this is the same joiner.
    let side = (name, Token::from_bytes(random()));
    let direct = |connect_max| place.and_then(|place| Mailboxes::direct(place, connect_max));
    match claim_at(direct(DIRECT_MAX), side, inbox).await {
        Err(MailboxError::Unreachable) => {}
        decided => return Ok(decided?),
    }
    let mut last = MailboxError::Unreachable;
    for (_, mailboxes) in client.mailboxes(named).await? {
        match claim_at(Some(mailboxes), side, inbox).await {
            Ok(claimed) => return Ok(claimed),
            Err(error) => last = last.or_worse(error),
        }
    }
    // A relay that the link names and that doesn't have it says that it was used.
    let perhaps_there = match last {
        MailboxError::Unreachable => true,
        MailboxError::Refused { code, retry_after: _ } => code == ErrorCode::InviteNotFound && named.is_empty(),
    };
    for _ in 0..DIRECT_AGAIN {
        if place.is_none() || !perhaps_there {
            break;
        }
        match claim_at(direct(CONNECT_TIMEOUT), side, inbox).await {
            Err(MailboxError::Unreachable) => {}
            decided => return Ok(decided?),
        }
    }
    Err(last.into())
}

/// The same in one place, if there is one.
async fn claim_at(
    mailboxes: Option<Mailboxes>,
    (name, token): (MailboxName, Token),
    inbox: &Inbox,
) -> Result<(Room, PairingInput), MailboxError> {
    let mailboxes = mailboxes.ok_or(MailboxError::Unreachable)?;
    match mailboxes.claim(name, token).await {
        Ok((lifetime, bytes)) => {
            let room = Room::new(mailboxes, (name, token), lifetime, inbox.messages.clone());
            Ok((room, PairingInput::Message { index: 0, bytes }))
        }
        Err(error) => {
            mailboxes.close().await;
            Err(error)
        }
    }
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
            // The group is entered: that the inviter has not heard of it changes nothing.
            Action::Post { index, message } if entered.is_some() => {
                let told = timeout(LAST_WORD_MAX, room.post(index, message)).await;
                if !matches!(told, Ok(Ok(None))) {
                    tracing::warn!("the inviter could not be told that this device has joined");
                }
                if matches!(told, Ok(Err(_))) {
                    // So that it doesn't wait for a word that the relay won't take.
                    room.burn().await;
                }
            }
            Action::Post { index, message } => {
                let ends = room.ends;
                match inbox.meanwhile(ends, room.post(index, message), |input| joiner.handle(input)).await {
                    Ok(posted) => actions.extend(posted?.map(|gone| joiner.handle(gone)).unwrap_or_default()),
                    Err(instead) => actions = instead.into(),
                }
            }
            Action::Wait { from } => room.listen(from).await,
            Action::ShowDigits { digits, name, platform } => {
                // Nobody may be listening; the session then declines by itself.
                let _ = tell.send(JoinEvent::Digits { digits, name, platform }).await;
            }
            Action::Deliver(membership) => entered = Some(enter(client, *membership).await?),
            Action::Burn => room.burn().await,
            Action::Done => {
                let group = entered.expect("a pairing is done after its outcome was delivered");
                return Ok(JoinEvent::Joined { group_id: group.group_id, device_id: group.device_id() });
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
pub(crate) async fn enter(client: &SyncClient, membership: Membership) -> Result<Arc<InGroup>, ClientError> {
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
