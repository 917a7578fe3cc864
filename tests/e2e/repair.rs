//! What a disk has damaged is mended, what nobody can mend is named, and what is whole is left alone.

use std::{fs, thread, time::Duration};

use serde_json::Value;
use sync_tests::{
    Device, Network, Relay, RelaySetup, Scratch,
    damage::{self, blob_ids, dump, overwrite},
    eventually, paired, pairing,
};

const SOON: Duration = Duration::from_secs(60);

/// What was found and mended of each part, and the code of what is wrong still.
fn parts(lines: &[Value]) -> Vec<(String, u64, u64, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let number = |value: &Value| value.as_u64().expect("a number");
    let parts = lines.iter().filter(|line| line["part"].is_string());
    parts
        .map(|line| {
            (text(&line["part"]).expect("a part"), number(&line["found"]), number(&line["mended"]), text(&line["code"]))
        })
        .collect()
}

fn part(lines: &[Value], name: &str) -> (u64, u64, Option<String>) {
    let of = parts(lines).into_iter().find(|(part, ..)| part == name);
    let (_, found, mended, code) = of.unwrap_or_else(|| panic!("no {name}: {lines:?}"));
    (found, mended, code)
}

#[test]
fn what_the_disk_has_damaged_comes_again_and_is_where_it_was() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    for text in ["one", "two", "three", "four"] {
        phone.push(text);
    }
    phone.settles();
    laptop.settles();
    laptop.push("the laptop's own");
    laptop.settles();
    laptop.run(&["ack", "1"]).ok();
    let before = laptop.log_after(0);
    assert_eq!(before.len(), 5);
    // What is in no log of a relay tells nothing of how the file was left: the database as such stays whole.
    for cursor in [1, 3, 5] {
        damage::envelope(&network, laptop.profile(), cursor);
    }
    assert_eq!(laptop.run(&["pull", "--offline"]).error(), ("store_corrupt", 8));
    let doctor = laptop.run(&["doctor"]);
    assert_eq!(doctor.error(), ("store_corrupt", 8));
    let store = doctor.lines.iter().find(|line| line["check"] == "store").expect("it was looked at");
    assert!(store["text"].as_str().is_some_and(|text| text.contains(": 3;")), "{store}");

    let lines = laptop.run(&["repair"]).ok();
    assert_eq!(part(&lines, "envelopes"), (2, 2, None), "{lines:?}");
    assert_eq!(part(&lines, "own"), (1, 1, None), "{lines:?}");
    assert_eq!(part(&lines, "relay"), (0, 0, None), "{lines:?}");
    assert_eq!(laptop.log_after(0), before, "each is where it was, under its names");
    assert_eq!(laptop.status()["badge"], "synced");
    let again = laptop.run(&["repair"]).ok();
    assert!(parts(&again).iter().all(|(_, found, ..)| *found == 0), "{again:?}");
}

#[test]
fn a_healthy_profile_is_left_as_it_is_and_so_is_its_relay() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let setup = RelaySetup { config: "[cleanup]\ninterval = 1\n", ..RelaySetup::default() };
    let relay = Relay::start_with(&scratch, setup);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.run(&["push", "for a moment", "--ttl", "1", "--wait", "all"]).ok();
    phone.push("to stay");
    for device in [&phone, &laptop] {
        device.settles();
    }
    laptop.push("from the other side");
    laptop.settles();
    phone.settles();
    eventually("what was for a moment is off the relay", SOON, || {
        (relay.health()["blobs_stored"].as_u64() < Some(blob_ids(&network, &relay).1 as u64)).then_some(())
    });
    // What devices say of themselves has been said by now.
    thread::sleep(Duration::from_secs(4));
    let (before, there) = (dump(&network, phone.profile()), blob_ids(&network, &relay));
    let lines = phone.run(&["repair"]).ok();
    let names: Vec<_> = parts(&lines).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["store", "envelopes", "own", "waiting", "snapshots", "relay"]);
    assert!(parts(&lines).iter().all(|(_, found, mended, code)| (*found, *mended, code) == (0, 0, &None)), "{lines:?}");
    assert_eq!(dump(&network, phone.profile()), before);
    assert_eq!(blob_ids(&network, &relay), there);
    assert_eq!(phone.status()["badge"], "synced");
}

