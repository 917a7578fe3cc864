//! The bytes this build makes from fixed inputs, against those written down in `tests/vectors`.
//!
//! Bindings read the same files. A difference means that devices of two builds no longer understand each other;
//! where that is meant, `UPDATE_VECTORS=1 cargo test -p sync-core --test vectors` writes them anew.

use std::path::Path;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use data_encoding::HEXLOWER;
use rand_core::SeedableRng;
use serde_json::{Value, json};
use sync_core::{
    keys::{DeviceKem, DeviceKey, EpochSecret, GroupKeys, GroupRoot},
    kit::{Kit, KitCode, KitSeed},
    pairing::{Creator, Grant, Joiner, PairingAction, PairingInput, Place},
    passphrase::{Derivation, Passphrase},
    roster::{Change, EntryHash, Genesis, Profile, Roster},
    seal::{Draft, open, seal},
    stored::Secrets,
};
use sync_types::{
    BlobHash, Invite, InviteCode, InviteLink, Kind, PushId, RelayId, Seq,
    invite::{Direct, Form},
};

const ROOT: [u8; 32] = [0x11; 32];
const EPOCH: [u8; 32] = [0x22; 32];
const CREATOR: [u8; 32] = [0x33; 32];
const JOINER: [u8; 32] = [0x44; 32];
const RELAY: [u8; 32] = [0x55; 32];
const LINK: [u8; 32] = [0x66; 32];
const DIRECT: [u8; 32] = [0x77; 32];

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn keys() -> GroupKeys {
    GroupKeys::new(GroupRoot::from_bytes(&ROOT), 7, EpochSecret::from_bytes(&EPOCH))
}

fn profile(name: &str) -> Profile {
    Profile::new(name, "linux", "org.example.notes").expect("a short app id")
}

fn assert_as_written(name: &str, now: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(now).expect("encodes");
        std::fs::write(&path, text + "\n").expect("the folder is there");
    }
    let text = std::fs::read_to_string(&path).expect("the vectors are part of the source");
    let written: Value = serde_json::from_str(&text).expect("they are JSON");
    assert_eq!(*now, written, "{name}");
}

#[test]
fn keys_derive_as_ever() {
    let keys = keys();
    let epoch = keys.current();
    let relay = epoch.secret().relay_auth(&RelayId::from_bytes(RELAY));
    let device = DeviceKey::from_seed(&CREATOR);
    let now = json!({
        "group_root": hex(ROOT),
        "epoch_secret": hex(EPOCH),
        "relay_id": hex(RELAY),
        "device_seed": hex(CREATOR),
        "kem_seed": hex(JOINER),
        "group_id": hex(keys.group_id().as_bytes()),
        "key_id": hex(epoch.key_id().as_bytes()),
        "envelope_key": hex(epoch.envelope_key().as_bytes()),
        "relay_auth_public": hex(relay.public().as_bytes()),
        "relay_group_id": hex(relay.relay_group_id().as_bytes()),
        "hello_signature": hex(relay.sign_hello(&device.device_id(), &RelayId::from_bytes(RELAY), &[0x66; 32])),
        "hello_exporter": hex([0x66; 32]),
        "device_id": hex(device.device_id().as_bytes()),
        "kem_public": hex(DeviceKem::from_bytes(&JOINER).public()),
    });
    assert_as_written("keys.json", &now);
}

#[test]
fn envelopes_are_sealed_as_ever() {
    let draft = Draft {
        kind: Kind::Data,
        ttl_s: 604_800,
        seq: Seq::new(2),
        prev: BlobHash::from_bytes([0x77; 32]),
        push_id: PushId::from_bytes([0x88; 16]),
        time_ms: 1_700_000_000_000,
        payload: Bytes::from_static(b"a note"),
        compress: false,
    };
    let envelope = seal(&keys(), &DeviceKey::from_seed(&CREATOR), draft.clone(), &mut rng(1));
    assert_eq!(open(&keys(), &envelope).expect("opens").payload, draft.payload);
    let now = json!({
        "group_root": hex(ROOT),
        "epoch": 7,
        "epoch_secret": hex(EPOCH),
        "device_seed": hex(CREATOR),
        "nonce": hex(envelope.header().nonce),
        "kind": draft.kind as u8,
        "ttl_s": draft.ttl_s,
        "seq": draft.seq.get(),
        "prev": hex(draft.prev.as_bytes()),
        "push_id": hex(draft.push_id.as_bytes()),
        "time_ms": draft.time_ms,
        "payload": hex(&draft.payload),
        "envelope": hex(envelope.as_bytes()),
        "hash": hex(envelope.hash().as_bytes()),
        "blob_id": hex(envelope.blob_id().as_bytes()),
    });
    assert_as_written("envelope.json", &now);
}

