//! The side that invites.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use sync_core::{
    Input,
    pairing::{Creator, Grant, PairingAction, Place},
    roster::{self, JoinRequest},
};
use sync_types::{
    ErrorCode, InviteCode, InviteLink, Seq,
    invite::MailboxName,
    limits::{INVITE_TTL, MEMBERS_MAX},
    mailbox::Token,
};
use tokio::sync::mpsc;

use super::{
    Inbox, InviteEvent,
    room::Room,
    rooms::{Own, Rooms},
    unix_s_in,
};
use crate::{
    client::{InGroup, SyncClient},
    error::ClientError,
    mailbox::{Door, Farewell, MailboxError, Mailboxes, OwnMailbox},
    random::{random, rng},
    resolve::RelayAddr,
};

/// Mailboxes tried before giving up. A second one is needed once in 2⁴⁰ per invite that is open.
const NAMES_MAX: usize = 4;

type Action = PairingAction<JoinRequest>;

/// Runs one invite to its end, which is the last event.
pub(super) async fn run(
    client: SyncClient,
    mut inbox: Inbox,
    tell: &mpsc::Sender<InviteEvent>,
) -> Result<InviteEvent, ClientError> {
    let group = client.ensure_group().await?;
    if client.status().removed {
        return Err(ClientError::Refused(ErrorCode::Removed));
    }
    let devices = client.devices().await?;
    if devices.len() >= MEMBERS_MAX {
        return Err(ClientError::Refused(ErrorCode::GroupTooLarge));
    }
    // By the name it has now: the joiner's person reads it beside the digits.
    let this = devices.iter().find(|device| device.this);
    let described = client.in_roster(this.map(|device| device.name.as_str()))?;
    let (creator, actions, mut rooms) = open(&client, &group, &described, &inbox, tell).await?;
    let ended = converse(&client, &group, creator, actions, &mut rooms, &mut inbox, tell).await;
    if ended.is_err() {
        rooms.burn().await;
    }
    rooms.leave(matches!(ended, Ok(InviteEvent::Joined { .. }))).await;
    ended
}

/// An invite that nobody knows of yet.
struct Draft {
    creator: Creator,
    actions: VecDeque<Action>,
    code: InviteCode,
    link: InviteLink,
    opener: (MailboxName, Token),
    message: Bytes,
}

impl Draft {
    fn new(group: &InGroup, described: &roster::Profile) -> Self {
        let mailbox = MailboxName::from_random(random());
        let code = InviteCode::new(mailbox, random());
        let link = InviteLink::new(mailbox, random());
        let (creator, actions) = Creator::start(group.group_id, described, &code, &link, &mut rng());
        let mut actions = VecDeque::from(actions);
        let Some(Action::Create { name, message }) = actions.pop_front() else {
            unreachable!("an invite begins with its mailbox")
        };
        Self { creator, actions, code, link, opener: (name, Token::from_bytes(random())), message }
    }
}

/// A mailbox that a relay has opened, and for how long.
struct OnRelay {
    address: RelayAddr,
    mailboxes: Mailboxes,
    lifetime: Duration,
}

/// Opens the invite's mailboxes, on the first relay that has one and on this device itself, and tells the code and the
/// link. A code leads to a relay, a link to either.
async fn open(
    client: &SyncClient,
    group: &InGroup,
    described: &roster::Profile,
    inbox: &Inbox,
    tell: &mpsc::Sender<InviteEvent>,
) -> Result<(Creator, VecDeque<Action>, Rooms), ClientError> {
    let mut relays = client.mailboxes(&[]).await?;
    let (door, (draft, opened)) = tokio::join!(Door::make(), open_on_one(&mut relays, group, described));
    for (_, unused) in relays {
        unused.close().await;
    }
    let on_relay = match opened {
        Ok(on_relay) => Some(on_relay),
        Err(MailboxError::Unreachable) if door.is_some() => None,
        Err(error) => {
            if let Some(door) = door {
                door.close(Farewell::None).await;
            }
            return Err(error.into());
        }
    };
    let Draft { creator, actions, code, mut link, opener, message } = draft;
    let lifetime = on_relay.as_ref().map_or(INVITE_TTL, |on_relay| on_relay.lifetime);
    let code = on_relay.is_some().then_some(code);
    let room = |mailboxes| Room::new(mailboxes, opener, lifetime, inbox.messages.clone());
    let (mut rooms, mut own) = (Vec::new(), None);
    if let Some(mut door) = door {
        link = link.with_direct(door.place().clone());
        let elsewhere = on_relay.as_ref().map(|on_relay| Mailboxes::at(&on_relay.address, &client.inner.http));
        let mailbox = Arc::new(OwnMailbox::open(opener, message, elsewhere)?);
        door.open(Arc::clone(&mailbox));
        rooms.push(room(Mailboxes::Own(Arc::clone(&mailbox))));
        own = Some(Own { door, mailbox });
    }
    if let Some(OnRelay { address, mailboxes, .. }) = on_relay {
        link = link.with_relays(vec![address.to_string()]);
        rooms.push(room(mailboxes));
    }
    // Nobody may be listening; the session then declines by itself.
    let _ = tell.send(InviteEvent::Invite { code, link, expires_at_s: unix_s_in(lifetime) }).await;
    Ok((creator, actions, Rooms::new(rooms, own)))
}

