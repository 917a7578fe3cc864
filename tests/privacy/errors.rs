//! What goes wrong is written down at length, and holds nothing of what it went wrong with.

use std::{fs, net::Ipv4Addr};

use sync_tests::{
    Device, FakeRelay, Network, Relay, RelaySetup, Scratch,
    canary::Search,
    damage::{Backup, overwrite},
    noisy_text,
    stranger::{Goal, Stranger, announced, kind},
};

use super::{APP, LAPTOP, PASSPHRASE, PAYLOAD, PHONE, STEP_MAX, plant_code, plant_secrets};

/// A passphrase that anybody would guess.
const WEAK: &str = "canary12345678";

/// A blob that a tight relay has no room for, with canaries all over.
fn large() -> String {
    (0..200).map(|number| format!("{PAYLOAD} {}\n", noisy_text(number, 400))).collect()
}

#[test]
fn nothing_readable_is_left_by_what_goes_wrong() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let config = "[storage]\nmax_group_storage = 60000\n";
    let mut relay = Relay::start_with(&scratch, RelaySetup { log: "trace", config, ..RelaySetup::default() });
    let device = |folder: &str, name: &str| {
        let device = Device::uninitialised(&scratch, folder, "trace");
        let place = relay.id_at_addr();
        device.run(&["init", "--name", name, "--relay", &place, "--app", APP, "--secrets", "file"]).ok();
        device
    };
    let (phone, laptop, stranger) = (device("phone", PHONE), device("laptop", LAPTOP), device("stranger", PHONE));
    let mut search = Search::default();
    let mut failed = Vec::new();
    let mut fails = |device: &Device, args: &[&str], code: &'static str| {
        let outcome = device.run(args);
        assert_eq!(outcome.error().0, code, "{args:?}");
        failed.push((device.log_file().to_owned(), outcome.advice().to_owned()));
    };
    let invite = || {
        let mut create = phone.spawn(&["pair", "--create", "--yes"]);
        let code = create.expect("the code", STEP_MAX)["code"].as_str().map(str::to_owned).expect("a code");
        (create, code)
    };

    // Codes: wrong, and used.
    let (mut create, code) = invite();
    let guess = format!("{}{}", &code[..18], if code.ends_with('0') { '1' } else { '0' });
    fails(&stranger, &["pair", "--join", &guess, "--yes"], "wrong_code");
    create.finish(STEP_MAX);
    let (mut create, used) = invite();
    laptop.run(&["pair", "--join", &used, "--yes"]).ok();
    assert!(create.finish(STEP_MAX).0.success());
    fails(&stranger, &["pair", "--join", &used, "--yes"], "invite_not_found");
    fails(&stranger, &["push", PAYLOAD], "no_group");
    for code in [&code, &guess, &used] {
        plant_code(&mut search, code);
    }

    // Passphrases: too easy to guess, and none.
    let mut refused = |passphrase: &str, code: &'static str| {
        let file = scratch.file("passphrase", passphrase);
        let file = file.to_str().expect("UTF-8");
        let (name, relay) = (&["--name", LAPTOP], &["--relay", "http://127.0.0.1:9"]);
        fails(&laptop, &[&["init"], &name[..], &relay[..], &["--passphrase-file", file]].concat(), code);
    };
    refused(WEAK, "weak_passphrase");
    refused(&format!("{PASSPHRASE}\n{WEAK}\n"), "invalid_argument");
    for passphrase in [WEAK, PASSPHRASE] {
        search.plant("passphrase", passphrase.as_bytes());
    }

    // Blobs: too large for anybody, and too large for this relay now.
    let file = scratch.file("too-large", large().repeat(20));
    fails(&phone, &["push", "--file", file.to_str().expect("UTF-8")], "blob_too_large");
    let file = scratch.file("large", large());
    phone.run(&["push", "--file", file.to_str().expect("UTF-8")]).ok();
    fails(&phone, &["sync", "--timeout", "60"], "group_full");

    // Frames that are none, at the relay and from something in its place.
    let goal = Goal::from(&relay);
    network.run(async {
        let stranger = Stranger::at(Ipv4Addr::new(127, 0, 0, 9), 1 << 20).await;
        for bytes in [announced(usize::from(u16::MAX) << 10, &[]), announced(3, &[kind::HELLO, 0xC1, 0xC1])] {
            let mut line = stranger.dial(&goal).await;
            line.say(&bytes).await;
            line.refusal().await;
        }
    });
    relay.stop();
    let double = FakeRelay::instead_of(&relay, &network, |mut line| async move {
        line.say(&announced(3, &[kind::WELCOME, 0xC1, 0xC1])).await;
        line.hear().await;
        line.hear().await;
    });
    fails(&phone, &["sync", "--timeout", "60"], "malformed");
    drop(double);

    // Disks: keys and databases that went bad.
    for (file, code) in [("secrets.key", "key_missing"), ("profile.db", "store_corrupt")] {
        let backup = Backup::of(laptop.profile());
        overwrite(&laptop.profile().join(file), 0, 900);
        fails(&laptop, &["pull"], code);
        backup.restore();
    }
    relay.restart();

    search.plant("payload", PAYLOAD.as_bytes());
    for name in [PHONE, LAPTOP, APP] {
        search.plant("name", name.as_bytes());
    }
    for device in [&phone, &laptop] {
        plant_secrets(&mut search, device);
    }
    search.proves();
    let relay_log = relay.log_file();
    let found = search.find(&[phone.log_file(), laptop.log_file(), stranger.log_file(), &relay_log, &relay.data()]);
    assert!(found.is_empty(), "readable outside: {found:#?}");

    // It was all written down, so there was something to search.
    for (log, advice) in failed {
        let text = String::from_utf8_lossy(&fs::read(&log).expect("a log is there")).into_owned();
        assert!(text.contains("TRACE") && text.contains(&advice), "{} lacks: {advice}", log.display());
    }
    let text = String::from_utf8_lossy(&fs::read(relay_log).expect("a log is there")).into_owned();
    for word in ["TRACE", "FrameTooLarge", "Malformed"] {
        assert!(text.contains(word), "the relay's log lacks {word}");
    }
}
