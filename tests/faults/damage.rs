//! Databases that are damaged, cut off, or of a newer build: said so, left as they are, and good again once put back.

use std::path::Path;

use sync_tests::{
    Device, Network, Relay, Scratch,
    damage::{Backup, cut_off, from_the_future, overwrite},
    paired,
};

const PAGE: usize = 4_096;

/// What happens to a database, and what is said about it on either side.
struct Damage {
    name: &'static str,
    happen: fn(&Network, &Path),
    code: &'static str,
    advice: &'static str,
    refusal: &'static str,
}

const DAMAGES: [Damage; 4] = [
    Damage {
        name: "rubbish at its beginning",
        happen: |_, file| overwrite(file, 0, 10),
        code: "store_corrupt",
        advice: "restore the folder from a backup",
        refusal: "restore it from a backup",
    },
    Damage {
        name: "rubbish in its middle",
        happen: |_, file| overwrite(file, 100, 900),
        code: "store_corrupt",
        advice: "restore the folder from a backup",
        refusal: "restore it from a backup",
    },
    Damage {
        name: "cut off",
        happen: |_, file| cut_off(file, 500),
        code: "store_corrupt",
        advice: "restore the folder from a backup",
        refusal: "restore it from a backup",
    },
    Damage {
        name: "of a newer build",
        happen: from_the_future,
        code: "store_too_new",
        advice: "update this one",
        refusal: "update it",
    },
];

fn filled(scratch: &Scratch, relay: &Relay) -> (Device, Device, Vec<String>) {
    let (phone, laptop) = paired(scratch, relay.url());
    let texts: Vec<String> = (0..200).map(|number| format!("{number} {}", "text ".repeat(100))).collect();
    let input: Vec<&str> = texts.iter().map(String::as_str).collect();
    phone.run_with_input(&["push", "--lines", "--wait", "all", "--timeout", "60"], &input).ok();
    (phone, laptop, texts)
}

#[test]
fn a_damaged_profile_says_so_is_left_alone_and_works_once_it_is_put_back() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let relay = Relay::start(&scratch);
    let (phone, laptop, mut texts) = filled(&scratch, &relay);
    phone.settles();
    let database = phone.profile().join("profile.db");
    let backup = Backup::of(phone.profile());
    for damage in &DAMAGES {
        (damage.happen)(&network, &database);
        let damaged = std::fs::read(&database).expect("it is readable");
        for command in [&["pull", "--offline"][..], &["push", "lost?"], &["sync"]] {
            let outcome = phone.run(command);
            assert_eq!(outcome.error(), (damage.code, 8), "{}, {command:?}: {outcome:?}", damage.name);
            assert!(outcome.advice().contains(damage.advice), "{}: {}", damage.name, outcome.advice());
        }
        assert!(std::fs::read(&database).expect("it is readable") == damaged, "{}: it was written to", damage.name);
        backup.restore();
        assert_eq!(phone.log_after(0).len(), texts.len(), "{}", damage.name);
    }
    phone.run(&["push", "after", "--wait", "all", "--timeout", "60"]).ok();
    texts.push("after".to_owned());
    assert_eq!(laptop.texts_in_step(), texts);
    assert_eq!(phone.status()["badge"], "synced");
}

#[test]
fn a_relay_with_a_damaged_database_does_not_start_and_works_once_it_is_put_back() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let mut relay = Relay::start(&scratch);
    let (phone, laptop, mut texts) = filled(&scratch, &relay);
    relay.stop();
    let database = relay.data().join("relay.db");
    let backup = Backup::of(&relay.data());
    for damage in &DAMAGES {
        (damage.happen)(&network, &database);
        let damaged = std::fs::read(&database).expect("it is readable");
        let refusal = relay.refuses_to_restart();
        assert!(refusal.contains(damage.refusal), "{}: {refusal}", damage.name);
        // But for the page that counts how often it was opened.
        let left = std::fs::read(&database).expect("it is readable");
        assert!(left[PAGE..] == damaged[PAGE..], "{}: it was written to", damage.name);
        backup.restore();
    }
    assert_eq!(phone.push("meanwhile")["state"], "queued");
    texts.push("meanwhile".to_owned());
    relay.restart();
    phone.settles();
    assert_eq!(laptop.texts_in_step(), texts);
}