/// Takes the relay that has one out of the list.
async fn open_on_one(
    relays: &mut Vec<(RelayAddr, Mailboxes)>,
    group: &InGroup,
    described: &roster::Profile,
) -> (Draft, Result<OnRelay, MailboxError>) {
    let mut last = MailboxError::Unreachable;
    let mut draft = Draft::new(group, described);
    for _ in 0..NAMES_MAX {
        let (name, token) = draft.opener;
        for place in 0..relays.len() {
            match relays[place].1.create(name, token, draft.message.clone()).await {
                Ok(lifetime) => {
                    let (address, mailboxes) = relays.swap_remove(place);
                    return (draft, Ok(OnRelay { address, mailboxes, lifetime }));
                }
                Err(error) => last = last.or_worse(error),
            }
        }
        if !matches!(last, MailboxError::Refused { code: ErrorCode::InviteNameTaken, .. }) {
            break;
        }
        draft = Draft::new(group, described);
    }
    (draft, Err(last))
}

/// Does what the state machine says until it is done, or has failed as it knows how to. An error is one it knows
/// nothing of.
async fn converse(
    client: &SyncClient,
    group: &InGroup,
    mut creator: Creator,
    mut actions: VecDeque<Action>,
    rooms: &mut Rooms,
    inbox: &mut Inbox,
    tell: &mpsc::Sender<InviteEvent>,
) -> Result<InviteEvent, ClientError> {
    let mut joined = None;
    loop {
        let Some(action) = actions.pop_front() else {
            actions.extend(creator.handle(inbox.next(rooms.ends()).await));
            continue;
        };
        match action {
            Action::Create { .. } | Action::Claim { .. } => unreachable!("the mailbox is open already"),
            Action::Post { index, message } => {
                let ends = rooms.ends();
                match inbox.meanwhile(ends, rooms.post(index, message), |input| creator.handle(input)).await {
                    Ok(posted) => actions.extend(posted?.map(|gone| creator.handle(gone)).unwrap_or_default()),
                    Err(instead) => actions = instead.into(),
                }
            }
            Action::Wait { from } => rooms.listen(from).await,
            Action::ShowDigits { digits, name, platform } => {
                // Nobody may be listening; the session then declines by itself.
                let _ = tell.send(InviteEvent::Digits { digits, name, platform }).await;
            }
            Action::Deliver(request) => {
                admit(group, &request).await?;
                joined = Some((request.device, request.profile.name().to_owned()));
                actions.extend(grant(client, group, &mut creator).await?);
            }
            Action::Burn => rooms.burn().await,
            Action::Done => {
                let (device_id, name) = joined.expect("a pairing is done after its outcome was delivered");
                return Ok(InviteEvent::Joined { device_id, name });
            }
            Action::Failed(error) => return Ok(InviteEvent::Failed(ClientError::Refused(error.code()))),
        }
    }
}

/// Enters the joiner in the roster, durably, before it gets any secret.
async fn admit(group: &InGroup, request: &JoinRequest) -> Result<(), ClientError> {
    group.decide(Input::Admit { request: request.clone() }).await
}

async fn grant(client: &SyncClient, group: &InGroup, creator: &mut Creator) -> Result<Vec<Action>, ClientError> {
    let stored = client.inner.store.load().await?;
    let roster = group.roster(stored.roster)?;
    let held = stored.senders.iter().filter(|row| row.seq > Seq::START);
    let frontier: Vec<_> = held.map(|row| Place { sender: row.sender, seq: row.seq, hash: row.hash }).collect();
    let relays: Vec<_> = client.inner.store.addresses().await?.into_iter().map(|row| row.address).collect();
    Ok(creator.grant(Grant { keys: &group.keys(), roster: &roster, frontier: &frontier, relays: &relays }))
}

impl SyncClient {
    /// The mailboxes of these relays, and then of every other that this profile knows, in order of preference.
    pub(super) async fn mailboxes(&self, first: &[String]) -> Result<Vec<(RelayAddr, Mailboxes)>, ClientError> {
        let rows = self.inner.store.addresses().await?;
        let known = rows.iter().map(|row| &row.address);
        let mut relays: Vec<(RelayAddr, Mailboxes)> = Vec::new();
        for address in first.iter().chain(known).filter_map(|address| address.parse().ok()) {
            if relays.iter().all(|(other, _)| *other != address) {
                let mailboxes = Mailboxes::at(&address, &self.inner.http);
                relays.push((address, mailboxes));
            }
        }
        Ok(relays)
    }

    /// How this device presents itself, under the name it was given since or the one it was made with.
    pub(crate) fn in_roster(&self, name: Option<&str>) -> Result<roster::Profile, ClientError> {
        crate::profile::in_roster(name.unwrap_or(&self.inner.profile.name), &self.inner.profile.app_id)
    }
}
