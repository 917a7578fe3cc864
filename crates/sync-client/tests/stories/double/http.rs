//! The double's mailboxes over HTTP, one request a connection.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::{Value, json};
use sync_types::mailbox::{Burn, Claim, Create, MailboxReply, MailboxRequest, Post, Token, Wait};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::Inner;

pub(super) async fn serve(inner: Arc<Inner>, listener: TcpListener) {
    let mut requests = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let inner = Arc::clone(&inner);
        requests.spawn(async move {
            // Whoever hangs up needs no answer.
            let _ = serve_one(&inner, stream).await;
        });
    }
}

/// Answers one request, and hangs up.
async fn serve_one(inner: &Inner, mut stream: TcpStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    let head_len = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..head_len]).to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let body_len = field("content-length:").and_then(|len| len.parse().ok()).unwrap_or(0);
    while read.len() < head_len + body_len {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
    let body: Value = serde_json::from_slice(&read[head_len..]).unwrap_or(Value::Null);
    let first = head.lines().next().unwrap_or_default();
    let token = field("authorization: bearer").unwrap_or_default();
    let (status, answer) = match request(first, token, &body) {
        // Nobody who gave up is waited for: a client that hangs up ends this with the double.
        Some(request) => said(inner.answer(request).await),
        None => ("404 Not Found", json!({})),
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    stream.write_all([head, answer].concat().as_bytes()).await?;
    stream.shutdown().await?;
    // What is read by then, the client has.
    let _ = timeout(Duration::from_secs(1), stream.read_buf(&mut read)).await;
    Ok(())
}

/// The request that the client makes so over HTTP, if it is one for mailboxes.
fn request(first: &str, token: &str, body: &Value) -> Option<MailboxRequest> {
    let mut words = first.split(' ');
    let (method, path) = (words.next()?, words.next()?.strip_prefix("/invite")?);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let token = data_encoding::HEXLOWER.decode(token.as_bytes()).ok()?.try_into().ok().map(Token::from_bytes)?;
    let id = 0;
    let message = || BASE64.decode(body["message"].as_str()?.as_bytes()).ok().map(Bytes::from);
    if path.is_empty() {
        let name = body["name"].as_str()?.parse().ok()?;
        return Some(Create { id, name, token, message: message()? }.into());
    }
    let path = path.strip_prefix('/')?;
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    let name = name.parse().ok()?;
    let number = |key: &str| query.split('&').find_map(|part| part.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
    Some(match (method, rest) {
        ("get", "") => Claim { id, name, token }.into(),
        ("delete", "") => Burn { id, name, token }.into(),
        ("post", "messages") => {
            let index = u8::try_from(body["index"].as_u64()?).ok()?;
            Post { id, name, token, index, message: message()? }.into()
        }
        ("get", "messages") => {
            let from = u8::try_from(number("from")?).ok()?;
            Wait { id, name, token, from, wait_ms: number("wait_ms")? }.into()
        }
        _ => return None,
    })
}

/// The same reply over HTTP.
fn said(reply: MailboxReply) -> (&'static str, Value) {
    let encode = |message: &Bytes| BASE64.encode(message);
    let answer = match reply {
        MailboxReply::Created(created) => json!({ "expires_in_s": created.expires_in_s }),
        MailboxReply::Claimed(claimed) => {
            json!({ "expires_in_s": claimed.expires_in_s, "message": encode(&claimed.message) })
        }
        MailboxReply::Done(_) => json!({}),
        MailboxReply::Messages(messages) => {
            json!({ "messages": messages.messages.0.iter().map(encode).collect::<Vec<_>>() })
        }
        MailboxReply::Refused(refused) => {
            let error = json!({ "code": refused.error().name(), "message": "" });
            return ("409 Conflict", json!({ "error": error }));
        }
    };
    ("200 OK", answer)
}