#[test]
fn secrets_rest_as_ever() {
    let secrets =
        Secrets { device: DeviceKey::from_seed(&CREATOR), kem: DeviceKem::from_bytes(&JOINER), group: Some(keys()) };
    assert_as_written("stored.json", &json!({ "stored": hex(secrets.to_stored()) }));
}

#[test]
fn passphrases_become_keys_as_ever() {
    // Each as it is typed. What is typed differently and looks the same is written here as the escapes it is.
    let typed = [
        ("plain", "correct horse battery staple", 64 * 1024, 3, 1),
        ("letters with accents apart", "Zu\u{308}rich, Mu\u{308}hle, Quarz", 46 * 1024, 1, 1),
        ("the same in one piece", "Z\u{fc}rich, M\u{fc}hle, Quarz", 46 * 1024, 1, 1),
        ("a ligature and a blank that does not break", "\u{fb01}ve\u{a0}owls", 19 * 1024, 2, 1),
        ("another writing", "\u{96fb}\u{8eca} \u{ff71}\u{ff72}\u{ff73}", 1_024, 10, 4),
    ];
    let cases: Vec<_> = typed
        .into_iter()
        .map(|(what, typed, memory_kib, passes, lanes)| {
            let salt = [0x5A; 16];
            let derivation = Derivation::new(memory_kib, passes, lanes, salt).expect("within the limits");
            let passphrase = Passphrase::new(typed).expect("a line of text");
            json!({
                "what": what,
                "typed": hex(typed),
                "hashed": hex(passphrase.as_str()),
                "memory_kib": memory_kib,
                "passes": passes,
                "lanes": lanes,
                "salt": hex(salt),
                "stored": hex(derivation.to_bytes()),
                "epoch_secret": hex(EpochSecret::from_passphrase(&passphrase, &derivation).as_bytes()),
            })
        })
        .collect();
    assert_eq!(cases[1]["epoch_secret"], cases[2]["epoch_secret"]);
    assert_as_written("passphrase.json", &json!(cases));
}

#[test]
fn kits_are_made_and_sealed_as_ever() {
    let mut group = GroupKeys::new(GroupRoot::from_bytes(&ROOT), 0, EpochSecret::from_bytes(&LINK));
    group.insert(7, EpochSecret::from_bytes(&EPOCH));
    let id = group.group_id();
    let (host, host_kem) = (DeviceKey::from_seed(&CREATOR), DeviceKem::from_bytes(&CREATOR));
    let mut roster = Roster::new(id);
    let genesis = Genesis::create(&id, (&host, &host_kem), &profile("desk"), 1);
    assert!(matches!(roster.apply(genesis.clone()), Ok(Change::Added(_))));
    let seed = || KitSeed::from_bytes(&JOINER);
    let request = seed().request(&id, &host.device_id(), "org.example.notes").expect("a short app id");
    let joined = request.admit(&id, &host, 2, &[]);
    let code = KitCode::from_bytes(&[0x99; KitCode::LEN]);
    let kit = Kit::new(seed(), &group, &roster, &["http://relay.example".to_owned()]).expect("it has a beginning");
    let text = kit.seal(&code);
    assert_eq!(Kit::open(&text, &code).expect("opens").device_id(), request.device);
    let now = json!({
        "group_root": hex(ROOT),
        "first_epoch_secret": hex(LINK),
        "epoch": 7,
        "epoch_secret": hex(EPOCH),
        "inviter_seed": hex(CREATOR),
        "genesis": hex(&genesis),
        "genesis_hash": hex(EntryHash::of(&genesis).as_bytes()),
        "kit_seed": hex(JOINER),
        "kit_device_id": hex(request.device.as_bytes()),
        "joined": hex(&joined),
        "app_id": "org.example.notes",
        "relays": ["http://relay.example"],
        "code_bytes": hex([0x99; KitCode::LEN]),
        "code": code.to_text().as_str(),
        "text": text.as_str(),
    });
    assert_as_written("kit.json", &now);
}

#[test]
fn pairing_by_code_goes_as_ever() {
    assert_as_written("pairing.json", &pairing(Form::Code));
}

#[test]
fn pairing_by_link_goes_as_ever() {
    assert_as_written("pairing-link.json", &pairing(Form::Link));
}

