//! Every message against its bytes, annotated. A change of any of these is a change of the protocol.

use std::collections::BTreeSet;

use bytes::Bytes;
use sync_types::{
    AuthPublic, BlobHash, BlobId, Body, DeviceId, DeviceMsg, Envelope, ErrorCode, FrameBuffer, Header, KeyId, Kind,
    LogId, PushId, RawFrame, RelayCursor, RelayGroupId, RelayId, RelayMsg, Run, Seq,
    envelope::{HEADER_LEN, NONCE_LEN},
    frame::{DecodeError, FrameError},
    invite::MailboxName,
    limits::{FRAME_LEN_MAX, MOVE_OVER_MAX, PROTOCOL_VERSION, RECEIPTS_MAX, SNAPSHOTS_KEPT},
    mailbox::{self, MailboxReply, MailboxRequest, Token},
    message::{
        Ack, Gap, Get, Got, Hello, Left, Limits, Move, MoveAck, Moved, Notify, Over, Page, Presence, Pull, Push,
        PushAck, Receipt, ReceiptAck, Receipts, Refused, Row, RowKind, Snapshot, SnapshotAck, SnapshotPart, Snapshots,
        Welcome,
    },
    wire::AtMost,
};

/// Bytes from a dump: hex digits, and comments from `#` to the end of a line. `xx*n` repeats a byte.
fn bytes_of(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in dump.lines().map(|line| line.split('#').next().unwrap_or("")).flat_map(str::split_whitespace) {
        let (digits, count) = word.split_once('*').unwrap_or((word, "1"));
        let count: usize = count.parse().expect("a count");
        for _ in 0..count {
            for pair in digits.as_bytes().chunks(2) {
                let pair = std::str::from_utf8(pair).expect("ascii");
                bytes.push(u8::from_str_radix(pair, 16).expect("hex digits"));
            }
        }
    }
    bytes
}

fn framed(dump: &str) -> Vec<u8> {
    let content = bytes_of(dump);
    let mut frame = u32::try_from(content.len()).expect("small").to_be_bytes().to_vec();
    frame.extend(content);
    frame
}

fn raw(frame: &[u8]) -> RawFrame {
    let mut buffer = FrameBuffer::default();
    buffer.extend(frame);
    let raw = buffer.next_frame().expect("a frame").expect("a whole one");
    assert!(!buffer.is_mid_frame(), "and nothing after it");
    raw
}

macro_rules! assert_wire {
    ($direction:ident, $message:expr, $dump:expr) => {{
        let (message, expected) = ($direction::from($message), framed($dump));
        assert_eq!(message.to_frame().as_ref(), expected, "{message:?}");
        assert_eq!($direction::from_frame(&raw(&expected)).expect("decodes"), message);
    }};
}

const BLOB: BlobId = BlobId::from_bytes([0xB1; 16]);

fn row(kind: RowKind, bytes: &'static [u8]) -> Row {
    Row { kind: kind as u8, timestamp_ms: 5, bytes: Bytes::from_static(bytes) }
}

#[test]
fn greeting() {
    let hello = Hello {
        version: PROTOCOL_VERSION,
        group: RelayGroupId::from_bytes([0x6E; 32]),
        auth_public: AuthPublic::from_bytes([0xAA; 32]),
        last_cursor: RelayCursor::new(300),
        log_id: Some(LogId::from_bytes([0x10; 16])),
        signature: Bytes::from_static(&[0x51; 64]),
        features: 0,
    };
    assert_wire!(
        DeviceMsg,
        hello.clone(),
        "01 97          # HELLO, 7 fields
         01             # version
         c420 6e*32     # relay group id
         c420 aa*32     # public key
         cd012c         # last cursor 300
         c410 10*16     # log id
         c440 51*64     # signature
         00             # features"
    );
    assert_wire!(
        DeviceMsg,
        Hello { log_id: None, ..hello },
        "01 97 01 c420 6e*32 c420 aa*32 cd012c
         c0             # no log met yet
         c440 51*64 00"
    );
    assert_wire!(
        RelayMsg,
        Welcome {
            version: PROTOCOL_VERSION,
            relay: RelayId::from_bytes([0x4E; 32]),
            log_id: LogId::from_bytes([0x10; 16]),
            max_cursor: RelayCursor::new(7),
            floor_cursor: RelayCursor::new(2),
            pending_count: 4,
            limits: Limits {
                blob_len_max: 1 << 20,
                group_bytes_max: 100 << 20,
                ttl_s_default: 604_800,
                ttl_s_max: 0,
                burst: 50_000,
                per_minute: 100,
            },
            features: 0,
        },
        "02 98          # WELCOME, 8 fields
         01             # version
         c420 4e*32     # relay id
         c410 10*16     # log id
         07 02 04       # max cursor, floor cursor, pending
         96             # limits, 6 fields
         ce00100000     # blob length
         ce06400000     # group bytes
         ce00093a80     # default time to live: a week
         00             # longest time to live: no limit
         cdc350 64      # burst, a minute
         00             # features"
    );
}

