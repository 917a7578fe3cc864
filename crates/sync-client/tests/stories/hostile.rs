//! Stories of a relay that does to a pairing's messages whatever it can, with people who say yes to everything.
//!
//! A pairing by code has eight messages; see PROTOCOL.md. Both people agree after the fifth and before the seventh. From
//! there on the joiner is in the roster, where all can see it, and has nothing; with the seventh it has everything, and
//! the eighth only tells the other side so.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use sync_client::{Digits, InviteEvent, InviteSession, JoinEvent, JoinSession, SyncClient};
use sync_core::pairing::hostile::{self, Middle, Weakness, weakened};
use sync_types::{ErrorCode, InviteCode};
use tokio::{task::LocalSet, time::timeout};

use crate::{
    double::{Double, Trick},
    support::*,
};

const MESSAGES: u8 = 8;
/// The first part of the grant, which is all of it in a small group.
const GRANT: u8 = 6;
/// The joiner's last word.
const STORED: u8 = 7;
/// Of an invite that nobody ends before its time.
const LONG_S: u32 = 600;
/// Of one that ends by itself while a test waits, and not before the honest part of it is over.
const SHORT_S: u32 = 15;
/// Longer than anything here should take, and far shorter than an invite that is not short.
const HANGS: Duration = Duration::from_secs(60);

/// How a pairing ended on one side.
type End = Result<(), ErrorCode>;

/// How it ended: on the side that invites, on the side that came, and with which code.
#[derive(Debug)]
struct Ended {
    creator: End,
    joiner: End,
    code: String,
}

async fn agreeing_creator(mut invite: InviteSession) -> End {
    loop {
        match invite.next().await {
            Some(InviteEvent::Digits { .. }) => invite.approve().await,
            Some(InviteEvent::Joined { .. }) => return Ok(()),
            Some(InviteEvent::Failed(error)) => return Err(error.code()),
            other => panic!("{other:?}"),
        }
    }
}

async fn agreeing_joiner(mut join: JoinSession) -> End {
    loop {
        match join.next().await {
            Some(JoinEvent::Digits { .. }) => join.approve().await,
            Some(JoinEvent::Joined { .. }) => return Ok(()),
            Some(JoinEvent::Failed(error)) => return Err(error.code()),
            None => panic!("ended without a word"),
        }
    }
}

/// Two people who agree to whatever they see.
async fn pair_blindly(creator: &SyncClient, joiner: &SyncClient) -> Ended {
    let mut invite = creator.create_invite().expect("open");
    let code = code_of(invite.next().await.expect("an event")).to_text();
    let join = joiner.join(&code).expect("a code");
    let both = async { tokio::join!(agreeing_creator(invite), agreeing_joiner(join)) };
    let (creator, joiner) = timeout(HANGS, both).await.expect("a pairing ends");
    Ended { creator, joiner, code }
}

/// One trick on one message, and two devices that meet there for the first time.
struct Attack {
    story: String,
    at: u8,
    double: Double,
    creator: Device,
    joiner: Device,
}

impl Attack {
    async fn over_http(at: u8, trick: Trick, lifetime_s: u32) -> Self {
        let story = format!("message {at}: {trick:?}");
        let double = Double::new(at, trick, lifetime_s).await;
        let relay = double.url();
        let (creator, joiner) = (Device::new("a", &relay).await, Device::new("b", &relay).await);
        Self { story, at, double, creator, joiner }
    }

    async fn by_frames(at: u8, trick: Trick) -> Self {
        let story = format!("message {at} in a frame: {trick:?}");
        let double = Double::new(at, trick, LONG_S).await.with_frames().await;
        let relay = double.direct();
        let (creator, joiner) = (Device::new("a", &relay).await, Device::new("b", &relay).await);
        Self { story, at, double, creator, joiner }
    }

    /// Plays it, and sees to it that it failed with a word that a person can do something about, that the code is worth
    /// nothing now, and that nothing was shared that should not be.
    async fn is_fended_off(&self) -> Ended {
        let ended = pair_blindly(&self.creator, &self.joiner).await;
        self.proves(&ended).await;
        ended
    }

