//! Stories of devices that come together without a relay in between, and of those who come two ways at once.

use crate::support::*;
use sync_client::{Badge, InviteEvent, InviteSession, JoinEvent, JoinSession, SyncClient};
use sync_types::{
    ErrorCode, InviteLink,
    invite::{Direct, MailboxName},
};

/// A relay's address at which nobody is.
const NOWHERE: &str = "http://127.0.0.1:1";

/// An invite, and what it says.
async fn invite(creator: &SyncClient) -> (InviteSession, InviteEvent) {
    let mut invite = creator.create_invite().expect("open");
    let event = invite.next().await.expect("an event");
    (invite, event)
}

fn join(joiner: &SyncClient, link: &InviteLink) -> JoinSession {
    joiner.join(&link.to_text(InviteLink::SCHEME)).expect("a link")
}

/// The same invite, made of other parts.
fn made_of(link: &InviteLink, password: [u8; 32], relays: &[String], direct: Option<Direct>) -> InviteLink {
    let made = InviteLink::new(link.mailbox(), password).with_relays(relays.to_vec());
    match direct {
        Some(direct) => made.with_direct(direct),
        None => made,
    }
}

/// The link without its relays: it leads to the device itself or nowhere.
fn only_direct(link: &InviteLink) -> InviteLink {
    made_of(link, *link.password(), &[], link.direct().cloned())
}

