//! Names that lead to no relay, to something else, or to another relay.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use sync_tests::{Device, Relay, Scratch, pairing};

const SOON: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;

/// Something at a web address that answers everything alike. Dropping it frees the address.
struct Web {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    over: Arc<std::sync::atomic::AtomicBool>,
}

impl Web {
    /// With a head, and a body that is repeated so often.
    fn at(address: &str, status: &str, body: &str, times: u64) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let (sent, over) = (Arc::new(AtomicU64::new(0)), Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let (counted, ends) = (Arc::clone(&sent), Arc::clone(&over));
        let (head, body) = (format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n"), body.to_owned());
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (head, body, counted) = (head.clone(), body.clone(), Arc::clone(&counted));
                thread::spawn(move || {
                    let mut request = [0; 4_096];
                    let _ = client.read(&mut request);
                    let mut whole = client.write_all(head.as_bytes());
                    for _ in 0..times {
                        whole = whole.and_then(|()| client.write_all(body.as_bytes()));
                        if whole.is_err() {
                            return;
                        }
                        counted.fetch_add(body.len() as u64, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, sent, over }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It waits for somebody to come.
        let _ = std::net::TcpStream::connect(self.address);
    }
}

#[test]
fn where_nobody_listens_is_offline_and_nothing_is_lost_by_it() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let gone = Relay::start_with(&scratch, sync_tests::RelaySetup { name: "gone", ..Default::default() });
    let names = [gone.url().to_owned(), gone.id_at_addr()];
    drop(gone);
    for (number, name) in names.iter().enumerate() {
        let device = Device::new(&scratch, &format!("lost-{number}"), name);
        let outcome = device.run(&["pair", "--join", "ABCD-EFGH-JKMN-PQRS", "--yes"]);
        assert_eq!(outcome.error(), ("offline", 4), "{name}: {outcome:?}");
        assert!(outcome.advice().contains("no relay can be reached"), "{}", outcome.advice());
        // A code would be of no use, the link is.
        let invite = device.spawn(&["pair", "--create", "--yes"]).expect("an invite", SOON);
        assert!(invite["link"].is_string() && invite["code"].is_null(), "{name}: {invite}");
    }
    drop(relay);
}

#[test]
fn a_name_of_something_else_is_said_to_be_no_relays() {
    let scratch = Scratch::new();
    let id = "ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6";
    let newer = format!(r#"{{"version":2,"relay_id":"{id}","quic":["127.0.0.1:1"],"iroh_relay":null}}"#);
    let no_key = format!(r#"{{"version":1,"relay_id":"02{}","quic":[],"iroh_relay":null}}"#, "0".repeat(62));
    let endless = "[".repeat(64 * 1024);
    let answers = [
        ("404 Not Found", "nothing here", 1),
        ("200 OK", "<!doctype html><title>A router</title>", 1),
        ("200 OK", newer.as_str(), 1),
        ("200 OK", no_key.as_str(), 1),
        ("200 OK", endless.as_str(), 8 * 1024),
    ];
    for (number, (status, body, times)) in answers.into_iter().enumerate() {
        let web = Web::at("127.0.0.1:0", status, body, times);
        let device = Device::new(&scratch, &format!("lost-{number}"), &web.url());
        for command in [&["pair", "--join", "ABCD-EFGH-JKMN-PQRS", "--yes"][..], &["pair", "--create", "--yes"]] {
            let outcome = device.run(command);
            assert_eq!(outcome.error(), ("relay_unknown", 2), "answer {number}, {command:?}: {outcome:?}");
            assert!(outcome.advice().contains("id@host:port"), "{}", outcome.advice());
        }
        // The answer that does not end was not listened to for long: what was sent lies in the sockets.
        assert!(web.sent.load(Ordering::Relaxed) < 64 * MIB, "answer {number} was read on and on");
        // The device has a group of its own by now, and what it pushes is kept and sent nowhere.
        device.push("kept");
        let outcome = device.run(&["sync", "--timeout", "60"]);
        assert_eq!(outcome.error(), ("relay_unknown", 2), "answer {number}: {outcome:?}");
        assert_eq!(device.log_after(0).len(), 1);
    }
}

#[test]
fn something_else_at_a_relays_address_is_named_and_the_relay_is_welcome_back() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = sync_tests::paired(&scratch, relay.url());
    phone.run(&["push", "before", "--wait", "all", "--timeout", "60"]).ok();
    relay.stop();
    let web = Web::at(relay.url().trim_start_matches("http://"), "200 OK", "<!doctype html>", 1);
    assert_eq!(phone.push("meanwhile")["state"], "queued");
    let outcome = phone.run(&["sync", "--timeout", "60"]);
    assert_eq!(outcome.error(), ("relay_unknown", 2), "{outcome:?}");
    let status = phone.status();
    assert_eq!((&status["badge"], &status["relays"][0]["problem"]), (&"failed".into(), &"relay_unknown".into()));
    drop(web);
    relay.restart();
    phone.settles();
    assert_eq!(laptop.texts_in_step(), ["before", "meanwhile"]);
}

#[test]
fn another_relay_at_a_known_place_is_given_nothing_and_the_one_known_is_welcome_back() {
    let scratch = Scratch::new();
    let mut relay = Relay::start(&scratch);
    let name = relay.id_at_addr();
    let (phone, laptop) = (Device::new(&scratch, "phone", &name), Device::new(&scratch, "laptop", &name));
    pairing(&phone, &laptop);
    phone.run(&["push", "before", "--wait", "all", "--timeout", "60"]).ok();
    relay.stop();
    let known = scratch.path().join("known");
    fs::rename(relay.data(), &known).expect("the scratch folder is writable");
    relay.restart();
    assert_eq!(phone.push("meanwhile")["state"], "queued");
    let outcome = phone.run(&["sync", "--timeout", "60"]);
    assert_eq!(outcome.error(), ("relay_identity_changed", 5), "{outcome:?}");
    assert!(outcome.advice().contains("add it as a new relay"), "{}", outcome.advice());
    let health = relay.health();
    assert_eq!((&health["groups"], &health["blobs_stored"]), (&0.into(), &0.into()), "the other got nothing");

    relay.stop();
    fs::remove_dir_all(relay.data()).and_then(|()| fs::rename(&known, relay.data())).expect("it is writable");
    relay.restart();
    phone.settles();
    assert_eq!(laptop.texts_in_step(), ["before", "meanwhile"]);
}