    async fn proves(&self, ended: &Ended) {
        let story = format!("{}: {ended:?}", self.story);
        assert!(self.double.was_played(), "{story}");
        self.double.behave();
        assert!(ended.creator.is_err(), "{story}");
        let devices = self.creator.devices().await.expect("in a group").len();
        if self.at == STORED {
            // All but one word of it had happened.
            assert_eq!((ended.joiner, devices), (Ok(()), 2), "{story}");
            assert_eq!(self.joiner.group_id().ok(), self.creator.group_id().ok(), "{story}");
            return;
        }
        assert!(ended.joiner.is_err(), "{story}");
        assert_eq!(code(self.joiner.device_id()), ErrorCode::NoGroup, "{story}");
        // Where both had agreed, the joiner was entered before it got anything: it can be seen, and has nothing.
        assert_eq!(devices, if self.at == GRANT { 2 } else { 1 }, "{story}");
        let again = agreeing_joiner(self.joiner.join(&ended.code).expect("a code"));
        let again = timeout(HANGS, again).await.expect("an answer");
        assert_eq!(again, Err(ErrorCode::InviteNotFound), "{story}: then");
        assert_eq!(self.creator.devices().await.expect("in a group").len(), devices, "{story}");
    }
}

/// Everything that can be handed out in place of a message, but for messages of other pairings.
fn alterations(at: u8) -> Vec<Trick> {
    let flips = [0, 20, 333, 666, 999].map(Trick::Flip);
    let cuts = [0, 1, 500, 999].map(Trick::Cut);
    // The one before is what the reader said itself: it is told its own words.
    let earlier = (0..at).flat_map(|other| [Trick::Instead(other), Trick::Behind(other)]);
    flips.into_iter().chain(cuts).chain([Trick::Longer]).chain(earlier).collect()
}

/// What the side that reads the altered message learns, and what the other.
fn expected(at: u8, ended: &Ended) -> bool {
    use ErrorCode::{CodeExpired, PairingDenied, PairingFailed, WrongCode};
    let (reader, other) =
        if at.is_multiple_of(2) { (ended.joiner, ended.creator) } else { (ended.creator, ended.joiner) };
    match at {
        // A password's proof fails, or the joiner can't even make one and goes.
        0 => matches!((reader, other), (Err(WrongCode), Err(WrongCode)) | (Err(PairingFailed), Err(CodeExpired))),
        1 => matches!((reader, other), (Err(WrongCode | PairingFailed), Err(WrongCode))),
        STORED => (reader, other) == (Err(PairingFailed), Ok(())),
        _ => matches!((reader, other), (Err(PairingFailed), Err(PairingFailed | PairingDenied))),
    }
}

async fn altered(ats: std::ops::Range<u8>) {
    trace();
    for at in ats {
        for trick in alterations(at) {
            let attack = Attack::over_http(at, trick, LONG_S).await;
            let ended = attack.is_fended_off().await;
            assert!(expected(at, &ended), "{}: {ended:?}", attack.story);
        }
    }
}

