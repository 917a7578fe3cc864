//! Kits as they are printed and typed, and what is told of one that is not whole.

use rand_core::SeedableRng;

use super::*;
use crate::roster::{Change, Genesis};

fn rng(seed: u8) -> chacha20::ChaCha20Rng {
    chacha20::ChaCha20Rng::from_seed([seed; 32])
}

fn code() -> KitCode {
    KitCode::from_bytes(&[0xab; KitCode::LEN])
}

/// The kit of a group that one device has just made.
fn kit(relays: &[&str]) -> Kit {
    let keys = GroupKeys::generate(&mut rng(1));
    let group = keys.group_id();
    let (device, kem) = (DeviceKey::generate(&mut rng(2)), DeviceKem::generate(&mut rng(3)));
    let profile = Profile::new("desk", "linux", "org.example.notes").expect("a short app id");
    let mut roster = Roster::new(group);
    roster.apply(Genesis::create(&group, (&device, &kem), &profile, 1)).expect("a genesis");
    let seed = KitSeed::generate(&mut rng(4));
    let request = seed.request(&group, &device.device_id(), "org.example.notes").expect("a short app id");
    let joined = roster.apply(request.admit(&group, &device, 2, &[])).expect("a member signs for it");
    assert_eq!(joined, Change::Added(vec![request.device]));
    assert!(roster.member(&request.device).expect("is one").is_kit, "it is known for what it is");
    let relays: Vec<_> = relays.iter().map(|relay| (*relay).to_owned()).collect();
    Kit::new(seed, &keys, &roster, &relays).expect("the group has a beginning")
}

#[test]
fn what_is_on_the_page_is_the_kit() {
    let before = kit(&["https://relay.example"]);
    let text = before.seal(&code());
    let after = Kit::open(&text, &code()).expect("opens");
    assert_eq!(after.device_id(), before.device_id());
    assert_eq!((after.group_id(), after.genesis, after.first), (before.group_id(), before.genesis, before.first));
    assert_eq!(after.keys.current().key_id(), before.keys.current().key_id());
    assert_eq!(after.keys.current().number(), before.keys.current().number());
    assert_eq!((after.app_id(), after.relays()), ("org.example.notes", &["https://relay.example".to_owned()][..]));
    assert_eq!(after.seed.as_bytes(), before.seed.as_bytes());
}

#[test]
fn a_text_survives_the_ways_it_is_printed_and_typed() {
    let text = kit(&[]).seal(&code());
    let lines: Vec<String> =
        text.as_bytes().chunks(5).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    for typed in [
        lines.join(" "),
        lines.join("\n"),
        text.to_lowercase(),
        text.replace('0', "o").replace("zerok", "ZEROK").to_uppercase().replace("ZEROK", "zerok").replace("1:", "1: "),
    ] {
        let typed = typed.replace("ZERoK", "ZEROK");
        assert!(Kit::open(&typed, &code()).is_ok(), "{typed}");
    }
}

#[test]
fn a_code_survives_the_ways_people_type_and_a_slip_is_told() {
    let text = code().to_text();
    assert_eq!(text.len(), KitCode::CHARS + 6);
    for typed in
        [text.to_string(), text.to_lowercase(), text.replace('-', " "), format!(" {}\n", text.replace('-', ""))]
    {
        assert_eq!(typed.parse::<KitCode>().expect(&typed).0, code().0);
    }
    let letters = text.replace('-', "");
    let (mut slips, mut told) = (0, 0);
    for (place, letter) in letters.char_indices() {
        for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars().filter(|other| *other != letter) {
            let mut typed = letters.clone();
            typed.replace_range(place..=place, &other.to_string());
            slips += 1;
            told += usize::from(typed.parse::<KitCode>().err() == Some(KitError::InvalidCode));
        }
    }
    // Twelve bits: one slip of some four thousand goes unnoticed.
    assert!(slips - told <= 1, "{told} of {slips}");
    for typed in ["", "ABCD", &letters[..27], &format!("{letters}0"), &format!("{}U", &letters[..27])] {
        assert_eq!(typed.parse::<KitCode>().err(), Some(KitError::InvalidCode), "{typed}");
    }
}

#[test]
fn a_wrong_code_and_a_damaged_text_are_told_apart() {
    let text = kit(&["https://relay.example"]).seal(&code());
    assert_eq!(Kit::open(&text, &KitCode::from_bytes(&[7; KitCode::LEN])).err(), Some(KitError::WrongCode));
    let damaged = |text: &str| assert_eq!(Kit::open(text, &code()).err(), Some(KitError::Damaged), "{text}");
    for len in 0..text.len() {
        damaged(&text[..len]);
    }
    for place in 12..text.len() {
        let mut altered = text.to_string();
        let other = if &altered[place..=place] == "A" { "B" } else { "A" };
        altered.replace_range(place..=place, other);
        damaged(&altered);
    }
    damaged(&format!("{}{}", *text, "0".repeat(2 * KIT_LEN_MAX)));
    let newer = text.replace("KIT:1:", "KIT:2:");
    assert_eq!(Kit::open(&newer, &code()).err(), Some(KitError::TooNew));
    assert_eq!(Kit::check(&newer), Err(KitError::TooNew));
    assert_eq!(Kit::check(&text), Ok(()));
}

#[test]
fn as_many_relays_come_along_as_a_page_has_room_for() {
    let long = "r".repeat(RELAY_NAME_LEN_MAX);
    let relays = [&*long, &*long, "b", "c", "d", "e"];
    assert_eq!(kit(&relays).relays(), [&*long, "b", "c", "d"]);
    let text = kit(&relays).seal(&code());
    assert!(text.len() < 2_200, "{}", text.len());
    assert!(Kit::open(&text, &code()).is_ok());
}

#[test]
fn nothing_of_a_kit_prints() {
    let (kit, code) = (kit(&[]), code());
    let printed = format!("{kit:?} {code:?}");
    assert!(printed.contains("KitSeed(..)") && printed.contains("KitCode(..)"), "{printed}");
    assert!(!printed.contains("171") && !printed.contains("abab"), "{printed}");
}

#[test]
fn a_device_that_was_paired_is_no_kit() {
    let keys = GroupKeys::generate(&mut rng(1));
    let group = keys.group_id();
    let [device, other] = [2, 3].map(|seed| DeviceKey::generate(&mut rng(seed)));
    let seed = KitSeed::generate(&mut rng(4));
    let request = seed.request(&group, &device.device_id(), "app").expect("a short app id");
    let is_kit = |inviter: &DeviceKey| match crate::roster::Entry::read(&group, &request.admit(&group, inviter, 2, &[]))
    {
        Ok(crate::roster::Entry::Joined(joined)) => joined.is_kit,
        entry => panic!("{entry:?}"),
    };
    assert!(is_kit(&device));
    assert!(!is_kit(&other), "it has signed for the one who made it");
}