/// A pairing with a joiner that was given this form of the invite.
fn pairing(form: Form) -> Value {
    let code: InviteCode = "ABCD-EFGH-JKMN-PQRS".parse().expect("a code");
    let mut link = InviteLink::new(code.mailbox(), LINK).with_relays(vec!["http://relay.example".to_owned()]);
    if form == Form::Link {
        // As a device writes it that can be reached; the other file has a link without.
        let addresses = ["192.0.2.7:40000", "[2001:db8::7]:40001"];
        let addresses = addresses.map(|address| address.parse().expect("an address")).to_vec();
        link = link.with_direct(Direct { endpoint: DIRECT, addresses });
    }
    let (code_text, link_text) = (code.to_text(), link.to_text(InviteLink::SCHEME));
    let given: Invite = if form == Form::Code { &code_text } else { &link_text }.parse().expect("an invite");
    let keys = keys();
    let group = keys.group_id();
    let (host, host_kem) = (DeviceKey::from_seed(&CREATOR), DeviceKem::from_bytes(&CREATOR));
    let secrets = Secrets { device: DeviceKey::from_seed(&JOINER), kem: DeviceKem::from_bytes(&JOINER), group: None };
    let mut roster = Roster::new(group);
    let genesis = Genesis::create(&group, (&host, &host_kem), &profile("desk"), 1);
    assert!(matches!(roster.apply(genesis.clone()), Ok(Change::Added(_))));

    let (mut creator, mut from_creator) = Creator::start(group, &profile("desk"), &code, &link, &mut rng(1));
    let (mut joiner, mut from_joiner) = Joiner::start(secrets, profile("phone"), &given, &mut rng(2));
    let mut messages: Vec<Bytes> = Vec::new();
    let mut digits = Vec::new();
    let mut joined = None;
    let mut done = false;
    while !from_creator.is_empty() || !from_joiner.is_empty() {
        for action in std::mem::take(&mut from_creator) {
            match action {
                PairingAction::Create { message, .. } | PairingAction::Post { message, .. } => {
                    let input = PairingInput::Message {
                        index: u8::try_from(messages.len()).expect("few"),
                        bytes: message.clone(),
                    };
                    messages.push(message);
                    from_joiner.extend(joiner.handle(input));
                }
                PairingAction::ShowDigits { digits: shown, .. } => {
                    digits.push(shown.to_string());
                    from_creator.extend(creator.handle(PairingInput::Approve));
                }
                PairingAction::Deliver(request) => {
                    let entry = request.admit(&group, &host, 2, &[]);
                    assert!(matches!(roster.apply(entry.clone()), Ok(Change::Added(_))));
                    joined = Some(entry);
                    let place =
                        Place { sender: host.device_id(), seq: Seq::new(2), hash: BlobHash::from_bytes([0x77; 32]) };
                    let relays = ["http://relay.example".to_owned()];
                    let grant = Grant { keys: &keys, roster: &roster, frontier: &[place], relays: &relays };
                    from_creator.extend(creator.grant(grant));
                }
                PairingAction::Done => done = true,
                PairingAction::Claim { .. } | PairingAction::Wait { .. } | PairingAction::Burn => {}
                PairingAction::Failed(error) => panic!("{error}"),
            }
        }
        for action in std::mem::take(&mut from_joiner) {
            match action {
                PairingAction::Post { index, message } => {
                    messages.push(message.clone());
                    from_creator.extend(creator.handle(PairingInput::Message { index, bytes: message }));
                }
                PairingAction::ShowDigits { digits: shown, .. } => {
                    digits.push(shown.to_string());
                    from_joiner.extend(joiner.handle(PairingInput::Approve));
                }
                PairingAction::Create { .. }
                | PairingAction::Claim { .. }
                | PairingAction::Wait { .. }
                | PairingAction::Deliver(_)
                | PairingAction::Burn
                | PairingAction::Done => {}
                PairingAction::Failed(error) => panic!("{error}"),
            }
        }
    }
    assert!(done && digits[0] == digits[1]);
    let joined = joined.expect("admitted");
    json!({
        "code": code_text,
        "link": link_text,
        "joiner_was_given": form.name(),
        "group_root": hex(ROOT),
        "epoch": 7,
        "epoch_secret": hex(EPOCH),
        "creator_seed": hex(CREATOR),
        "creator_rng_seed": hex([1; 32]),
        "joiner_seed": hex(JOINER),
        "joiner_rng_seed": hex([2; 32]),
        "messages": messages.iter().map(hex).collect::<Vec<_>>(),
        "digits": digits[0],
        "genesis": hex(&genesis),
        "genesis_hash": hex(EntryHash::of(&genesis).as_bytes()),
        "joined": hex(&joined),
        "joined_hash": hex(EntryHash::of(&joined).as_bytes()),
        "roster_head": hex(roster.head()),
    })
}