#[test]
fn what_nobody_else_has_is_named_and_kept() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.settles();
    laptop.settles();
    relay.stop();
    let lost = phone.push("never sent");
    phone.push("sent later");
    damage::envelope(&network, phone.profile(), 1);
    let name = lost["push_id"].as_str().expect("a name").to_uppercase();
    let row = || dump(&network, phone.profile()).into_iter().find(|line| line.contains(&name)).expect("it is held");
    let kept = row();

    // Nobody answers: that is said, and nothing is made of it.
    let alone = phone.run(&["repair", "--timeout", "3"]);
    assert_eq!(alone.code, 8, "{alone:?}");
    assert_eq!(part(&alone.lines, "own"), (1, 0, Some("store_corrupt".to_owned())));
    assert_eq!(part(&alone.lines, "relay").2.as_deref(), Some("offline"));

    relay.restart();
    let repaired = phone.run(&["repair", "--timeout", "20"]);
    assert_eq!(repaired.error(), ("store_corrupt", 8));
    let own = repaired.lines.iter().find(|line| line["part"] == "own").expect("it was looked at");
    assert_eq!((&own["found"], &own["mended"]), (&1.into(), &0.into()));
    assert_eq!((&own["lost"][0]["cursor"], &own["lost"][0]["push_id"]), (&lost["cursor"], &lost["push_id"]));
    assert_eq!(row(), kept, "it is where it was");
    // It was offered to nobody, and what came after it is on its way all the same.
    laptop.run(&["sync", "--timeout", "55"]).only_line();
    let texts: Vec<_> = laptop.log_after(0).iter().map(|blob| blob.text().to_owned()).collect();
    assert_eq!(texts, ["sent later"], "what is missing was waited for, and given up");
    let status = phone.status();
    assert!(status["pending"].as_u64() >= Some(1) && status["badge"] == "failed", "nobody calls that synced: {status}");
}

#[test]
fn a_relay_is_given_what_it_never_had() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let relay = |name| Relay::start_with(&scratch, RelaySetup { name, ..RelaySetup::default() });
    let (first, second) = (relay("first"), relay("second"));
    let (phone, laptop) = paired(&scratch, first.url());
    laptop.settles();
    phone.settles();
    phone.run(&["relay", "add", second.url()]).ok();
    phone.settles();
    // The laptop does not know the second one.
    laptop.push("on the first alone");
    laptop.settles();
    phone.settles();
    let has = blob_ids(&network, &second).1;
    let lines = phone.run(&["repair"]).ok();
    let relays: Vec<_> = lines.iter().filter(|line| line["part"] == "relay").collect();
    assert_eq!((&relays[0]["relay"], &relays[0]["found"]), (&first.url().into(), &0.into()), "{lines:?}");
    assert_eq!((&relays[1]["relay"], &relays[1]["found"]), (&second.url().into(), &1.into()), "{lines:?}");
    assert_eq!(blob_ids(&network, &second).1, has + 1);
    assert!(blob_ids(&network, &first).0.is_subset(&blob_ids(&network, &second).0));
}

#[test]
fn what_a_relays_disk_has_changed_is_served_to_nobody_and_brought_again() {
    let (scratch, network) = (Scratch::new(), Network::new());
    let mut relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let texts = ["one", "two", "three", "four", "five", "six"];
    for text in texts {
        phone.push(text);
    }
    phone.settles();
    laptop.settles();
    laptop.push("the laptop's own");
    laptop.settles();
    phone.settles();
    let before = blob_ids(&network, &relay);
    relay.stop();
    // The last row is of who comes first, the one in the middle of who comes later.
    for row in [5, before.1 as i64] {
        damage::row(&network, &relay, row);
    }
    relay.restart();
    let bad = |relay: &Relay| {
        let metrics = relay.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix("sync_relay_blobs_damaged_total "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    // Nobody reads those rows any more: the relay looks for itself.
    eventually("the relay has found them", SOON, || (bad(&relay) == 2).then_some(()));
    assert_eq!(blob_ids(&network, &relay).1, before.1 - 2, "what is damaged is in no log");

    phone.settles();
    laptop.settles();
    assert_eq!(blob_ids(&network, &relay), before, "each brought what it had");
    assert_eq!((phone.status()["badge"].as_str(), laptop.status()["badge"].as_str()), (Some("synced"), Some("synced")));
    let tablet = Device::new(&scratch, "tablet", relay.url());
    pairing(&phone, &tablet);
    let mut has = tablet.texts_in_step();
    has.sort_unstable();
    let mut all: Vec<_> = texts.into_iter().chain(["the laptop's own"]).map(str::to_owned).collect();
    all.sort_unstable();
    assert_eq!(has, all, "whoever comes later has all of it");
    assert_eq!(bad(&relay), 2);
}

#[test]
fn a_database_that_cannot_be_read_is_set_aside_if_that_is_asked_for() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.push("kept by the others");
    phone.settles();
    laptop.settles();
    assert_eq!(phone.run(&["repair", "--set-aside"]).error(), ("invalid_argument", 2), "it can be read");
    let database = phone.profile().join("profile.db");
    overwrite(&database, 0, 500);
    let damaged = fs::read(&database).expect("it is readable");
    let repaired = phone.run(&["repair"]);
    assert_eq!(repaired.error(), ("store_corrupt", 8));
    assert_eq!(part(&repaired.lines, "store").2.as_deref(), Some("store_corrupt"));
    assert!(fs::read(&database).expect("it is readable") == damaged, "only who asks for it has it set aside");

    let aside = phone.run(&["repair", "--set-aside"]).only_line();
    let folder = aside["set_aside"].as_str().expect("a folder");
    assert!(fs::read(format!("{folder}/profile.db")).expect("it is there") == damaged, "nothing is deleted");
    assert!(fs::exists(format!("{folder}/secrets.key")).expect("readable"), "its keys are beside it");
    phone.run(&["init", "--name", "phone", "--relay", relay.url(), "--secrets", "file"]).only_line();
    pairing(&laptop, &phone);
    assert_eq!(phone.texts_in_step(), ["kept by the others"]);
}
