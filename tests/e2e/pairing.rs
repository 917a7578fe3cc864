//! An invite and six digits bring two devices into one group, and nobody else.

use std::{path::PathBuf, time::Duration};

use sync_tests::{Device, Relay, Scratch, paired, pairing};

const STEP_MAX: Duration = Duration::from_secs(30);

#[test]
fn both_screens_show_the_same_digits_and_each_the_others_name() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = (Device::new(&scratch, "phone", relay.url()), Device::new(&scratch, "laptop", relay.url()));
    let (created, joined) = pairing(&phone, &laptop);

    let digits = created[1]["confirm"]["digits"].as_str().expect("digits");
    assert!(digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{digits}");
    assert_eq!(created[1]["confirm"]["name"], "laptop");
    assert_eq!(joined[0]["confirm"]["name"], "phone");
    assert_eq!(created[2]["joined"]["name"], "laptop");
    assert_eq!(created[2]["joined"]["device_id"], joined[1]["device_id"]);
    assert_eq!(joined[1]["group_id"].as_str().map(str::len), Some(64));

    for device in [&phone, &laptop] {
        let devices = device.run(&["devices"]).ok();
        let mut names: Vec<&str> = devices.iter().filter_map(|device| device["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["laptop", "phone"]);
        assert_eq!(devices.iter().filter(|device| device["this"] == true).count(), 1);
    }
}

#[test]
fn a_relay_may_be_named_in_three_ways() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    for (name, address) in [("url", relay.url()), ("ticket", relay.ticket()), ("direct", &relay.id_at_addr())] {
        let first = Device::new(&scratch, &format!("{name}-1"), address);
        let second = Device::new(&scratch, &format!("{name}-2"), address);
        pairing(&first, &second);
        first.push(name);
        first.sync();
        assert_eq!(second.texts(), [name]);
    }
}

#[test]
fn who_joins_later_reads_what_was_pushed_before() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    phone.push("one");
    laptop.push("two");
    phone.sync();
    laptop.sync();
    let tablet = Device::new(&scratch, "tablet", relay.url());
    pairing(&laptop, &tablet);
    tablet.push("three");
    tablet.sync();
    for device in [&phone, &laptop, &tablet] {
        let mut texts = device.texts();
        texts.sort_unstable();
        assert_eq!(texts, ["one", "three", "two"]);
        assert_eq!(device.run(&["devices"]).ok().len(), 3);
    }
}

#[test]
fn a_person_who_says_no_shares_nothing() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    for (round, (creator_says, joiner_says)) in [("no", "yes"), ("yes", "no")].into_iter().enumerate() {
        let phone = Device::new(&scratch, &format!("phone-{round}"), relay.url());
        let laptop = Device::new(&scratch, &format!("laptop-{round}"), relay.url());
        let mut create = phone.spawn(&["pair", "--create"]);
        let code = create.expect("the code", STEP_MAX)["code"].as_str().map(str::to_owned).expect("a code");
        let mut join = laptop.spawn(&["pair", "--join", &code]);
        join.expect("its digits", STEP_MAX);
        create.expect("its digits", STEP_MAX);
        create.say(creator_says);
        join.say(joiner_says);
        for process in [&mut create, &mut join] {
            let (status, said) = process.finish(STEP_MAX);
            assert_eq!(status.code(), Some(7), "{said:?}");
            assert_eq!(said.last().map(|line| &line["error"]["code"]), Some(&"pairing_denied".into()));
        }
        assert_eq!(laptop.run(&["push", "x"]).error(), ("no_group", 3));
    }
}