fn failure(event: Option<JoinEvent>) -> ErrorCode {
    match event {
        Some(JoinEvent::Failed(error)) => error.code(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_that_know_no_relay_pair_and_are_in_step_once_they_are_told_of_one() {
    trace();
    let relay = TestRelay::start().await;
    let (phone, laptop) = (Device::knowing("phone", &[]).await, Device::knowing("laptop", &[]).await);
    phone.create_group().await.expect("needs no relay");
    assert_eq!(code(phone.create_group().await), ErrorCode::AlreadyInGroup);
    let (session, event) = invite(&phone).await;
    let InviteEvent::Invite { code: None, link, .. } = event else { panic!("{event:?}") };
    both_agree(session, join(&laptop, &link)).await;
    push(&laptop, "from the laptop").await;
    assert_eq!(code(laptop.sync(PATIENCE).await), ErrorCode::Offline);
    assert_eq!(laptop.status().badge, Badge::Offline);

    for device in [&phone, &laptop] {
        device.set_relays(&[relay.url().parse().expect("an address")]).await.expect("is told");
        in_step(device).await;
    }
    holds(&phone, &["from the laptop"]).await;

    laptop.set_relays(&[]).await.expect("is told");
    eventually(async || {
        let badge = laptop.status().badge;
        if badge == Badge::Offline { Ok(()) } else { Err(format!("{badge:?}")) }
    })
    .await;
    assert_eq!(laptop.profile().await.expect("readable").relays, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_pair_without_a_relay_and_are_in_step_once_there_is_one() {
    trace();
    let mut relay = TestRelay::start().await;
    relay.stop().await;
    let (phone, laptop) = (Device::new("phone", &relay.url()).await, Device::new("laptop", NOWHERE).await);
    let (session, event) = invite(&phone).await;
    let InviteEvent::Invite { code: None, link, .. } = event else { panic!("{event:?}") };
    assert!(link.relays().is_empty() && link.direct().is_some());
    both_agree(session, join(&laptop, &link)).await;
    for device in [&phone, &laptop] {
        assert_eq!(device.devices().await.expect("in a group").len(), 2);
    }
    push(&laptop, "from the laptop").await;
    relay.restart().await;
    holds(&phone, &["from the laptop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_whose_device_is_out_of_reach_leads_to_the_relay() {
    trace();
    let relay = TestRelay::start().await;
    let (phone, laptop) = (Device::new("phone", &relay.url()).await, Device::new("laptop", NOWHERE).await);
    let (session, event) = invite(&phone).await;
    let link = link_of(event);
    let direct = link.direct().expect("this machine has an address");
    let elsewhere = Direct { endpoint: direct.endpoint, addresses: vec!["127.0.0.1:9".parse().expect("an address")] };
    let nobody = Direct { endpoint: [0xFF; 32], addresses: direct.addresses.clone() };
    // Nobody can have that key, so nobody is asked.
    let at_nobody = made_of(&link, *link.password(), &[], Some(nobody));
    assert_eq!(failure(join(&laptop, &at_nobody).next().await), ErrorCode::Offline);
    let link = made_of(&link, *link.password(), link.relays(), Some(elsewhere));
    both_agree(session, join(&laptop, &link)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_guess_on_either_way_burns_both() {
    trace();
    let relay = TestRelay::start().await;
    let creator = Device::new("a", &relay.url()).await;
    let (near, far) = (Device::new("near", NOWHERE).await, Device::new("far", &relay.url()).await);

    let (mut session, event) = invite(&creator).await;
    let InviteEvent::Invite { code: Some(code), link, .. } = event else { panic!("{event:?}") };
    let guess = made_of(&link, [0; 32], &[], link.direct().cloned());
    assert_eq!(failure(join(&near, &guess).next().await), ErrorCode::WrongCode);
    let failed = session.next().await;
    assert!(matches!(&failed, Some(InviteEvent::Failed(error)) if error.code() == ErrorCode::WrongCode), "{failed:?}");
    let mut late = far.join(&code.to_text()).expect("a code");
    assert_eq!(failure(late.next().await), ErrorCode::InviteNotFound);

    let (mut session, event) = invite(&creator).await;
    let link = link_of(event);
    let guess = made_of(&link, [0; 32], link.relays(), None);
    assert_eq!(failure(join(&far, &guess).next().await), ErrorCode::WrongCode);
    let failed = session.next().await;
    assert!(matches!(&failed, Some(InviteEvent::Failed(error)) if error.code() == ErrorCode::WrongCode), "{failed:?}");
    assert_eq!(failure(join(&near, &link).next().await), ErrorCode::InviteNotFound);
    assert_eq!(creator.devices().await.expect("in a group").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_first_has_the_invite_whichever_way_they_came() {
    trace();
    let relay = TestRelay::start().await;
    let creator = Device::new("a", &relay.url()).await;
    let (near, far) = (Device::new("near", NOWHERE).await, Device::new("far", &relay.url()).await);

    // Directly first. The relay knows that the invite is taken as soon as the device does.
    let (mut session, event) = invite(&creator).await;
    let InviteEvent::Invite { code: Some(code), link, .. } = event else { panic!("{event:?}") };
    let mut first = join(&near, &only_direct(&link));
    assert!(matches!(first.next().await, Some(JoinEvent::Digits { .. })));
    assert!(matches!(session.next().await, Some(InviteEvent::Digits { .. })));
    let mut second = far.join(&code.to_text()).expect("a code");
    assert_eq!(failure(second.next().await), ErrorCode::InviteClaimed);
    assert_eq!(failure(join(&far, &only_direct(&link)).next().await), ErrorCode::InviteClaimed);
    first.deny().await;
    assert_eq!(failure(first.next().await), ErrorCode::PairingDenied);
    let failed = session.next().await;
    assert!(
        matches!(&failed, Some(InviteEvent::Failed(error)) if error.code() == ErrorCode::PairingDenied),
        "{failed:?}"
    );

    // By the relay first.
    let (mut session, event) = invite(&creator).await;
    let InviteEvent::Invite { code: Some(code), link, .. } = event else { panic!("{event:?}") };
    let mut first = far.join(&code.to_text()).expect("a code");
    assert!(matches!(first.next().await, Some(JoinEvent::Digits { .. })));
    assert_eq!(failure(join(&near, &only_direct(&link)).next().await), ErrorCode::InviteClaimed);
    assert!(matches!(session.next().await, Some(InviteEvent::Digits { .. })));
    first.approve().await;
    session.approve().await;
    assert!(matches!(first.next().await, Some(JoinEvent::Joined { .. })));
    assert!(matches!(session.next().await, Some(InviteEvent::Joined { .. })));
    assert_eq!(creator.devices().await.expect("in a group").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_come_at_once_one_is_let_in() {
    trace();
    let relay = TestRelay::start().await;
    let creator = Device::new("a", &relay.url()).await;
    let (near, far) = (Device::new("near", NOWHERE).await, Device::new("far", &relay.url()).await);
    let (mut session, event) = invite(&creator).await;
    let InviteEvent::Invite { code: Some(code), link, .. } = event else { panic!("{event:?}") };
    let (by_link, by_code) = (join(&near, &only_direct(&link)), far.join(&code.to_text()).expect("a code"));
    let tries = async |mut join: JoinSession| match join.next().await {
        Some(JoinEvent::Digits { .. }) => {
            join.approve().await;
            matches!(join.next().await, Some(JoinEvent::Joined { .. }))
        }
        _ => false,
    };
    let lets_in = async {
        assert!(matches!(session.next().await, Some(InviteEvent::Digits { .. })));
        session.approve().await;
        assert!(matches!(session.next().await, Some(InviteEvent::Joined { .. })));
    };
    let (near_joined, far_joined, ()) = tokio::join!(tries(by_link), tries(by_code), lets_in);
    assert_ne!(near_joined, far_joined, "one, and not both");
    assert_eq!(creator.devices().await.expect("in a group").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_person_may_decline_without_a_relay_and_the_other_is_told() {
    trace();
    let (creator, joiner) = (Device::new("a", NOWHERE).await, Device::new("b", NOWHERE).await);
    for who in ["creator", "joiner", "creator too late"] {
        let (mut session, event) = invite(&creator).await;
        let mut join = join(&joiner, &link_of(event));
        assert!(matches!(join.next().await, Some(JoinEvent::Digits { .. })), "{who}");
        assert!(matches!(session.next().await, Some(InviteEvent::Digits { .. })), "{who}");
        match who {
            "creator" => session.deny().await,
            "joiner" => join.deny().await,
            _ => {
                join.approve().await;
                session.deny().await;
            }
        }
        assert_eq!(failure(join.next().await), ErrorCode::PairingDenied, "{who}");
        let failed = session.next().await;
        assert!(
            matches!(&failed, Some(InviteEvent::Failed(error)) if error.code() == ErrorCode::PairingDenied),
            "{who}: {failed:?}"
        );
        assert_eq!(creator.devices().await.expect("in a group").len(), 1, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_says_nothing_of_the_device_in_its_group() {
    trace();
    let creator = Device::new("a", NOWHERE).await;
    let mut endpoints = Vec::new();
    for _ in 0..2 {
        let (_session, event) = invite(&creator).await;
        endpoints.push(link_of(event).direct().expect("this machine has an address").endpoint);
    }
    let device = creator.device_id().expect("in a group");
    assert!(endpoints[0] != endpoints[1] && !endpoints.contains(device.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_of_another_name_is_not_found_here() {
    trace();
    let (creator, joiner) = (Device::new("a", NOWHERE).await, Device::new("b", NOWHERE).await);
    let (session, event) = invite(&creator).await;
    let link = link_of(event);
    let direct = link.direct().cloned().expect("this machine has an address");
    let other = InviteLink::new(MailboxName::from_random([0; 5]), *link.password()).with_direct(direct);
    assert_eq!(failure(join(&joiner, &other).next().await), ErrorCode::InviteNotFound);
    both_agree(session, join(&joiner, &link)).await;
}