#[test]
fn pushing() {
    assert_wire!(
        DeviceMsg,
        Push { id: 9, age_s: 3, envelope: Bytes::from_static(b"sealed") },
        "10 93          # PUSH, 3 fields
         09 03          # id, age in seconds
         c406 7365616c6564"
    );
    assert_wire!(
        RelayMsg,
        PushAck {
            id: 9,
            blob_id: BLOB,
            cursor: RelayCursor::new(8),
            run: Run::from_bytes([0x2F; 32]),
            timestamp_ms: 1_790_000_000_000,
        },
        "11 95          # PUSH_ACK, 5 fields
         09             # id
         c410 b1*16     # blob id
         08             # cursor
         c420 2f*32     # run
         cf000001a0c4506c00 # Unix milliseconds"
    );
}

#[test]
fn pulling() {
    assert_wire!(
        DeviceMsg,
        Pull { id: 1, after: RelayCursor::START, run: Run::START, limit: 1_000, follow: true },
        "20 95          # PULL, 5 fields
         01 00          # id, after
         c420 00*32     # run
         cd03e8 c3      # limit, follow"
    );
    let rows = vec![row(RowKind::Blob, b"e"), row(RowKind::Expired, &[0xB1; 16]), row(RowKind::Yours, &[0xB2; 16])];
    assert_wire!(
        RelayMsg,
        Page { id: 1, after: RelayCursor::new(4), rows: rows.into(), max_cursor: RelayCursor::new(7) },
        "21 94          # PULL_RESPONSE, 4 fields
         01 04          # id, after
         93             # 3 rows: 5, 6 and 7
         93 00 05 c401 65     # an envelope
         93 01 05 c410 b1*16  # an expired one's blob id
         93 02 05 c410 b2*16  # the reader's own
         07             # max cursor"
    );
    assert_wire!(DeviceMsg, Ack { cursor: RelayCursor::new(7) }, "22 91 07 # ACK, 1 field: cursor");
    assert_wire!(
        RelayMsg,
        Gap { id: 1, floor_cursor: RelayCursor::new(2), floor_run: Run::from_bytes([0x2F; 32]) },
        "23 93 01 02 c420 2f*32 # GAP, 3 fields: id, floor cursor, floor run"
    );
    assert_wire!(DeviceMsg, Get { id: 2, blob_id: BLOB }, "24 92 02 c410 b1*16 # GET, 2 fields: id, blob id");
    assert_wire!(
        RelayMsg,
        Got { id: 2, envelope: Bytes::from_static(b"e") },
        "25 92 02 c401 65 # its answer, 2 fields: id, envelope"
    );
    assert_wire!(
        RelayMsg,
        Presence { devices: AtMost(vec![DeviceId::from_bytes([0x0D; 32]), DeviceId::from_bytes([0x0E; 32])]) },
        "30 91          # PRESENCE, 1 field
         92             # two devices
         c420 0d*32
         c420 0e*32"
    );
    assert_wire!(
        RelayMsg,
        Notify {
            blob_id: BLOB,
            cursor: RelayCursor::new(8),
            sender: DeviceId::from_bytes([0x0D; 32]),
            size: 419,
            timestamp_ms: 5,
        },
        "31 95          # NOTIFY, 5 fields
         c410 b1*16     # blob id
         08             # cursor
         c420 0d*32     # sender
         cd01a3 05      # size, Unix milliseconds"
    );
}

