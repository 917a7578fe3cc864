//! A relay's double, that has its identity and says other things than a relay does. The device says what is wrong,
//! holds little of it, and has everything for the real one when that is back.

use std::{thread, time::Duration};

use serde_bytes::Bytes;
use sync_tests::{
    Device, FakeRelay, Network, Outcome, Relay, Scratch, memory, pairing,
    stranger::{FRAME_LEN_MAX, Line, announced, frame, kind},
    welcome,
};

const SOON: Duration = Duration::from_secs(60);
/// More than a device that holds a page or two needs, and less than one would that holds all it is told.
const PEAK_MAX_MIB: u64 = 256;

/// What a double says, once a device is there.
#[derive(Clone, Copy, Debug)]
enum Says {
    Garbage,
    HalfAWelcome,
    AByteNowAndThen,
    MoreThanAFrame,
    Nothing,
    AnUnknownRefusal,
    AWelcomeAndGarbage,
    AWelcomeAndHalfAPage,
    APageWithoutEnd,
    RowsOfNoKind,
    EndlessNotices,
    EndlessEmptyPages,
}

async fn says(what: Says, welcome: &[u8], line: &mut Line) {
    let garbage: Vec<u8> = (0..256 * 1024_u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8 | 0x40).collect();
    let Some(hello) = line.hear().await else { return };
    assert_eq!(hello.kind, kind::HELLO, "a device greets first");
    match what {
        Says::Garbage => line.say(&garbage).await,
        Says::HalfAWelcome => {
            line.say(&welcome[..welcome.len() / 2]).await;
            line.finish();
        }
        Says::AByteNowAndThen => {
            for byte in welcome.chunks(1) {
                line.say(byte).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        Says::MoreThanAFrame => {
            line.say(&announced(u32::MAX as usize, &[kind::WELCOME])).await;
            for _ in 0..1_000 {
                if !line.say_within(&garbage, Duration::from_secs(1)).await {
                    break;
                }
            }
        }
        Says::Nothing => {}
        Says::AnUnknownRefusal => line.say(&frame(kind::ERROR, &(0, 4_711, 0))).await,
        Says::AWelcomeAndGarbage => line.say(&[welcome, &garbage].concat()).await,
        Says::AWelcomeAndHalfAPage => {
            line.say(&[welcome, &announced(1_000, &[kind::PAGE; 500])].concat()).await;
            line.finish();
        }
        Says::APageWithoutEnd => {
            // It counts a thousand million rows, and is as long as a frame may be.
            let mut page = vec![0; FRAME_LEN_MAX];
            page[..9].copy_from_slice(&[kind::PAGE, 0x94, 1, 0, 0xDD, 0x3B, 0x9A, 0xCA, 0]);
            line.say(&[welcome, &announced(FRAME_LEN_MAX, &page)].concat()).await;
        }
        Says::RowsOfNoKind => {
            line.say(welcome).await;
            let (id, rows) = (asked(line).await, [(99, 0, Bytes::new(b"what?"))]);
            line.say(&frame(kind::PAGE, &(id, 0, rows, 1))).await;
        }
        Says::EndlessNotices => {
            line.say(welcome).await;
            let notice = frame(kind::NOTIFY, &(Bytes::new(&[7; 16]), 9, Bytes::new(&[7; 32]), 400, 0));
            let notices = notice.repeat(1_000);
            while line.say_within(&notices, Duration::from_secs(2)).await {}
        }
        Says::EndlessEmptyPages => {
            line.say(welcome).await;
            let id = asked(line).await;
            let mut after = 0_u64;
            loop {
                let ids: Vec<[u8; 16]> = (0..1_000).map(|row| (u128::from(after) + row).to_be_bytes()).collect();
                let rows: Vec<_> = ids.iter().map(|id| (1, 0, Bytes::new(id))).collect();
                let page = frame(kind::PAGE, &(id, after, rows, u64::MAX / 2));
                if !line.say_within(&page, Duration::from_secs(2)).await {
                    break;
                }
                after += 1_000;
            }
        }
    }
    // It stays, and listens to nothing.
    tokio::time::sleep(SOON).await;
}

/// The id of the device's next request.
async fn asked(line: &mut Line) -> u32 {
    let request = line.hear().await.expect("a device that is welcome asks for pages");
    assert_eq!(request.kind, kind::PULL);
    let (id, ..): (u32, u64, serde_bytes::ByteBuf, u32, bool) = request.read();
    id
}

/// Runs `sync` for so long: what came of it, and what it held at most.
fn watched_sync(device: &Device, seconds: u32) -> (Outcome, Option<u64>) {
    let mut process = device.spawn(&["sync", "--timeout", &seconds.to_string()]);
    let id = process.id();
    let watching = thread::spawn(move || {
        let mut peak = None;
        while let Some(now) = memory::peak_mib(id) {
            peak = peak.max(Some(now));
            thread::sleep(Duration::from_millis(20));
        }
        peak
    });
    let (status, lines) = process.finish(SOON);
    let outcome = Outcome { code: status.code().unwrap_or_else(|| process.fail("was killed")), lines };
    drop(process);
    (outcome, watching.join().expect("it only looks"))
}

/// A group whose relay is stopped, with something pushed that it has not got.
fn without_its_relay(scratch: &Scratch) -> (Relay, Device, Device) {
    let mut relay = Relay::start(scratch);
    let name = relay.id_at_addr();
    let (phone, laptop) = (Device::new(scratch, "phone", &name), Device::new(scratch, "laptop", &name));
    pairing(&phone, &laptop);
    phone.run(&["push", "before", "--wait", "all", "--timeout", "60"]).ok();
    laptop.settles();
    relay.stop();
    assert_eq!(phone.push("meanwhile")["state"], "queued");
    (relay, phone, laptop)
}

fn meets(doubles: &[(Says, &[&str])]) {
    let (scratch, network) = (Scratch::new(), Network::new());
    let (mut relay, phone, laptop) = without_its_relay(&scratch);
    let welcome = welcome(&relay);
    for &(what, codes) in doubles {
        let welcome = welcome.clone();
        let double = FakeRelay::instead_of(&relay, &network, move |mut line| {
            let welcome = welcome.clone();
            async move { says(what, &welcome, &mut line).await }
        });
        let (outcome, peak) = watched_sync(&phone, 3);
        let (code, _) = outcome.error();
        assert!(codes.contains(&code), "{what:?}: {outcome:?}");
        assert!(peak.is_none_or(|peak| peak < PEAK_MAX_MIB), "{what:?}: {peak:?} MiB");
        let status = phone.run(&["status", "--offline"]).only_line();
        // A double whose log is another has none of what was there before, for all that is known.
        assert!(status["pending"].as_u64().is_some_and(|pending| pending >= 1), "{what:?}: {status}");
        assert_eq!(status["head_cursor"], 2, "{what:?}: {status}");
        assert_eq!(status["parked"].as_array().map(Vec::len), Some(0), "{what:?}: {status}");
        drop(double);
    }
    relay.restart();
    phone.settles();
    assert_eq!(laptop.texts_in_step(), ["before", "meanwhile"]);
    assert_eq!(phone.status()["badge"], "synced");
}

#[test]
fn a_double_that_can_not_greet_is_named_and_the_real_relay_gets_everything() {
    meets(&[
        (Says::Garbage, &["malformed"]),
        (Says::HalfAWelcome, &["timed_out"]),
        (Says::AByteNowAndThen, &["timed_out"]),
        (Says::MoreThanAFrame, &["malformed"]),
        (Says::Nothing, &["timed_out"]),
        (Says::AnUnknownRefusal, &["internal"]),
    ]);
}

#[test]
fn a_double_that_greets_and_says_nonsense_is_named_and_the_real_relay_gets_everything() {
    meets(&[
        (Says::AWelcomeAndGarbage, &["malformed"]),
        (Says::AWelcomeAndHalfAPage, &["timed_out"]),
        (Says::APageWithoutEnd, &["malformed"]),
        (Says::RowsOfNoKind, &["malformed"]),
        (Says::EndlessNotices, &["timed_out"]),
        (Says::EndlessEmptyPages, &["timed_out"]),
    ]);
}
