//! Stories of mailboxes, over HTTP and over frames: one store behind both.

mod support;

use std::time::{Duration, Instant};

use axum::http::HeaderName;
use data_encoding::BASE64;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use serde_json::{Value, json};
use support::{Device, Running, SOON, http, http_with_head};
use sync_types::{
    ErrorCode, FrameBuffer,
    invite::MailboxName,
    limits::ALPN_INVITE,
    mailbox::{Burn, Claim, Create, MailboxReply, MailboxRequest, Messages, Post, Token, Wait},
    message::Refused,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

const CREATOR: Token = Token::from_bytes([0xC1; 16]);
const JOINER: Token = Token::from_bytes([0x1A; 16]);
const NAME: &str = "ABCD2345";

fn bearer(token: &Token) -> String {
    format!("Bearer {}", data_encoding::HEXLOWER.encode(token.as_bytes()))
}

/// A request with a token; status and JSON of the answer.
async fn ask(relay: &Running, method: &str, path: &str, token: &Token, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, body) = http(relay.http, method, path, &[("Authorization", &bearer(token))], &body).await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

async fn create(relay: &Running) -> (u16, Value) {
    let body = json!({ "name": NAME, "message": BASE64.encode(b"m0") });
    ask(relay, "POST", "/invite", &CREATOR, body).await
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().expect("a refusal"))
}

/// Frames on the mailbox protocol.
struct Frames {
    _connection: Connection,
    send: SendStream,
    receive: RecvStream,
    buffer: FrameBuffer,
}

impl Frames {
    async fn open(device: &Device, relay: &Running) -> Self {
        let connection = device.connect(relay.id, relay.quic, ALPN_INVITE).await;
        let (send, receive) = connection.open_bi().await.expect("one stream");
        Self { _connection: connection, send, receive, buffer: FrameBuffer::default() }
    }

    async fn say(&mut self, request: impl Into<MailboxRequest>) {
        self.send.write_all(&request.into().to_frame()).await.expect("written");
    }

    async fn hear(&mut self) -> MailboxReply {
        loop {
            if let Some(frame) = self.buffer.next_frame().expect("frames") {
                return MailboxReply::from_frame(&frame).expect("a reply");
            }
            let chunk = timeout(SOON, self.receive.read_chunk(1 << 20)).await.expect("in time").expect("open");
            self.buffer.extend(&chunk.expect("not finished"));
        }
    }
}

#[tokio::test]
async fn a_pairing_over_http() {
    let relay = Running::start().await;
    let (status, created) = create(&relay).await;
    assert_eq!((status, created["expires_in_s"].as_u64()), (200, Some(600)));

    // Typed in lower case and with a hyphen, it is the same name.
    let (status, claimed) = ask(&relay, "GET", "/invite/abcd-2345", &JOINER, Value::Null).await;
    assert_eq!((status, &claimed["message"]), (200, &json!(BASE64.encode(b"m0"))));

    let path = format!("/invite/{NAME}/messages");
    let wait_path = format!("{path}?from=1&wait_ms=10000");
    let post = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ask(&relay, "POST", &path, &JOINER, json!({ "index": 1, "message": BASE64.encode(b"m1") })).await
    };
    let begun = Instant::now();
    let ((status, heard), posted) = tokio::join!(ask(&relay, "GET", &wait_path, &CREATOR, Value::Null), post);
    assert_eq!((status, heard), (200, json!({ "messages": [BASE64.encode(b"m1")] })));
    assert_eq!(posted, (200, json!({})));
    assert!(begun.elapsed() < Duration::from_secs(2), "a message wakes who waits");

    assert_eq!(ask(&relay, "DELETE", &format!("/invite/{NAME}"), &CREATOR, Value::Null).await.0, 200);
    let gone = ask(&relay, "GET", &format!("/invite/{NAME}"), &JOINER, Value::Null).await;
    assert_eq!(code(&gone), (404, "invite_not_found"));
}