// Several tests, so that several cores have something to do.
#[tokio::test(flavor = "multi_thread")]
async fn altered_repeated_and_returned_messages_end_it_before_anybody_proved_anything() {
    altered(0..3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_before_both_people_agreed() {
    altered(3..GRANT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_after_it() {
    altered(GRANT..MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_no_different_by_frames() {
    trace();
    for at in 0..MESSAGES {
        for trick in [Trick::Flip(500), Trick::Cut(500), Trick::Longer, Trick::Instead(at.saturating_sub(1))] {
            if trick != Trick::Instead(at) {
                let attack = Attack::by_frames(at, trick).await;
                let ended = attack.is_fended_off().await;
                assert!(expected(at, &ended), "{}: {ended:?}", attack.story);
            }
        }
    }
}

/// An honest pairing at a double that does nothing, as it has it.
async fn recorded() -> Vec<Bytes> {
    let double = Double::new(0, Trick::None, LONG_S).await.with_frames().await;
    // One side over HTTP, the other by frames: it is one store, as at any relay.
    let (creator, joiner) = (Device::new("a", &double.url()).await, Device::new("b", &double.direct()).await);
    let ended = pair_blindly(&creator, &joiner).await;
    assert_eq!((ended.creator, ended.joiner), (Ok(()), Ok(())), "without a trick they pair");
    let record = double.record();
    assert_eq!(record.len(), usize::from(MESSAGES));
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_pairing_that_is_over_fit_no_other() {
    trace();
    for (at, message) in (0..).zip(recorded().await) {
        let attack = Attack::over_http(at, Trick::Foreign(message), LONG_S).await;
        let ended = attack.is_fended_off().await;
        assert!(expected(at, &ended), "{}: {ended:?}", attack.story);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pairings_whose_messages_are_exchanged_both_fail() {
    trace();
    for at in 0..MESSAGES {
        let one = Attack::over_http(at, Trick::Crossed, LONG_S).await;
        let relay = one.double.url();
        let (creator, joiner) = (Device::new("c", &relay).await, Device::new("d", &relay).await);
        let (ended, other) = tokio::join!(pair_blindly(&one.creator, &one.joiner), pair_blindly(&creator, &joiner));
        one.proves(&ended).await;
        let story = format!("{}: {other:?}", one.story);
        assert!(other.creator.is_err() && other.joiner.is_ok() == (at == STORED), "{story}");
        assert_eq!(creator.devices().await.expect("in a group").len(), if at >= GRANT { 2 } else { 1 }, "{story}");
        assert_eq!(joiner.group_id().ok(), creator.group_id().ok().filter(|_| at == STORED), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_is_waited_for_no_longer_than_the_invite_lives() {
    trace();
    let (side_by_side, mut attacks) = (LocalSet::new(), Vec::new());
    for at in 0..MESSAGES {
        for trick in [Trick::Withheld, Trick::Swallowed] {
            // Nobody leaves the first message: it comes with the mailbox.
            if (at, &trick) != (0, &Trick::Swallowed) {
                attacks.push(side_by_side.spawn_local(async move {
                    let attack = Attack::over_http(at, trick, SHORT_S).await;
                    let ended = attack.is_fended_off().await;
                    // Without an answer to its first question the joiner has not even begun.
                    let joiner = match at {
                        0 => Err(ErrorCode::Offline),
                        STORED => Ok(()),
                        _ => Err(ErrorCode::CodeExpired),
                    };
                    assert_eq!(
                        (ended.creator, ended.joiner),
                        (Err(ErrorCode::CodeExpired), joiner),
                        "{}",
                        attack.story
                    );
                }));
            }
        }
    }
    side_by_side.await;
    for attack in attacks {
        attack.await.expect("fended off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_kept_waiting_can_stop_at_any_time() {
    trace();
    for trick in [Trick::Withheld, Trick::Swallowed] {
        for at in 1..GRANT {
            let attack = Attack::over_http(at, trick.clone(), LONG_S).await;
            let story = &attack.story;
            let mut invite = attack.creator.create_invite().expect("open");
            let code_text = code_of(invite.next().await.expect("an event")).to_text();
            let mut join = attack.joiner.join(&code_text).expect("a code");
            let played = async {
                tokio::select! {
                    () = attack.double.has_played() => {}
                    _ = async {
                        loop {
                            match join.next().await {
                                Some(JoinEvent::Digits { .. }) => join.approve().await,
                                other => panic!("{story}: {other:?}"),
                            }
                        }
                    } => {}
                }
            };
            timeout(HANGS, played).await.expect("it comes that far");
            join.deny().await;
            invite.deny().await;
            let stopped = async { tokio::join!(agreeing_joiner(join), agreeing_creator(invite)) };
            let (joiner, creator) =
                timeout(Duration::from_secs(20), stopped).await.unwrap_or_else(|_| panic!("{story}"));
            let denied = Err(ErrorCode::PairingDenied);
            assert!(joiner == denied && creator.is_err(), "{story}: {joiner:?} {creator:?}");
            attack.proves(&Ended { creator, joiner, code: code_text }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_ends_it_with_what_the_relay_says() {
    trace();
    for at in 1..MESSAGES {
        let attack = Attack::over_http(at, Trick::Refused(ErrorCode::InviteConflict), LONG_S).await;
        attack.is_fended_off().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_can_give_the_joiner_another_guess_but_not_the_creators_answer_to_it() {
    trace();
    let double = Double::new(u8::MAX, Trick::AnotherGuess, SHORT_S).await;
    let relay = double.url();
    let creator = Device::new("a", &relay).await;
    let (guessing, knowing) = (Device::new("b", &relay).await, Device::new("c", &relay).await);
    let mut invite = creator.create_invite().expect("open");
    let code_text = code_of(invite.next().await.expect("an event")).to_text();
    let last = if code_text.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &code_text[..code_text.len() - 1]);
    let guess = tokio::spawn(agreeing_joiner(guessing.join(&wrong).expect("a code")));
    assert_eq!(timeout(HANGS, agreeing_creator(invite)).await.expect("it ends"), Err(ErrorCode::WrongCode));
    // The relay keeps what it should remove, and lets the next in as if nobody had been there.
    let second = agreeing_joiner(knowing.join(&code_text).expect("a code"));
    assert_eq!(timeout(HANGS, second).await.expect("it ends"), Err(ErrorCode::CodeExpired));
    assert!(double.was_played());
    assert_eq!(timeout(HANGS, guess).await.expect("it ends").expect("no panic"), Err(ErrorCode::CodeExpired));
    assert_eq!(creator.devices().await.expect("in a group").len(), 1);
    for device in [&guessing, &knowing] {
        assert_eq!(code(device.device_id()), ErrorCode::NoGroup);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_whose_last_word_is_lost_is_a_member_all_the_same() {
    trace();
    let relay = TestRelay::start().await;
    let double = Double::new(STORED, Trick::Cut(500), LONG_S).await;
    let relays = [double.url(), relay.url()];
    let relays = relays.each_ref().map(String::as_str);
    let (creator, joiner) = (Device::knowing("a", &relays).await, Device::knowing("b", &relays).await);
    let ended = pair_blindly(&creator, &joiner).await;
    assert_eq!((ended.creator, ended.joiner), (Err(ErrorCode::PairingFailed), Ok(())));
    assert!(double.was_played());
    push(&creator, "from a").await;
    push(&joiner, "from b").await;
    for device in [&creator, &joiner] {
        holds(device, &["from a", "from b"]).await;
        assert_eq!(device.devices().await.expect("in a group").len(), 2);
    }
}

/// What a relay has of a pairing in which it played this trick, and the code that the two people had.
async fn recorded_with(at: u8, trick: Trick) -> (Vec<Bytes>, InviteCode) {
    let attack = Attack::over_http(at, trick, SHORT_S).await;
    let ended = pair_blindly(&attack.creator, &attack.joiner).await;
    let record = attack.double.record();
    assert!(record.len() > usize::from(at), "{}: {ended:?}", attack.story);
    (record, ended.code.parse().expect("a code"))
}

/// The code that is so many passwords on from this one, in the order of what its letters stand for.
fn further_on(code: &InviteCode, by: i64) -> InviteCode {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let value = |letter: &u8| LETTERS.iter().position(|other| other == letter).expect("one of them") as i64;
    let password = code.password().iter().fold(0, |sum, letter| 32 * sum + value(letter));
    let bytes = (password + by).rem_euclid(1 << 40).to_be_bytes();
    InviteCode::new(code.mailbox(), *bytes.last_chunk().expect("eight bytes"))
}

/// All that a relay tries offline: so many passwords, the right one among them. The one found.
fn tried(record: &[Bytes], code: &InviteCode, passwords: i64) -> Option<String> {
    let done = AtomicBool::new(false);
    let found = |range: std::ops::Range<i64>| {
        let candidates = range.take_while(|_| !done.load(Ordering::Relaxed)).map(|by| further_on(code, by));
        let found = hostile::guess(&record[0], &record[1], candidates).map(|found| found.to_text());
        if found.is_some() {
            done.store(true, Ordering::Relaxed);
        }
        found
    };
    // Two threads, so that two cores have something to do.
    let (first, half) = (-1_000, passwords / 2 - 1_000);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| found(half..first + passwords));
        found(first..half).or(other.join().expect("no panic"))
    })
}

/// What it does to the messages behind those that have to do with the password: nothing, alter, return, repeat, put
/// another pairing's in the place, keep.
async fn records() -> Vec<(Vec<Bytes>, InviteCode)> {
    let foreign = recorded_with(0, Trick::None).await;
    let tricks = [
        (2, Trick::Flip(500)),
        (2, Trick::Instead(1)),
        (3, Trick::Behind(2)),
        (4, Trick::Foreign(foreign.0[4].clone())),
        (4, Trick::Withheld),
    ];
    let mut records = vec![foreign];
    for (at, trick) in tricks {
        records.push(recorded_with(at, trick).await);
    }
    records
}

// On one thread, because that is where pairing is weakened.
#[tokio::test]
async fn a_relay_that_tries_a_million_passwords_on_what_it_has_finds_none() {
    trace();
    let records = records().await;
    for (index, (record, code)) in records.iter().enumerate() {
        // Whatever it does later is of no use to it: a million once, and enough of the others to be sure of the test.
        let passwords = if index == 0 { 1 << 20 } else { 1 << 14 };
        assert_eq!(tried(record, code, passwords), None, "record {index}");
    }
}

#[tokio::test]
async fn it_finds_the_password_where_there_is_no_exchange() {
    trace();
    for weakness in [Weakness::PlainKey, Weakness::FixedScalar] {
        let weak = weakened(Some(weakness));
        let records = records().await;
        drop(weak);
        for (index, (record, code)) in records.iter().enumerate() {
            assert_eq!(tried(record, code, 1 << 20), Some(code.to_text()), "{weakness:?}: record {index}");
        }
    }
}

/// Two people who compare digits, with somebody between their devices who has the code. What each of them sees, or how
/// it ended.
async fn digits_with_somebody_between(grinds: bool) -> [Result<Digits, ErrorCode>; 2] {
    let double = Double::new(u8::MAX, Trick::None, LONG_S).await;
    let relay = double.url();
    let (creator, joiner) = (Device::new("desk", &relay).await, Device::new("laptop", &relay).await);
    let mut invite = creator.create_invite().expect("open");
    let code = code_of(invite.next().await.expect("an event"));
    let text = code.to_text();
    double.stand_between(Middle::new(code, APP, grinds));
    let mut join = joiner.join(&text).expect("a code");
    let on_the_laptop = async {
        match join.next().await {
            Some(JoinEvent::Digits { digits, .. }) => Ok(digits),
            Some(JoinEvent::Failed(error)) => Err(error.code()),
            other => panic!("{other:?}"),
        }
    };
    let on_the_desk = async {
        match invite.next().await {
            Some(InviteEvent::Digits { digits, .. }) => Ok(digits),
            Some(InviteEvent::Failed(error)) => Err(error.code()),
            other => panic!("{other:?}"),
        }
    };
    let both = async { tokio::join!(on_the_desk, on_the_laptop) };
    let (on_the_desk, on_the_laptop) = timeout(HANGS, both).await.expect("it comes that far");
    [on_the_desk, on_the_laptop]
}

#[tokio::test]
async fn somebody_between_who_has_the_code_fails_at_the_digits_because_they_are_committed_to() {
    trace();
    let [on_the_desk, on_the_laptop] = digits_with_somebody_between(false).await;
    assert_ne!(on_the_laptop.expect("digits"), on_the_desk.expect("digits"), "what was committed to");
    let [on_the_desk, on_the_laptop] = digits_with_somebody_between(true).await;
    assert!(on_the_desk.is_ok());
    assert_eq!(on_the_laptop, Err(ErrorCode::PairingFailed), "what fits");
}

#[tokio::test]
async fn without_a_commitment_both_screens_show_the_same_to_whoever_looks_long_enough() {
    trace();
    let _weak = weakened(Some(Weakness::NoCommitment));
    let [on_the_desk, on_the_laptop] = digits_with_somebody_between(true).await;
    assert_eq!(on_the_laptop.expect("digits"), on_the_desk.expect("digits"));
}