#[test]
fn one_wrong_guess_burns_the_code() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let phone = Device::new(&scratch, "phone", relay.url());
    let (stranger, laptop) =
        (Device::new(&scratch, "stranger", relay.url()), Device::new(&scratch, "laptop", relay.url()));
    let mut create = phone.spawn(&["pair", "--create", "--yes"]);
    let code = create.expect("the code", STEP_MAX)["code"].as_str().map(str::to_owned).expect("a code");
    let last = if code.ends_with('0') { '1' } else { '0' };
    let guess = format!("{}{last}", &code[..code.len() - 1]);

    assert_eq!(stranger.run(&["pair", "--join", &guess, "--yes"]).error(), ("wrong_code", 7));
    let (status, said) = create.finish(STEP_MAX);
    assert_eq!(status.code(), Some(7), "{said:?}");
    assert_eq!(said.last().map(|line| &line["error"]["code"]), Some(&"wrong_code".into()));
    assert_eq!(laptop.run(&["pair", "--join", &code, "--yes"]).error(), ("invite_not_found", 7));
}

#[test]
fn a_code_works_once() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let phone = Device::new(&scratch, "phone", relay.url());
    let laptop = Device::new(&scratch, "laptop", relay.url());
    let late = Device::new(&scratch, "late", relay.url());
    let mut create = phone.spawn(&["pair", "--create", "--yes"]);
    let code = create.expect("the code", STEP_MAX)["code"].as_str().map(str::to_owned).expect("a code");
    let typed = code.to_lowercase().replace('-', " ");
    laptop.run(&["pair", "--join", &typed, "--yes"]).ok();
    assert!(create.finish(STEP_MAX).0.success());
    assert_eq!(late.run(&["pair", "--join", &code, "--yes"]).error(), ("invite_not_found", 7));
}

/// What a camera would see of the other device's screen.
fn photograph(scratch: &Scratch, text: &str) -> PathBuf {
    const PIXELS: u32 = 6;
    const QUIET: u32 = 4;
    let code = qrcode::QrCode::new(text).expect("it fits");
    let width = u32::try_from(code.width()).expect("small");
    let side = (width + 2 * QUIET) * PIXELS;
    let picture = image::GrayImage::from_fn(side, side, |x, y| {
        let module = |pixel: u32| (pixel / PIXELS).checked_sub(QUIET).filter(|at| *at < width);
        let dark = module(x).zip(module(y)).is_some_and(|(x, y)| {
            code[(usize::try_from(x).expect("small"), usize::try_from(y).expect("small"))] == qrcode::Color::Dark
        });
        image::Luma([if dark { 20 } else { 230 }])
    });
    let file = scratch.file("screen.png", []);
    picture.save(&file).expect("the scratch folder is writable");
    file
}

