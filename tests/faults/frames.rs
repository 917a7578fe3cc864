//! Bytes that are no messages, at a relay: answered with a code, bounded in what they cost, and felt by nobody else.

use std::{net::Ipv4Addr, time::Duration};

use iroh::SecretKey;
use sync_tests::{
    Network, Relay, Scratch, memory, paired,
    stranger::{FRAME_LEN_MAX, Goal, Line, Meanwhile, Stranger, announced, frame, kind, pull, push},
};

use crate::diligent::Diligent;

const WINDOW: u32 = 1024 * 1024;

/// Numbers of the codes that a relay answers with.
mod code {
    pub(super) const UNSUPPORTED: u16 = 1;
    pub(super) const MALFORMED: u16 = 2;
    pub(super) const AUTH_FAILED: u16 = 4;
    pub(super) const NOT_GREETED: u16 = 5;
    pub(super) const FRAME_TOO_LARGE: u16 = 6;
    pub(super) const BLOB_TOO_LARGE: u16 = 10;
    pub(super) const BAD_ENVELOPE: u16 = 19;
    pub(super) const IDLE_TIMEOUT: u16 = 20;
}

fn loopback(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

#[test]
fn what_is_no_message_is_answered_with_a_code_and_felt_by_nobody_else() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut diligent = Diligent::begins(&phone);
    let goal = Goal::from(&relay);
    let group = SecretKey::from_bytes(&[1; 32]);
    let stranger = network.run(Stranger::at(loopback(1), WINDOW));
    let garbage: Vec<u8> = (0..64 * 1024_u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8 | 0x80).collect();
    let empty = announced(0, &[]);
    let mut hello_of_another = Vec::new();

    // Before the greeting.
    let mut strange: Vec<(&str, Vec<u8>, bool, u16)> = vec![
        ("garbage", garbage, false, code::FRAME_TOO_LARGE),
        ("an announcement of four gibibytes", announced(u32::MAX as usize, &[]), false, code::FRAME_TOO_LARGE),
        ("one byte over the limit", announced(FRAME_LEN_MAX + 1, &[]), false, code::FRAME_TOO_LARGE),
        ("an empty frame", empty, false, code::MALFORMED),
        ("half a frame and an end", announced(100, &[1; 50]), true, code::MALFORMED),
        ("a request", pull(1), false, code::NOT_GREETED),
        ("an unknown request", frame(0x7E, &(1,)), false, code::UNSUPPORTED),
        (
            "no MessagePack",
            announced(9, &[kind::HELLO, 0xC1, 0xC1, 0xC1, 0xC1, 0xC1, 0xC1, 0xC1, 0xC1]),
            false,
            code::MALFORMED,
        ),
        // An array of four thousand million fields, and a byte string of as many bytes.
        ("an endless array", announced(6, &[kind::HELLO, 0xDD, 0xFF, 0xFF, 0xFF, 0xFF]), false, code::MALFORMED),
        (
            "an endless string",
            announced(9, &[kind::HELLO, 0x97, 1, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF, 0]),
            false,
            code::MALFORMED,
        ),
        ("nested without end", announced(FRAME_LEN_MAX, &nested()), false, code::MALFORMED),
    ];
    network.run(async {
        let mut line = stranger.dial(&goal).await;
        hello_of_another = line.hello(&group);
        line.finish();
    });
    strange.push(("another connection's greeting", hello_of_another, false, code::AUTH_FAILED));
    for (what, bytes, ends, code) in strange {
        let answered = network.run(async {
            let mut line = stranger.dial(&goal).await;
            line.say(&bytes).await;
            if ends {
                line.finish();
            }
            line.refusal().await
        });
        assert_eq!(answered, code, "{what}");
        diligent.pushes();
    }

    // After it. What is wrong with one request is that request's answer, and the session goes on.
    let large = stranger.envelope(1, 1024 * 1024 + 64 * 1024 + 1);
    network.run(async {
        let mut line = stranger.enter(&goal, &group).await;
        for (id, bytes, code) in [
            (7, push(7, &[0; 400]), code::BAD_ENVELOPE),
            (8, push(8, b""), code::BAD_ENVELOPE),
            (9, push(9, &large), code::BLOB_TOO_LARGE),
            (10, frame(0x7E, &(10,)), code::UNSUPPORTED),
        ] {
            line.say(&bytes).await;
            let answer: (u32, u16, u32) = line.hear().await.expect("an answer").read();
            assert_eq!((answer.0, answer.1), (id, code));
        }
        line.say(&push(11, &stranger.envelope(1, 500))).await;
        assert_eq!(line.hear().await.map(|frame| frame.kind), Some(kind::PUSH_ACK));
        line.say(&frame(kind::PULL, &(12,))).await;
        assert_eq!(line.refusal().await, code::MALFORMED);
    });
    diligent.pushes();
    assert_eq!(laptop.texts_in_step(), diligent.ends());
}

/// Arrays in arrays in arrays, as many as fit a frame.
fn nested() -> Vec<u8> {
    let mut bytes = vec![0x91; FRAME_LEN_MAX];
    bytes[0] = kind::HELLO;
    bytes
}

/// Says a byte now and then, until it is hung up on: with this code.
async fn drip(mut line: Line) -> u16 {
    while line.connection.close_reason().is_none() {
        line.say(&[0]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    line.refusal().await
}

#[test]
fn who_drips_bytes_is_hung_up_on_and_many_of_them_cost_little() {
    const STRANGERS: u8 = 60;
    const STALL: Duration = Duration::from_secs(8);
    /// Each may have a frame almost whole, and as much in its connection's window.
    const GROWTH_MAX_MIB: u64 = STRANGERS as u64 * 4 + 100;
    let (scratch, network) = (Scratch::new(), Network::new());
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut diligent = Diligent::begins(&phone);
    diligent.pushes();
    let before = memory::resident_mib(relay.process().id());
    let goal = Goal::from(&relay);
    let dripping: Vec<_> = (0..STRANGERS)
        .map(|number| {
            network.meanwhile(async move {
                let stranger = Stranger::at(loopback(1 + number / 6), WINDOW).await;
                let mut line = if number % 2 == 0 {
                    stranger.dial(&goal).await
                } else {
                    stranger.enter(&goal, &SecretKey::from_bytes(&[100 + number; 32])).await
                };
                // A third of them says all of a frame but its end, and then nothing; the others a byte now and then.
                if number % 3 == 0 {
                    line.say(&announced(FRAME_LEN_MAX, &vec![kind::PUSH; FRAME_LEN_MAX - 20])).await;
                    tokio::time::sleep(STALL).await;
                    return None;
                }
                line.say(&announced(FRAME_LEN_MAX, &[kind::PUSH; 4_096])).await;
                Some(drip(line).await)
            })
        })
        .collect();
    while !dripping.iter().all(Meanwhile::is_over) {
        diligent.pushes();
        std::thread::sleep(Duration::from_millis(100));
    }
    for dripping in dripping {
        assert!(dripping.outcome(&network).is_none_or(|code| code == code::IDLE_TIMEOUT));
    }
    diligent.pushes();
    if let (Some(before), Some(peak)) = (before, memory::peak_mib(relay.process().id())) {
        assert!(peak < before + GROWTH_MAX_MIB, "{before} MiB became {peak} MiB");
    }
    assert_eq!(laptop.texts_in_step(), diligent.ends());
}
