//! Pairing, as two people and whoever is in between see it.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_core::{
    keys::EpochSecret,
    pairing::{PairingAction, PairingError, PairingInput},
    roster::{Change, Profile, Roster},
    seal::{Draft, Verifier, open, seal},
};
use sync_types::{BlobHash, ErrorCode, InviteLink, Kind, PushId, Seq};

use crate::couple::{APP, Answer, CODE, End, Host, Story, join, laptop, link, rng};

mod couple;

const CREATOR: usize = 0;
const JOINER: usize = 1;

fn both(error: PairingError) -> [Option<Result<(), PairingError>>; 2] {
    [Some(Err(error)); 2]
}

fn honest() -> End {
    Story::default().play(&mut Host::found(1), 10)
}

#[test]
fn the_same_code_on_two_devices_makes_them_one_group() {
    makes_one_group(CODE);
}

#[test]
fn so_does_the_link() {
    makes_one_group(&link().to_text(InviteLink::SCHEME));
}

fn makes_one_group(typed: &str) {
    let mut host = Host::found(1);
    let end = Story { typed, ..Story::default() }.play(&mut host, 10);
    assert_eq!(end.results, [Some(Ok(())); 2]);
    assert!(end.burnt);
    assert_eq!(end.messages.len(), 8);

    let [creator_saw, joiner_saw] = end.shown.map(|shown| shown.expect("digits"));
    assert_eq!(creator_saw.digits, joiner_saw.digits);
    assert!(creator_saw.digits.len() == 6 && creator_saw.digits.bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!((creator_saw.name.as_str(), creator_saw.platform.as_str()), ("laptop", "android"));
    assert_eq!((joiner_saw.name.as_str(), joiner_saw.platform.as_str()), ("host", "linux"));

    let membership = end.membership.expect("joined");
    let (keys, device) = (membership.secrets.group.expect("has a group now"), membership.secrets.device);
    assert_eq!(Some(device.device_id()), end.admitted);
    assert_eq!(keys.group_id(), host.keys().group_id());
    let mut roster = Roster::new(keys.group_id());
    for entry in membership.roster {
        assert!(matches!(roster.apply(entry), Ok(Change::Added(_))));
    }
    assert_eq!(roster.head(), host.roster.head());
    assert_eq!(membership.missing, []);
    assert_eq!((&membership.frontier, &membership.relays), (&host.frontier, &host.relays));

    let draft = Draft {
        kind: Kind::Data,
        ttl_s: 0,
        seq: Seq::new(1),
        prev: BlobHash::ZERO,
        push_id: PushId::from_bytes([1; 16]),
        time_ms: 0,
        payload: Bytes::from_static(b"hello"),
        compress: false,
    };
    let envelope = seal(&keys, &device, draft, &mut rng(5));
    assert_eq!(open(host.keys(), &envelope).expect("opens").payload, b"hello"[..]);
    assert!(Verifier::default().verify(&keys.group_id(), &envelope));
}

#[test]
fn all_epochs_are_handed_over_in_as_many_messages_as_it_takes() {
    let mut host = Host::found(1);
    for number in 1..1_000 {
        let secret = EpochSecret::generate(&mut rng(1_000 + u64::from(number)));
        assert!(host.secrets.group.as_mut().is_some_and(|keys| keys.insert(number, secret)));
    }
    let end = Story::default().play(&mut host, 10);
    assert_eq!((end.results, end.messages.len()), ([Some(Ok(())); 2], 12));
    let keys = end.membership.and_then(|membership| membership.secrets.group).expect("joined");
    assert_eq!(keys.epochs().len(), 1_000);
    assert_eq!(keys.current().key_id(), host.keys().current().key_id());
}

#[test]
fn a_wrong_password_is_one_guess_and_no_more() {
    let end = Story { typed: "ABCD-EFGH-JKMN-PQRT", ..Story::default() }.play(&mut Host::found(1), 10);
    assert_eq!(end.results, both(PairingError::WrongCode));
    assert!(end.burnt && end.messages.len() == 2);
    assert_eq!(end.shown, [None, None]);
    end.assert_nothing_was_shared();
}

#[test]
fn a_no_on_either_side_shares_nothing() {
    for (creator_says, joiner_says) in [
        (Answer::No, Answer::Yes),
        (Answer::Yes, Answer::No),
        (Answer::No, Answer::No),
        (Answer::LateNo, Answer::Yes),
        (Answer::YesThenNo, Answer::Yes),
        (Answer::LateNo, Answer::YesThenNo),
        (Answer::Silence, Answer::YesThenNo),
    ] {
        let end = Story::answered(creator_says, joiner_says).play(&mut Host::found(1), 10);
        let story = format!("{creator_says:?} {joiner_says:?}");
        assert_eq!(end.results, both(PairingError::Denied), "{story}");
        end.assert_nothing_was_shared();
        assert!(end.burnt, "{story}");
    }
}

#[test]
fn another_app_is_told_apart_from_a_wrong_code() {
    let joiner = Profile::new("laptop", "android", "org.example.tasks").expect("a short app id");
    let end = Story { joiner, ..Story::default() }.play(&mut Host::found(1), 10);
    assert_eq!(end.results, both(PairingError::OtherApp));
    assert!(end.burnt);
    assert_eq!(end.shown, [None, None]);
    end.assert_nothing_was_shared();
}

/// Changes to a message, given all before it: each must end the pairing on the side that reads it.
fn alterations(before: &[Bytes], message: &Bytes) -> Vec<(String, Bytes)> {
    let mut altered = Vec::new();
    let step = (message.len() / 40).max(1);
    for at in (0..message.len()).step_by(step).chain([message.len() - 1]) {
        let mut bytes = message.to_vec();
        bytes[at] ^= 0x40;
        altered.push((format!("byte {at} changed"), bytes.into()));
    }
    for len in [0, 1, message.len() / 2, message.len() - 1] {
        altered.push((format!("cut to {len}"), message.slice(..len)));
    }
    altered.push(("longer".into(), [&message[..], &[0]].concat().into()));
    for (index, earlier) in before.iter().enumerate() {
        altered.push((format!("message {index} again"), earlier.clone()));
    }
    altered
}

#[test]
fn a_message_that_is_not_the_other_sides_next_ends_it() {
    let honest = honest().messages;
    for (index, message) in honest.iter().enumerate() {
        for (what, bytes) in alterations(&honest[..index], message) {
            let story = format!("message {index}: {what}");
            let replace = |before: &[Bytes], message| if before.len() == index { bytes.clone() } else { message };
            let end = Story::between(replace).play(&mut Host::found(1), 10);
            let reader = end.results[if index % 2 == 0 { JOINER } else { CREATOR }];
            assert!(matches!(reader, Some(Err(_))), "{story}: {reader:?}");
            assert!(end.burnt, "{story}");
            // Both people have agreed by message 6, and message 7 only says that the joiner has it all.
            assert_eq!(end.admitted.is_some(), index >= 6, "{story}");
            assert_eq!(end.membership.is_some(), index == 7, "{story}");
            assert!(index >= 5 || end.shown.iter().any(Option::is_none), "{story}");
        }
    }
}

#[test]
fn messages_of_another_pairing_with_the_same_code_do_not_fit() {
    let other = Story::default().play(&mut Host::found(2), 20).messages;
    for (index, bytes) in other.iter().enumerate() {
        let replace = |before: &[Bytes], message| if before.len() == index { bytes.clone() } else { message };
        let end = Story::between(replace).play(&mut Host::found(1), 10);
        assert!(matches!(end.results[CREATOR], Some(Err(_))), "message {index}");
        assert_eq!(end.membership.is_some(), index == 7, "message {index}");
    }
}

#[test]
fn out_of_turn_and_out_of_order_messages_end_it() {
    let (host, honest) = (Host::found(1), honest().messages);
    let message = |index, bytes: &Bytes| PairingInput::Message { index, bytes: bytes.clone() };
    for index in [0, 2, 3, 5, 7, 200, 255] {
        let (mut creator, _) = host.invite(10);
        let actions = creator.handle(message(index, &honest[1]));
        assert!(matches!(actions[..], [PairingAction::Burn, PairingAction::Failed(PairingError::Broken)]), "{index}");
    }
    for index in [1, 2, 4, 6, 255] {
        let (mut joiner, _) = join(CODE, laptop(), 11);
        let actions = joiner.handle(message(index, &honest[0]));
        assert!(matches!(actions[..], [PairingAction::Burn, PairingAction::Failed(PairingError::Broken)]), "{index}");
    }
}

#[test]
fn approving_or_granting_before_its_time_does_nothing() {
    let host = Host::found(1);
    let (mut creator, _) = host.invite(10);
    assert!(creator.handle(PairingInput::Approve).is_empty());
    assert!(creator.grant(host.grant()).is_empty());
    let answer = PairingInput::Message { index: 1, bytes: honest().messages[1].clone() };
    let actions = creator.handle(answer);
    assert!(matches!(actions[..], [PairingAction::Post { index: 2, .. }, PairingAction::Wait { from: 3 }]));
}

/// Someone who has the code stands between the two and talks to each as the other.
#[test]
fn someone_in_between_who_has_the_code_shows_at_the_digits() {
    for seed in [100, 200, 300] {
        // Joins the host as "laptop", and lets the real laptop into a group of its own as "host".
        let silence = || Story::answered(Answer::Silence, Answer::Silence);
        let [host_saw, _] = silence().play(&mut Host::found(1), seed).shown.map(|shown| shown.expect("digits"));
        let [_, laptop_saw] = silence().play(&mut Host::found(66), seed + 50).shown.map(|shown| shown.expect("digits"));
        assert_eq!((host_saw.name.as_str(), laptop_saw.name.as_str()), ("laptop", "host"), "it looks right");
        assert_ne!(host_saw.digits, laptop_saw.digits, "but for these");
    }
}

#[test]
fn time_runs_out_at_any_point() {
    let (host, honest) = (Host::found(1), honest().messages);
    let message = |index: usize| PairingInput::Message {
        index: u8::try_from(index).expect("a few"),
        bytes: honest[index].clone(),
    };
    for stop in 0..=2 {
        let (mut creator, _) = host.invite(10);
        let (mut joiner, _) = join(CODE, laptop(), 11);
        for round in 0..stop {
            joiner.handle(message(2 * round));
            creator.handle(message(2 * round + 1));
        }
        let over = creator.handle(PairingInput::Expired);
        assert!(matches!(over[..], [PairingAction::Burn, PairingAction::Failed(PairingError::Expired)]), "{stop}");
        let over = joiner.handle(PairingInput::Expired);
        assert!(matches!(over[..], [PairingAction::Burn, PairingAction::Failed(PairingError::Expired)]), "{stop}");
    }
}

#[test]
fn a_name_made_to_deceive_is_shown_as_what_it_is() {
    let joiner = Profile::new("laptop\u{202e}\n\u{1b}[2J 123456", "android", APP).expect("a short app id");
    let end = Story { joiner, ..Story::default() }.play(&mut Host::found(1), 10);
    assert_eq!(end.shown[CREATOR].as_ref().map(|shown| shown.name.as_str()), Some("laptop [2J 123456"));
}

#[test]
fn nothing_that_is_printed_tells_anything() {
    let (mut creator, mut actions) = Host::found(1).invite(10);
    let honest = honest().messages;
    let inputs = [(1, &honest[1]), (3, &honest[3])];
    for (index, bytes) in inputs {
        actions.extend(creator.handle(PairingInput::Message { index, bytes: bytes.clone() }));
    }
    let input = PairingInput::Message { index: 1, bytes: honest[1].clone() };
    assert_eq!(
        format!("{actions:?} {input:?}"),
        "[Create(99 bytes), Wait(1), Post(2, 1319 bytes), Wait(3), Post(4, 64 bytes), ShowDigits(..), Wait(5)] \
         Message(1, 99 bytes)"
    );
}

#[test]
fn every_error_has_a_code_of_its_own() {
    let codes: BTreeSet<_> = PairingError::ALL.iter().map(|error| error.code()).collect();
    assert_eq!(codes.len(), PairingError::ALL.len());
    assert_eq!(PairingError::Broken.code(), ErrorCode::PairingFailed);
}
