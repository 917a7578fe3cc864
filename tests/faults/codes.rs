//! Codes that are wrong, late or used up. What is typed next to a person must work all the same.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use sync_tests::{Device, Process, Relay, Scratch, pairing};

const SOON: Duration = Duration::from_secs(60);

/// A device that shows a code, and the code.
fn inviting(device: &Device) -> (Process, String) {
    let mut create = device.spawn(&["pair", "--create", "--yes"]);
    let said = create.expect("the code", SOON);
    let code = said["code"].as_str().map(str::to_owned).unwrap_or_else(|| create.fail("said no code"));
    (create, code)
}

fn three(scratch: &Scratch, relay: &Relay) -> [Device; 3] {
    ["phone", "laptop", "stranger"].map(|name| Device::new(scratch, name, relay.url()))
}

/// They pair after all, and what one pushes the other sees.
fn assert_they_pair(phone: &Device, laptop: &Device) {
    pairing(phone, laptop);
    phone.run(&["push", "together", "--wait", "all", "--timeout", "60"]).ok();
    assert_eq!(laptop.texts_in_step(), ["together"]);
}

#[test]
fn after_a_wrong_code_both_people_know_that_a_new_one_is_needed_and_it_works() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let [phone, laptop, stranger] = three(&scratch, &relay);
    let (mut create, code) = inviting(&phone);
    let last = if code.ends_with('0') { '1' } else { '0' };
    let guess = format!("{}{last}", &code[..code.len() - 1]);

    let guessed = stranger.run(&["pair", "--join", &guess, "--yes"]);
    assert_eq!(guessed.error(), ("wrong_code", 7));
    assert!(guessed.advice().contains("make a new one"), "{}", guessed.advice());
    let (status, said) = create.finish(SOON);
    assert_eq!(status.code(), Some(7), "{said:?}");
    let told = said.last().and_then(|line| line["error"]["message"].as_str()).expect("an error");
    assert!(told.contains("make a new one"), "{told}");
    assert_eq!(stranger.run(&["push", "x"]).error(), ("no_group", 3), "nothing was learnt by guessing");
    assert_they_pair(&phone, &laptop);
}

#[test]
fn a_code_that_was_used_is_worth_nothing_whether_the_pairing_is_over_or_not() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let [phone, laptop, stranger] = three(&scratch, &relay);
    let mut create = phone.spawn(&["pair", "--create"]);
    let code = create.expect("the code", SOON)["code"].as_str().map(str::to_owned).expect("a code");
    let mut join = laptop.spawn(&["pair", "--join", &code]);
    join.expect("its digits", SOON);
    create.expect("its digits", SOON);

    let second = stranger.run(&["pair", "--join", &code, "--yes"]);
    assert_eq!(second.error(), ("invite_claimed", 7));
    assert!(second.advice().contains("make a new one"), "{}", second.advice());
    create.say("yes");
    join.say("yes");
    assert!(join.finish(SOON).0.success() && create.finish(SOON).0.success(), "a third disturbs nobody");

    let late = stranger.run(&["pair", "--join", &code, "--yes"]);
    assert_eq!(late.error(), ("invite_not_found", 7));
    assert!(late.advice().contains("ask for a new one"), "{}", late.advice());
    assert_eq!(phone.run(&["devices"]).ok().len(), 2);
    assert_they_pair(&phone, &stranger);
}

#[test]
fn a_code_whose_time_is_over_is_said_to_be_so_on_both_sides() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    // Ten minutes are long for a test: what the relay says they are is three seconds here.
    let hurried = hurrying(&relay);
    let phone = Device::new(&scratch, "phone", &hurried);
    let laptop = Device::new(&scratch, "laptop", relay.url());
    let (mut create, code) = inviting(&phone);
    let (status, said) = create.finish(SOON);
    assert_eq!(status.code(), Some(7), "{said:?}");
    let error = &said.last().expect("an error")["error"];
    assert_eq!(error["code"], "code_expired");
    assert!(error["message"].as_str().is_some_and(|told| told.contains("make a new one")), "{error}");

    let late = laptop.run(&["pair", "--join", &code, "--yes"]);
    assert_eq!(late.error(), ("invite_not_found", 7), "and it opens nothing any more");
    assert!(late.advice().contains("ten minutes"), "{}", late.advice());
    assert_eq!(phone.status()["relays"][0]["problem"], serde_json::Value::Null);
    // The laptop's next try is another person's mistake no more.
    let third = Device::new(&scratch, "third", relay.url());
    let (mut create, code) = inviting(&third);
    laptop.run(&["pair", "--join", &code, "--yes"]).ok();
    assert!(create.finish(SOON).0.success());
}

/// The relay's web address, but that a minute there has less than a second.
fn hurrying(relay: &Relay) -> String {
    let there = relay.url().trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let here = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let there = there.clone();
            thread::spawn(move || forward(client, &there));
        }
    });
    format!("http://{here}")
}

/// Passes one request on, and its answer back.
fn forward(mut client: TcpStream, there: &str) {
    let Ok(mut relay) = TcpStream::connect(there) else { return };
    let (Ok(mut asking), Ok(mut asked)) = (client.try_clone(), relay.try_clone()) else { return };
    thread::spawn(move || {
        // Either may hang up when it likes.
        let _ = std::io::copy(&mut asking, &mut asked);
    });
    let mut chunk = [0; 16 * 1024];
    while let Ok(len @ 1..) = relay.read(&mut chunk) {
        let mut answer = chunk[..len].to_vec();
        let long = b"\"expires_in_s\":600";
        if let Some(at) = answer.windows(long.len()).position(|part| part == long) {
            // As long as it was: JSON takes spaces where it likes.
            answer[at..at + long.len()].copy_from_slice(b"\"expires_in_s\":  3");
        }
        if client.write_all(&answer).is_err() {
            return;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
}
