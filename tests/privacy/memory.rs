//! What a relay has in memory while two people look at their digits: a mailbox, and nothing that opens it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::Value;
use sync_tests::{Device, Relay, RelaySetup, Scratch, canary::Search};

use super::{APP, LAPTOP, PASSPHRASE, PHONE, STEP_MAX, plant_code, plant_secrets};

/// What a stranger leaves in a mailbox of its own.
const MESSAGE: &[u8] = b"canary-message-Wendehals-4714";
/// The head of a byte string of 32 bytes.
const BYTES_32: [u8; 2] = [0xC4, 32];

#[test]
fn a_relay_that_holds_an_invite_has_nothing_in_memory_that_opens_it() {
    let scratch = Scratch::new();
    let relay = Relay::start_with(&scratch, RelaySetup { log: "trace", ..RelaySetup::default() });
    let passphrase = scratch.file("passphrase", PASSPHRASE);
    let device = |folder: &str, name: &str, place: &str, more: &[&str]| {
        let device = Device::uninitialised(&scratch, folder, "trace");
        let init = ["init", "--name", name, "--relay", place, "--app", APP, "--secrets", "file"];
        let said = device.run(&[&init[..], more].concat()).only_line();
        (device, said)
    };
    let from_passphrase = ["--passphrase-file", passphrase.to_str().expect("UTF-8")];
    // One by HTTP and one by frames: all that the relay has of mailboxes is used.
    let (phone, made) = device("phone", PHONE, relay.url(), &from_passphrase);
    let (laptop, _) = device("laptop", LAPTOP, &relay.id_at_addr(), &[]);
    let id = phone.run(&["devices"]).only_line()["device_id"].clone();

    let mut search = Search::default();
    search.plant("passphrase", PASSPHRASE.as_bytes());
    search.plant("group id", &bytes(&made["group_id"]));
    for name in [PHONE, LAPTOP, APP] {
        search.plant("name", name.as_bytes());
    }
    plant_secrets(&mut search, &phone);

    let mut create = phone.spawn(&["pair", "--create"]);
    let invite = create.expect("the invite", STEP_MAX);
    let code = invite["code"].as_str().expect("a code");
    plant_code(&mut search, code);
    search.plant("the link's password", &password(invite["link"].as_str().expect("a link")));
    let mut join = laptop.spawn(&["pair", "--join", code]);
    join.expect("its digits", STEP_MAX);
    create.expect("its digits", STEP_MAX);
    leave(&relay, MESSAGE);

    // The mailbox is open, with all that two devices say before two people have agreed.
    search.proves();
    let process = relay.process().id();
    let found = search.find_in_memory(process);
    assert!(found.is_empty(), "readable in the relay's memory while it holds the invite: {found:#?}");
    // It is where it would be: what lies in a mailbox is found, and so is who is connected.
    for (what, there) in [("a mailbox's message", MESSAGE), ("a device's id", &bytes(&id))] {
        let mut public = Search::default();
        public.plant(what, there);
        assert!(!public.find_in_memory(process).is_empty(), "{what} is not found in the relay's memory");
    }

    for process in [&mut create, &mut join] {
        process.say("yes");
    }
    for process in [&mut create, &mut join] {
        let (status, said) = process.finish(STEP_MAX);
        assert!(status.success(), "{said:?}");
    }
    plant_secrets(&mut search, &laptop);
    let found = search.find_in_memory(process);
    assert!(found.is_empty(), "readable in the relay's memory afterwards: {found:#?}");
    let answers = scratch.file("answers", relay.get("/metrics"));
    let found = search.find(&[&relay.data(), &relay.log_file(), &answers, phone.log_file(), laptop.log_file()]);
    assert!(found.is_empty(), "readable outside: {found:#?}");
}

fn bytes(hex: &Value) -> Vec<u8> {
    HEXLOWER.decode(hex.as_str().expect("an id").as_bytes()).expect("hex")
}

/// The password in a link: the first byte string of its length.
fn password(link: &str) -> Vec<u8> {
    let (_, fragment) = link.split_once('#').expect("an invite's link");
    let fields = BASE64URL_NOPAD.decode(fragment.as_bytes()).expect("base64url");
    let at = fields.windows(2).position(|head| head == BYTES_32).expect("a password") + BYTES_32.len();
    fields[at..at + 32].to_vec()
}

/// Opens a mailbox with this in it, as a stranger may.
fn leave(relay: &Relay, message: &[u8]) {
    let body = format!(r#"{{"name":"WEND-EHAS","message":"{}"}}"#, BASE64.encode(message));
    let place = relay.url().trim_start_matches("http://");
    let head = format!(
        "POST /invite HTTP/1.1\r\nhost: {place}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        "ab".repeat(16),
        body.len()
    );
    let mut stream = TcpStream::connect(place).expect("the relay listens");
    stream.write_all([head, body].concat().as_bytes()).expect("the relay reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the relay answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