#[test]
fn telling_how_far_a_device_has_come() {
    assert_wire!(
        DeviceMsg,
        Receipt { id: 9, envelope: Bytes::from_static(b"sealed") },
        "32 92 09       # RECEIPT, 2 fields: id
         c406 7365616c6564 # envelope"
    );
    assert_wire!(
        RelayMsg,
        Receipts { envelopes: AtMost(vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")]) },
        "33 91          # RECEIPTS, 1 field
         92             # two envelopes
         c403 6f6e65
         c403 74776f"
    );
    assert_wire!(RelayMsg, ReceiptAck { id: 9 }, "34 91 09       # RECEIPT_ACK, 1 field: id");
    let frame = RelayMsg::from(Receipts { envelopes: AtMost(vec![Bytes::new(); RECEIPTS_MAX + 1]) }).to_frame();
    assert_eq!(RelayMsg::from_frame(&raw(&frame)), Err(DecodeError::Malformed { kind: 0x33 }));
}

#[test]
fn snapshots() {
    assert_wire!(
        DeviceMsg,
        SnapshotPart { id: 9, envelope: Bytes::from_static(b"sealed") },
        "35 92 09       # SNAPSHOT_PART, 2 fields: id
         c406 7365616c6564 # envelope"
    );
    assert_wire!(
        DeviceMsg,
        Snapshot {
            id: 9,
            envelope: Bytes::from_static(b"sealed"),
            parts: AtMost(vec![BlobId::from_bytes([0xB1; 16]), BlobId::from_bytes([0xB2; 16])]),
            covers: RelayCursor::new(8),
            run: Run::from_bytes([0x5C; 32]),
        },
        "36 95 09       # SNAPSHOT, 5 fields: id
         c406 7365616c6564 # manifest
         92 c410 b1*16 c410 b2*16 # two parts
         08             # covers
         c420 5c*32     # run"
    );
    assert_wire!(
        RelayMsg,
        Snapshots { manifests: AtMost(vec![BlobId::from_bytes([0xB1; 16])]) },
        "37 91          # SNAPSHOTS, 1 field
         91 c410 b1*16  # one manifest"
    );
    assert_wire!(RelayMsg, SnapshotAck { id: 9 }, "38 91 09       # SNAPSHOT_ACK, 1 field: id");
    let three = AtMost(vec![BlobId::from_bytes([0xB1; 16]); SNAPSHOTS_KEPT + 1]);
    let frame = RelayMsg::from(Snapshots { manifests: three }).to_frame();
    assert_eq!(RelayMsg::from_frame(&raw(&frame)), Err(DecodeError::Malformed { kind: 0x37 }));
}

fn over(package: &'static [u8]) -> Over {
    Over {
        group: RelayGroupId::from_bytes([0x6E; 32]),
        auth_public: AuthPublic::from_bytes([0xAA; 32]),
        signature: Bytes::from_static(&[0x51; 64]),
        package: Bytes::from_static(package),
    }
}

fn moving(over: Vec<Over>) -> Move {
    Move {
        id: 5,
        group: RelayGroupId::from_bytes([0x6F; 32]),
        auth_public: AuthPublic::from_bytes([0xAB; 32]),
        signature: Bytes::from_static(&[0x52; 64]),
        over: over.into(),
        remaining: AtMost(vec![DeviceId::from_bytes([0x0D; 32])]),
    }
}

#[test]
fn moving_a_group() {
    assert_wire!(
        DeviceMsg,
        moving(vec![over(b"sealed"), over(b"")]),
        "50 96          # MOVE, 6 fields
         05             # id
         c420 6f*32     # the group from now on
         c420 ab*32     # public key
         c440 52*64     # signature
         92             # two ids are over
         94             # each 4 fields
         c420 6e*32     # the id
         c420 aa*32     # public key
         c440 51*64     # signature
         c406 7365616c6564 # package
         94 c420 6e*32 c420 aa*32 c440 51*64 c400
         91 c420 0d*32  # one device remains"
    );
    let left = Left { group: RelayGroupId::from_bytes([0x6E; 32]), package: Bytes::from_static(b"left") };
    assert_wire!(
        RelayMsg,
        MoveAck { id: 5, others: AtMost(vec![left]) },
        "51 92 05       # MOVE_ACK, 2 fields: id, and what others left
         91             # one of them
         92 c420 6e*32  # under which id
         c404 6c656674  # the package"
    );
    assert_wire!(
        RelayMsg,
        Moved { packages: AtMost(vec![Bytes::from_static(b"first"), Bytes::from_static(b"then")]) },
        "03 91          # MOVED, 1 field
         92             # two packages
         c405 6669727374
         c404 7468656e"
    );
    let frame = DeviceMsg::from(moving(vec![over(b""); MOVE_OVER_MAX + 1])).to_frame();
    assert_eq!(DeviceMsg::from_frame(&raw(&frame)), Err(DecodeError::Malformed { kind: 0x50 }));
}

#[test]
fn refusing() {
    assert_wire!(
        RelayMsg,
        Refused { id: 9, code: ErrorCode::RateLimited.number(), retry_after_ms: 600 },
        "ff 93 09 0e cd0258 # ERROR, 3 fields: id, code 14, wait"
    );
}

#[test]
fn mailboxes() {
    let name: MailboxName = "ABCD2345".parse().expect("a name");
    let token = Token::from_bytes([0x70; 16]);
    let message = Bytes::from_static(b"m");
    let head = "a8 4142434432333435 c410 70*16 # name, token";
    assert_wire!(
        MailboxRequest,
        mailbox::Create { id: 1, name, token, message: message.clone() },
        &format!("60 94 01 {head}\n c401 6d")
    );
    assert_wire!(MailboxReply, mailbox::Created { id: 1, expires_in_s: 600 }, "61 92 01 cd0258");
    assert_wire!(MailboxRequest, mailbox::Claim { id: 2, name, token }, &format!("62 93 02 {head}"));
    assert_wire!(
        MailboxReply,
        mailbox::Claimed { id: 2, expires_in_s: 90, message: message.clone() },
        "63 93 02 5a c401 6d"
    );
    assert_wire!(
        MailboxRequest,
        mailbox::Post { id: 3, name, token, index: 1, message: message.clone() },
        &format!("64 95 03 {head}\n 01 c401 6d")
    );
    assert_wire!(MailboxReply, mailbox::Done { id: 3 }, "65 91 03");
    assert_wire!(
        MailboxRequest,
        mailbox::Wait { id: 4, name, token, from: 2, wait_ms: 25_000 },
        &format!("66 95 04 {head}\n 02 cd61a8")
    );
    assert_wire!(MailboxReply, mailbox::Messages { id: 4, messages: vec![message].into() }, "67 92 04 91 c401 6d");
    assert_wire!(MailboxRequest, mailbox::Burn { id: 5, name, token }, &format!("68 93 05 {head}"));
}

#[test]
fn every_type_has_its_dump_above() {
    let source = include_str!("wire.rs");
    let types = [DeviceMsg::TYPES, RelayMsg::TYPES, MailboxRequest::TYPES, MailboxReply::TYPES].concat();
    let numbers: BTreeSet<_> = types.iter().map(|(number, _)| number).collect();
    assert_eq!(numbers.len(), types.len() - 1, "one number a message; ERROR alone is in two directions");
    for (number, name) in types {
        assert!(source.contains(&format!("\"{number:02x} ")), "no bytes for {name}");
    }
}

#[test]
fn an_envelope_has_its_fields_where_they_are_documented() {
    let header = Header {
        kind: Kind::Control,
        epoch: 3,
        key_id: KeyId::from_bytes([0x1D; 16]),
        sender: DeviceId::from_bytes([0x0D; 32]),
        ttl_s: 60,
        nonce: [0x90; NONCE_LEN],
    };
    let mut bytes = bytes_of(
        "01 01 02       # version, suite, kind
         00000003       # epoch
         1d*16          # key id
         0d*32          # sender
         0000003c       # time to live
         90*24          # nonce",
    );
    assert_eq!(header.to_bytes().as_slice(), bytes);
    bytes.extend([0xCC; 272]);
    bytes.extend([0x51; 64]);
    let envelope = Envelope::parse(bytes.clone().into()).expect("the smallest there is");
    assert_eq!(*envelope.header(), header);
    assert_eq!((envelope.header_bytes(), envelope.sealed_body()), (&bytes[..HEADER_LEN], &[0xCC; 272][..]));
    assert_eq!((envelope.signed_bytes().len(), envelope.signature()), (HEADER_LEN + 272, [0x51; 64]));
    assert!(Envelope::parse(Bytes::copy_from_slice(&bytes[1..])).is_err());
}

#[test]
fn a_body_has_its_fields_where_they_are_documented() {
    let body = Body {
        seq: Seq::new(2),
        prev: BlobHash::from_bytes([0xFE; 32]),
        push_id: PushId::from_bytes([0x1D; 16]),
        time_ms: 5,
        codec: 0,
        payload: Bytes::from_static(b"hi"),
    };
    let mut bytes = bytes_of(
        "0000003c       # length of what follows
         96             # 6 fields
         02             # seq
         c420 fe*32     # hash of the one before
         c410 1d*16     # push id
         05 00          # Unix milliseconds, codec
         c402 6869      # payload",
    );
    bytes[3] = u8::try_from(bytes.len() - 4).expect("short");
    bytes.resize(256, 0);
    assert_eq!(body.to_padded(), bytes);
}

#[test]
fn fields_of_a_newer_build_are_ignored() {
    let newer = framed("22 93 07 a3616263 92c0c0 # ACK with two fields more");
    assert_eq!(DeviceMsg::from_frame(&raw(&newer)).expect("decodes"), Ack { cursor: RelayCursor::new(7) }.into());
}

#[test]
fn a_type_of_a_newer_build_is_named_with_its_request() {
    let newer = framed("7e 92 09 c0");
    let error = DeviceMsg::from_frame(&raw(&newer)).expect_err("unknown");
    assert_eq!(error, DecodeError::UnknownType { kind: 0x7E, id: 9 });
    let wrong_way = RelayMsg::from(Refused { id: 1, code: 1, retry_after_ms: 0 }).to_frame();
    assert!(DeviceMsg::from_frame(&raw(&wrong_way)).is_err());
}

#[test]
fn what_is_cut_off_altered_or_too_long_is_an_error_and_nothing_worse() {
    let push = DeviceMsg::from(Push { id: 9, age_s: 3, envelope: Bytes::from_static(b"sealed") });
    let frame = push.to_frame();
    for len in 0..frame.len() {
        let mut buffer = FrameBuffer::default();
        buffer.extend(&frame[..len]);
        assert_eq!(buffer.next_frame(), Ok(None), "{len} bytes are no frame yet");
    }
    for index in 4..frame.len() {
        for value in 0..=u8::MAX {
            let mut altered = frame.to_vec();
            altered[index] = value;
            // Whatever it says now: it says it without a panic, and what decodes is within the limits.
            if let Ok(DeviceMsg::Push(push)) = DeviceMsg::from_frame(&raw(&altered)) {
                assert!(push.envelope.len() <= frame.len());
            }
        }
    }
    let mut buffer = FrameBuffer::default();
    let len = u32::try_from(FRAME_LEN_MAX + 1).expect("small");
    buffer.extend(&len.to_be_bytes());
    assert_eq!(buffer.next_frame(), Err(FrameError::TooLarge { len }));
    let mut buffer = FrameBuffer::default();
    buffer.extend(&[0; 4]);
    assert_eq!(buffer.next_frame(), Err(FrameError::Empty));
}

#[test]
fn a_page_of_more_rows_than_allowed_is_refused_before_it_is_read() {
    let rows: Vec<_> = (0..1_001).map(|_| row(RowKind::Blob, b"e")).collect();
    let page = Page { id: 1, after: RelayCursor::START, rows: rows.into(), max_cursor: RelayCursor::START };
    let frame = RelayMsg::from(page).to_frame();
    assert_eq!(RelayMsg::from_frame(&raw(&frame)), Err(DecodeError::Malformed { kind: 0x21 }));
}

#[test]
fn announced_lengths_are_not_believed() {
    // An array of four billion rows, a byte string of four gigabytes: neither is there.
    for lie in ["21 94 01 04 ddffffffff", "10 93 09 03 c6ffffffff", "20 dfffffffff", "10 93 09 03 dbffffffff"] {
        let frame = raw(&framed(lie));
        assert!(RelayMsg::from_frame(&frame).is_err() && DeviceMsg::from_frame(&frame).is_err());
    }
}