#[tokio::test]
async fn what_http_refuses_and_how() {
    let relay = Running::with(|config| config.limits.claims_per_minute = 2).await;
    create(&relay).await;
    assert_eq!(code(&ask(&relay, "POST", "/invite", &JOINER, json!({ "name": NAME, "message": "" })).await).0, 409);
    let path = format!("/invite/{NAME}");
    assert_eq!(ask(&relay, "GET", &path, &JOINER, Value::Null).await.0, 200);
    assert_eq!(
        code(&ask(&relay, "GET", &path, &Token::from_bytes([7; 16]), Value::Null).await),
        (409, "invite_claimed")
    );

    let (status, head, body) =
        http_with_head(relay.http, "GET", &path, &[("Authorization", &bearer(&JOINER))], "").await;
    assert_eq!(status, 429);
    assert!(body.contains("rate_limited"));
    assert!(head.to_lowercase().contains("\r\nretry-after: 30"), "{head}");

    let messages = format!("{path}/messages");
    for (method, path, body) in [
        ("POST", "/invite", json!({ "name": NAME })),
        ("POST", "/invite", json!({ "name": NAME, "message": "not base64!" })),
        ("POST", &messages, json!({ "index": 300, "message": "" })),
        ("GET", &messages, Value::Null),
        ("GET", &format!("{messages}?from=x"), Value::Null),
    ] {
        assert_eq!(code(&ask(&relay, method, path, &JOINER, body).await), (400, "malformed"), "{path}");
    }
    let (status, _) = http(relay.http, "GET", &path, &[], "").await;
    assert_eq!(status, 400, "no token");
    let large = "x".repeat(40_000);
    let (status, _) = http(relay.http, "POST", "/invite", &[("Authorization", &bearer(&JOINER))], &large).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_its_own_limits() {
    let relay = Running::with(|config| {
        config.server.trusted_proxy_header = Some(HeaderName::from_static("x-forwarded-for"));
        config.limits.misses_per_minute = 1;
    })
    .await;
    let token = bearer(&JOINER);
    let claim = async |forwarded: &str| {
        let headers = [("Authorization", token.as_str()), ("X-Forwarded-For", forwarded)];
        http(relay.http, "GET", "/invite/00000000", &headers, "").await.0
    };
    assert_eq!(claim("198.51.100.1").await, 404);
    assert_eq!(claim("198.51.100.1").await, 429);
    assert_eq!(claim("203.0.113.9, 198.51.100.1").await, 429, "what the client itself claims counts for nothing");
    assert_eq!(claim("198.51.100.1, 198.51.100.2").await, 404);

    let direct = Running::with(|config| config.limits.misses_per_minute = 1).await;
    for (forwarded, status) in [("198.51.100.1", 404), ("198.51.100.2", 429)] {
        let headers = [("Authorization", token.as_str()), ("X-Forwarded-For", forwarded)];
        assert_eq!(http(direct.http, "GET", "/invite/00000000", &headers, "").await.0, status, "nobody trusted it");
    }
}

#[tokio::test]
async fn one_address_has_so_many_http_connections_unless_it_is_the_proxys() {
    for (proxy, open) in [(None, 32), (Some(HeaderName::from_static("x-forwarded-for")), 40)] {
        let relay = Running::with(|config| config.server.trusted_proxy_header = proxy).await;
        let mut streams = Vec::new();
        for _ in 0..40 {
            streams.push(TcpStream::connect(relay.http).await.expect("the relay listens"));
        }
        let mut served = 0;
        for stream in &mut streams {
            let hung_up = timeout(Duration::from_millis(20), stream.read_u8()).await;
            served += usize::from(hung_up.is_err());
        }
        assert_eq!(served, open);
    }
}

#[tokio::test]
async fn a_pairing_over_frames_meets_one_over_http() {
    let relay = Running::start().await;
    let (device, name) = (Device::new().await, NAME.parse::<MailboxName>().expect("a name"));
    let mut frames = Frames::open(&device, &relay).await;
    frames.say(Create { id: 1, name, token: CREATOR, message: "m0".into() }).await;
    assert!(
        matches!(frames.hear().await, MailboxReply::Created(created) if (created.id, created.expires_in_s) == (1, 600))
    );
    assert_eq!(ask(&relay, "GET", &format!("/invite/{NAME}"), &JOINER, Value::Null).await.0, 200);

    // A request that waits holds up none that comes after it.
    frames.say(Wait { id: 2, name, token: CREATOR, from: 1, wait_ms: 10_000 }).await;
    frames.say(Claim { id: 3, name, token: Token::from_bytes([9; 16]) }).await;
    let claimed = Refused { id: 3, code: ErrorCode::InviteClaimed.number(), retry_after_ms: 0 };
    assert_eq!(frames.hear().await, claimed.into());
    let post = json!({ "index": 1, "message": BASE64.encode(b"m1") });
    assert_eq!(ask(&relay, "POST", &format!("/invite/{NAME}/messages"), &JOINER, post).await.0, 200);
    assert_eq!(frames.hear().await, Messages { id: 2, messages: vec!["m1".into()].into() }.into());
    frames.say(Post { id: 4, name, token: CREATOR, index: 2, message: "m2".into() }).await;
    assert!(matches!(frames.hear().await, MailboxReply::Done(done) if done.id == 4));
    frames.say(Burn { id: 5, name, token: CREATOR }).await;
    assert!(matches!(frames.hear().await, MailboxReply::Done(done) if done.id == 5));
    assert_eq!(code(&ask(&relay, "GET", &format!("/invite/{NAME}"), &JOINER, Value::Null).await).0, 404);
}

#[tokio::test]
async fn stopping_lets_nobody_wait() {
    let relay = Running::start().await;
    create(&relay).await;
    let device = Device::new().await;
    let mut frames = Frames::open(&device, &relay).await;
    let name = NAME.parse().expect("a name");
    frames.say(Wait { id: 1, name, token: CREATOR, from: 1, wait_ms: 25_000 }).await;
    let path = format!("/invite/{NAME}/messages?from=1&wait_ms=25000");
    let stopped = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        relay.begin_to_stop();
        begun
    };
    let (answer, begun) = tokio::join!(ask(&relay, "GET", &path, &CREATOR, Value::Null), stopped);
    assert_eq!(code(&answer).0, 404);
    assert!(matches!(frames.hear().await, MailboxReply::Refused(_)));
    relay.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
