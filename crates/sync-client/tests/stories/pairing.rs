//! Stories of devices that come together, or don't.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    double::{Double, Trick},
    support::*,
};
use sync_client::{InviteEvent, JoinEvent, OpenOptions, PushOptions, SecretsChoice, SyncClient};
use sync_types::{ErrorCode, LocalCursor};

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_without_a_group_says_so_and_a_member_joins_no_other() {
    trace();
    let relay = TestRelay::start().await;
    let mut alone = Device::new("alone", &relay.url()).await;
    assert_eq!(code(alone.push("x", PushOptions::default()).await), ErrorCode::NoGroup);
    assert_eq!(code(alone.pull(LocalCursor::START, 1).await), ErrorCode::NoGroup);
    assert_eq!(code(alone.sync(PATIENCE).await), ErrorCode::NoGroup);
    assert_eq!(alone.profile().await.expect("readable").group_id, None);
    alone.close().await;

    let [_phone, laptop] = paired(&relay).await;
    assert_eq!(code(laptop.join("0000-0000-0000-0000")), ErrorCode::AlreadyInGroup);
    alone.reopen().await;
    assert_eq!(code(alone.join("no code")), ErrorCode::InvalidCode);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_password_burns_the_code_on_both_sides() {
    trace();
    let relay = TestRelay::start().await;
    let (creator, joiner) = (Device::new("a", &relay.url()).await, Device::new("b", &relay.url()).await);
    let mut invite = creator.create_invite().expect("open");
    let code_text = code_of(invite.next().await.expect("an event")).to_text();
    let last = if code_text.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &code_text[..code_text.len() - 1]);
    let mut join = joiner.join(&wrong).expect("a code");
    match (invite.next().await, join.next().await) {
        (Some(InviteEvent::Failed(at_creator)), Some(JoinEvent::Failed(at_joiner))) => {
            assert_eq!(at_creator.code(), ErrorCode::WrongCode);
            assert_eq!(at_joiner.code(), ErrorCode::WrongCode);
        }
        other => panic!("{other:?}"),
    }
    let mut again = joiner.join(&code_text).expect("a code");
    match again.next().await {
        Some(JoinEvent::Failed(error)) => assert_eq!(error.code(), ErrorCode::InviteNotFound),
        other => panic!("{other:?}"),
    }
    assert_eq!(code(joiner.device_id()), ErrorCode::NoGroup);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_person_may_decline_and_nothing_is_shared() {
    trace();
    let relay = TestRelay::start().await;
    let (creator, joiner) = (Device::new("a", &relay.url()).await, Device::new("b", &relay.url()).await);
    for who in ["creator", "joiner", "joiner by leaving"] {
        let mut invite = creator.create_invite().expect("open");
        let code_text = code_of(invite.next().await.expect("an event")).to_text();
        let mut join = joiner.join(&code_text).expect("a code");
        assert!(matches!(join.next().await, Some(JoinEvent::Digits { .. })));
        assert!(matches!(invite.next().await, Some(InviteEvent::Digits { .. })));
        match who {
            "creator" => {
                invite.deny().await;
                join.approve().await;
                let failed = join.next().await;
                assert!(
                    matches!(&failed, Some(JoinEvent::Failed(error)) if error.code() == ErrorCode::PairingDenied),
                    "{failed:?}"
                );
            }
            "joiner" => {
                join.deny().await;
                let failed = join.next().await;
                assert!(
                    matches!(&failed, Some(JoinEvent::Failed(error)) if error.code() == ErrorCode::PairingDenied),
                    "{failed:?}"
                );
            }
            _ => drop(join),
        }
        let failed = invite.next().await;
        assert!(
            matches!(&failed, Some(InviteEvent::Failed(error)) if error.code() == ErrorCode::PairingDenied),
            "{who}: {failed:?}"
        );
        assert_eq!(creator.devices().await.expect("in a group").len(), 1, "{who}");
        assert_eq!(code(joiner.device_id()), ErrorCode::NoGroup, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_of_another_app_is_refused() {
    trace();
    let relay = TestRelay::start().await;
    let creator = Device::new("a", &relay.url()).await;
    let joiner = Device::of_app("b", &relay.url(), "org.example.other").await;
    let mut invite = creator.create_invite().expect("open");
    let code_text = code_of(invite.next().await.expect("an event")).to_text();
    let mut join = joiner.join(&code_text).expect("a code");
    match join.next().await {
        Some(JoinEvent::Failed(error)) => assert_eq!(error.code(), ErrorCode::OtherApp),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_relay_means_no_code_and_a_closed_session_frees_the_client() {
    trace();
    let mut relay = TestRelay::start().await;
    let mut creator = Device::new("a", &relay.url()).await;
    let invite = creator.create_invite().expect("open");
    drop(invite);
    relay.stop().await;
    let mut invite = creator.create_invite().expect("open");
    assert!(matches!(invite.next().await, Some(InviteEvent::Invite { code: None, .. })));
    drop(invite);
    creator.close().await;
    // Nothing of the sessions keeps the profile.
    tokio::time::timeout(Duration::from_secs(2), creator.reopen()).await.expect("is free");
}

/// Names that a device tries before it gives up.
const NAMES: usize = 4;

/// A relay on which so many names are taken before one is free, and two devices that know it by its web address or not.
async fn where_names_are_taken(times: usize, by_frames: bool) -> (Double, [Device; 2]) {
    let double = Double::new(0, Trick::Taken(times), 600).await.with_frames().await;
    let address = if by_frames { double.direct() } else { double.url() };
    let devices = [Device::new("a", &address).await, Device::new("b", &address).await];
    (double, devices)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_whose_name_is_taken_is_given_up_for_another_and_so_is_its_code() {
    trace();
    for by_frames in [false, true] {
        for times in [1, NAMES - 1] {
            let (double, [creator, joiner]) = where_names_are_taken(times, by_frames).await;
            let mut invite = creator.create_invite().expect("open");
            let event = invite.next().await.expect("an event");
            let InviteEvent::Invite { code: Some(code), ref link, .. } = event else { panic!("{event:?}") };
            let (opened, taken) = double.names();
            assert_eq!((opened, opened), (Some(code.mailbox()), Some(link.mailbox())), "{times}");
            let names: BTreeSet<_> = taken.iter().copied().chain(opened).collect();
            assert_eq!((taken.len(), names.len()), (times, times + 1), "each another name: {names:?}");
            // What it says is of this mailbox, not of the first one.
            both_agree(invite, joiner.join(&code.to_text()).expect("a code")).await;
            assert_eq!(joiner.group_id().ok(), creator.group_id().ok());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_on_which_every_name_is_taken_is_asked_a_few_times_and_no_more() {
    trace();
    for by_frames in [false, true] {
        let (double, [creator, _]) = where_names_are_taken(usize::MAX, by_frames).await;
        let mut invite = creator.create_invite().expect("open");
        match invite.next().await {
            Some(InviteEvent::Failed(error)) => assert_eq!(error.code(), ErrorCode::InviteNameTaken),
            other => panic!("{other:?}"),
        }
        let (opened, taken) = double.names();
        assert_eq!((opened, taken.len()), (None, NAMES));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_device_is_let_in_by_the_second_and_reads_the_past() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    push(&phone, "before").await;
    holds(&laptop, &["before"]).await;
    let tablet = Device::new("tablet", &relay.direct()).await;
    // The mailbox is opened over HTTP and claimed by frames: there is one store behind both.
    pair(&laptop, &tablet).await;
    push(&tablet, "after").await;
    for device in [&phone, &laptop, &tablet] {
        holds(device, &["before", "after"]).await;
        assert_eq!(device.devices().await.expect("in a group").len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_after_the_relay_lost_everything_reads_what_the_devices_hold() {
    trace();
    let mut relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    push(&phone, "from the phone").await;
    push(&laptop, "from the laptop").await;
    for device in [&phone, &laptop] {
        holds(device, &["from the phone", "from the laptop"]).await;
        in_step(device).await;
    }
    relay.wipe(true).await;
    let tablet = Device::new("tablet", &relay.url()).await;
    pair(&laptop, &tablet).await;
    holds(&tablet, &["from the phone", "from the laptop"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_made_once_used_by_one_and_useless_without_its_keys() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, _laptop] = paired(&relay).await;
    let again = profile_config(phone.dir.path(), "phone", &[&relay.url()], APP);
    assert_eq!(code(SyncClient::init(again.clone()).await), ErrorCode::ProfileInUse);
    assert_eq!(
        code(SyncClient::open(phone.dir.path(), OpenOptions::default()).await.map(drop)),
        ErrorCode::ProfileInUse
    );
    assert_eq!(phone.profile().await.expect("readable").secrets, SecretsChoice::File);
    phone.close().await;
    assert_eq!(code(SyncClient::init(again).await), ErrorCode::ProfileExists);

    std::fs::remove_file(phone.dir.path().join("secrets.key")).expect("is there");
    assert_eq!(code(SyncClient::open(phone.dir.path(), OpenOptions::default()).await.map(drop)), ErrorCode::KeyMissing);
    let nowhere = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(code(SyncClient::open(nowhere.path(), OpenOptions::default()).await.map(drop)), ErrorCode::NoProfile);
    std::fs::write(phone.dir.path().join("profile.db"), [1; 9_000]).expect("writable");
    assert_eq!(
        code(SyncClient::open(phone.dir.path(), OpenOptions::default()).await.map(drop)),
        ErrorCode::StoreCorrupt
    );
}