#[test]
fn a_link_leads_to_a_group_on_a_relay_that_the_joiner_did_not_know() {
    let (here, there) = (Scratch::new(), Scratch::new());
    let (relay, other_relay) = (Relay::start(&here), Relay::start(&there));
    let phone = Device::new(&here, "phone", relay.url());
    let laptop = Device::new(&there, "laptop", other_relay.url());
    let mut create = phone.spawn(&["pair", "--create", "--yes"]);
    let link = create.expect("the invite", STEP_MAX)["link"].as_str().map(str::to_owned).expect("a link");

    // Half a link is told from a wrong one, and costs nothing.
    assert_eq!(laptop.run(&["pair", "--join", &link[..link.len() - 3], "--yes"]).error(), ("invalid_code", 7));
    laptop.run(&["pair", "--join", &link, "--yes"]).ok();
    assert!(create.finish(STEP_MAX).0.success());

    phone.run(&["push", "from the phone", "--wait", "all"]).ok();
    laptop.run(&["push", "from the laptop", "--wait", "all", "--timeout", "60"]).ok();
    laptop.sync();
    phone.sync();
    for device in [&phone, &laptop] {
        let mut texts = device.texts();
        texts.sort_unstable();
        assert_eq!(texts, ["from the laptop", "from the phone"]);
    }
    assert_eq!(laptop.status()["relays"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_picture_of_the_screen_is_as_good_as_its_link() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let phone = Device::new(&scratch, "phone", relay.url());
    let laptop = Device::new(&scratch, "laptop", relay.url());
    let mut create = phone.spawn(&["pair", "--create", "--yes"]);
    let link = create.expect("the invite", STEP_MAX)["link"].as_str().map(str::to_owned).expect("a link");

    let nothing = scratch.file("nothing.png", b"no picture");
    let refused = laptop.run(&["pair", "--join", nothing.to_str().expect("UTF-8"), "--yes"]);
    assert_eq!(refused.error(), ("invalid_argument", 2));
    let picture = photograph(&scratch, &link);
    laptop.run(&["pair", "--join", picture.to_str().expect("UTF-8"), "--yes"]).ok();
    assert!(create.finish(STEP_MAX).0.success());
    assert_eq!(laptop.run(&["devices"]).ok().len(), 2);
}

/// Two devices that know a relay which isn't there. One takes what was made of the other's link, and both people agree.
fn paired_without_a_relay(scratch: &Scratch, handed_over: impl FnOnce(&str) -> String) -> [Device; 2] {
    const NOWHERE: &str = "http://127.0.0.1:1";
    let (phone, laptop) = (Device::new(scratch, "phone", NOWHERE), Device::new(scratch, "laptop", NOWHERE));
    let mut create = phone.spawn(&["pair", "--create"]);
    let invite = create.expect("the invite", STEP_MAX);
    assert_eq!(invite.get("code"), None, "a code would lead nowhere: {invite}");
    let mut join = laptop.spawn(&["pair", "--join", &handed_over(invite["link"].as_str().expect("a link"))]);
    let digits = [create.expect("its digits", STEP_MAX), join.expect("its digits", STEP_MAX)];
    assert_eq!(digits[0]["confirm"]["digits"], digits[1]["confirm"]["digits"]);
    for process in [&mut create, &mut join] {
        process.say("yes");
    }
    for process in [&mut create, &mut join] {
        let (status, said) = process.finish(STEP_MAX);
        assert!(status.success(), "{said:?}");
    }
    for device in [&phone, &laptop] {
        assert_eq!(device.run(&["devices"]).ok().len(), 2);
    }
    [phone, laptop]
}

#[test]
fn two_devices_in_one_network_pair_without_any_relay() {
    let scratch = Scratch::new();
    let [_phone, laptop] = paired_without_a_relay(&scratch, str::to_owned);
    // What is pushed waits for a relay.
    laptop.push("later");
    assert_eq!(laptop.run(&["sync", "--timeout", "30"]).error(), ("offline", 4));
}

#[test]
fn so_they_do_by_a_picture_of_the_screen_and_what_waited_travels_once_there_is_a_relay() {
    let scratch = Scratch::new();
    let picture = |link: &str| photograph(&scratch, link).to_str().expect("UTF-8").to_owned();
    let devices = paired_without_a_relay(&scratch, picture);
    devices[0].push("from the phone");
    devices[1].push("from the laptop");
    let relay = Relay::start(&scratch);
    for device in &devices {
        device.run(&["relay", "add", relay.url()]).only_line();
        device.run(&["relay", "remove", "http://127.0.0.1:1"]).only_line();
    }
    for device in &devices {
        device.settles();
    }
    for device in &devices {
        let mut texts = device.texts_in_step();
        texts.sort_unstable();
        assert_eq!(texts, ["from the laptop", "from the phone"]);
    }
}

#[test]
fn what_can_not_be_paired_is_said_to_be_so() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    assert_eq!(laptop.run(&["pair", "--join", "ABCD-EFGH-JKMN-PQRS", "--yes"]).error(), ("already_in_group", 7));

    let tablet = Device::new(&scratch, "tablet", relay.url());
    assert_eq!(tablet.run(&["pair", "--join", "ABCD-EFGH", "--yes"]).error(), ("invalid_code", 7));
    assert_eq!(tablet.run(&["pair", "--join", "ABCD-EFGH-JKMN-PQRS", "--yes"]).error(), ("invite_not_found", 7));

    let other = Device::uninitialised(&scratch, "other", "warn");
    other.run(&["init", "--name", "x", "--relay", relay.url(), "--app", "another.app", "--secrets", "file"]).ok();
    let mut create = phone.spawn(&["pair", "--create", "--yes"]);
    let code = create.expect("the code", STEP_MAX)["code"].as_str().map(str::to_owned).expect("a code");
    assert_eq!(other.run(&["pair", "--join", &code, "--yes"]).error(), ("other_app", 7));
}
