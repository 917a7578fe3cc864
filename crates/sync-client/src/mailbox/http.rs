//! Mailboxes over HTTP: the requests of [`sync_types::mailbox`] as JSON, messages in base64, the token as a bearer.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use reqwest::{
    Method, RequestBuilder, Response, Url,
    header::{self, HeaderValue},
};
use serde::{Deserialize, de::DeserializeOwned};
use sync_types::{
    ErrorCode,
    limits::{MAILBOX_MESSAGE_LEN_MAX, MAILBOX_MESSAGES_MAX},
    mailbox::{Claimed, Created, Done, MailboxReply, MailboxRequest, Messages, Token},
};

use super::MailboxError;
use crate::resolve::{endpoint, read_at_most};

/// Longest answer: a full mailbox in base64, and JSON around it.
const ANSWER_LEN_MAX: usize = MAILBOX_MESSAGES_MAX * (MAILBOX_MESSAGE_LEN_MAX * 4 / 3 + 64) + 1_024;

/// The mailboxes of a relay that is known by its web address.
pub(crate) struct HttpMailboxes {
    http: reqwest::Client,
    relay: Url,
}

#[derive(Deserialize)]
struct CreatedBody {
    expires_in_s: u32,
}

#[derive(Deserialize)]
struct ClaimedBody {
    expires_in_s: u32,
    message: String,
}

#[derive(Deserialize)]
struct MessagesBody {
    messages: Vec<String>,
}

#[derive(Deserialize)]
struct RefusedBody {
    error: RefusedError,
}

#[derive(Deserialize)]
struct RefusedError {
    code: ErrorCode,
}

impl HttpMailboxes {
    pub(super) fn new(http: reqwest::Client, relay: Url) -> Self {
        Self { http, relay }
    }

    pub(super) async fn ask(&self, request: MailboxRequest, patience: Duration) -> Result<MailboxReply, MailboxError> {
        let encode = |message: &Bytes| BASE64.encode(message);
        match request {
            MailboxRequest::Create(create) => {
                let body = serde_json::json!({ "name": create.name, "message": encode(&create.message) });
                let request = self.request(Method::POST, "/invite", &create.token).json(&body);
                let CreatedBody { expires_in_s } = send(request, patience).await?;
                Ok(Created { id: create.id, expires_in_s }.into())
            }
            MailboxRequest::Claim(claim) => {
                let request = self.request(Method::GET, &format!("/invite/{}", claim.name), &claim.token);
                let ClaimedBody { expires_in_s, message } = send(request, patience).await?;
                Ok(Claimed { id: claim.id, expires_in_s, message: decode(&message)? }.into())
            }
            MailboxRequest::Post(post) => {
                let body = serde_json::json!({ "index": post.index, "message": encode(&post.message) });
                let path = format!("/invite/{}/messages", post.name);
                let request = self.request(Method::POST, &path, &post.token).json(&body);
                send::<serde_json::Value>(request, patience).await?;
                Ok(Done { id: post.id }.into())
            }
            MailboxRequest::Wait(wait) => {
                let mut url = endpoint(&self.relay, &format!("/invite/{}/messages", wait.name));
                url.set_query(Some(&format!("from={}&wait_ms={}", wait.from, wait.wait_ms)));
                let request = self.http.get(url).header(header::AUTHORIZATION, bearer(&wait.token));
                let MessagesBody { messages } = send(request, patience).await?;
                let messages: Result<Vec<_>, _> = messages.iter().map(|message| decode(message)).collect();
                Ok(Messages { id: wait.id, messages: messages?.into() }.into())
            }
            MailboxRequest::Burn(burn) => {
                let request = self.request(Method::DELETE, &format!("/invite/{}", burn.name), &burn.token);
                send::<serde_json::Value>(request, patience).await?;
                Ok(Done { id: burn.id }.into())
            }
        }
    }

    fn request(&self, method: Method, path: &str, token: &Token) -> RequestBuilder {
        self.http.request(method, endpoint(&self.relay, path)).header(header::AUTHORIZATION, bearer(token))
    }
}

/// Marked as a secret, so that nothing on its way writes it down.
fn bearer(token: &Token) -> HeaderValue {
    let text = format!("Bearer {}", HEXLOWER.encode(token.as_bytes()));
    let mut value = HeaderValue::try_from(text).expect("hex digits may stand in a header");
    value.set_sensitive(true);
    value
}

fn decode(message: &str) -> Result<Bytes, MailboxError> {
    BASE64.decode(message.as_bytes()).map(Bytes::from).map_err(|_| MailboxError::Unreachable)
}

async fn send<T: DeserializeOwned>(request: RequestBuilder, patience: Duration) -> Result<T, MailboxError> {
    let mut answer = request.timeout(patience).send().await.map_err(|_| MailboxError::Unreachable)?;
    let retry_after = retry_after(&answer);
    let (success, failing) = (answer.status().is_success(), answer.status().is_server_error());
    let body = read_at_most(&mut answer, ANSWER_LEN_MAX).await.map_err(|_| MailboxError::Unreachable)?;
    // Not the relay: something in front of it that can't reach it just now, or something else in its place.
    let stranger =
        if failing { MailboxError::Unreachable } else { MailboxError::refused(ErrorCode::RelayUnknown, None) };
    let Some(body) = body else { return Err(stranger) };
    if success {
        return serde_json::from_slice(&body).map_err(|_| stranger);
    }
    match serde_json::from_slice::<RefusedBody>(&body) {
        Ok(refused) => Err(MailboxError::refused(refused.error.code, retry_after)),
        Err(_) => Err(stranger),
    }
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_print() {
        let value = bearer(&Token::from_bytes([0xAB; 16]));
        assert!(value.as_bytes().ends_with(b"abab"));
        assert!(!format!("{value:?}").contains("abab"));
    }
}
