//! Mailboxes over HTTP: the requests of `sync_types::mailbox` as JSON, messages in base64, the token as a bearer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequestParts, Path, Query, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sync_types::{ErrorCode, invite::MailboxName, limits::MAILBOX_MESSAGE_LEN_MAX, mailbox::Token};

use super::Peer;
use crate::{error::Refusal, quota::Address, state::State};

/// `POST /invite`: opens a mailbox.
pub(super) async fn create(request: Asked, body: Bytes) -> Result<Json<CreatedBody>, Refused> {
    let body: CreateBody = parse(&body)?;
    let (message, now) = (decode(&body.message)?, Instant::now());
    let chosen = body.name.parse().map_err(|_| Refusal::from(ErrorCode::Malformed))?;
    let mailboxes = &request.relay.mailboxes;
    let expires_in_s = mailboxes.create(request.from, chosen, &request.token?, message, now)?;
    Ok(Json(CreatedBody { expires_in_s }))
}

/// `GET /invite/{name}`: takes the joiner's side.
pub(super) async fn claim(request: Asked, Path(path): Path<String>) -> Result<Json<ClaimedBody>, Refused> {
    let taken = request.relay.mailboxes.claim(request.from, name(&path)?, &request.token?, Instant::now())?;
    Ok(Json(ClaimedBody { expires_in_s: taken.expires_in_s, message: BASE64.encode(&taken.message) }))
}

/// `POST /invite/{name}/messages`: leaves the next message.
pub(super) async fn post(request: Asked, Path(path): Path<String>, body: Bytes) -> Result<Json<DoneBody>, Refused> {
    let body: PostBody = parse(&body)?;
    let (message, now) = (decode(&body.message)?, Instant::now());
    request.relay.mailboxes.post(request.from, name(&path)?, &request.token?, body.index, message, now)?;
    Ok(Json(DoneBody {}))
}

/// `GET /invite/{name}/messages?from=N&wait_ms=M`: reads from message N on.
pub(super) async fn wait(
    request: Asked,
    Path(path): Path<String>,
    query: Result<Query<WaitQuery>, QueryRejection>,
) -> Result<Json<MessagesBody>, Refused> {
    let Query(query) = query.map_err(|_| Refusal::from(ErrorCode::Malformed))?;
    let patience = Duration::from_millis(query.wait_ms.into());
    let mailboxes = &request.relay.mailboxes;
    let messages = mailboxes.wait(request.from, name(&path)?, &request.token?, query.from, patience).await?;
    Ok(Json(MessagesBody { messages: messages.iter().map(|message| BASE64.encode(message)).collect() }))
}

/// `DELETE /invite/{name}`: the code is used up.
pub(super) async fn burn(request: Asked, Path(path): Path<String>) -> Result<Json<DoneBody>, Refused> {
    request.relay.mailboxes.burn(request.from, name(&path)?, &request.token?, Instant::now())?;
    Ok(Json(DoneBody {}))
}

#[derive(Deserialize)]
struct CreateBody {
    name: String,
    message: String,
}

#[derive(Serialize)]
pub(super) struct CreatedBody {
    expires_in_s: u32,
}

#[derive(Serialize)]
pub(super) struct ClaimedBody {
    expires_in_s: u32,
    message: String,
}

#[derive(Deserialize)]
struct PostBody {
    index: u8,
    message: String,
}

#[derive(Serialize)]
pub(super) struct DoneBody {}

#[derive(Serialize)]
pub(super) struct MessagesBody {
    messages: Vec<String>,
}

/// The query of [`wait`].
#[derive(Deserialize)]
pub(super) struct WaitQuery {
    from: u8,
    #[serde(default)]
    wait_ms: u32,
}

/// What every request here has: who asks, and their token if they sent one.
pub(super) struct Asked {
    relay: Arc<State>,
    from: Address,
    token: Result<Token, Refusal>,
}

impl FromRequestParts<Arc<State>> for Asked {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, relay: &Arc<State>) -> Result<Self, Refused> {
        let peer = parts.extensions.get::<Peer>().copied().ok_or(Refusal::from(ErrorCode::Internal))?;
        let from = peer.client(relay, &parts.headers);
        Ok(Self { relay: Arc::clone(relay), from, token: bearer(&parts.headers) })
    }
}

fn bearer(headers: &HeaderMap) -> Result<Token, Refusal> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer "));
    let bytes = token.and_then(|token| HEXLOWER_PERMISSIVE.decode(token.trim().as_bytes()).ok());
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(Token::from_bytes).ok_or(ErrorCode::Malformed.into())
}

fn name(text: &str) -> Result<MailboxName, Refusal> {
    text.parse().map_err(|_| ErrorCode::InviteNotFound.into())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| ErrorCode::Malformed.into())
}

fn decode(message: &str) -> Result<Bytes, Refusal> {
    let message = BASE64.decode(message.as_bytes()).map_err(|_| ErrorCode::Malformed)?;
    if message.len() > MAILBOX_MESSAGE_LEN_MAX {
        return Err(ErrorCode::InviteConflict.into());
    }
    Ok(message.into())
}

/// A refusal as HTTP says it.
pub(super) struct Refused(Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refusal { code, retry_after } = self.0;
        let body = json!({ "error": { "code": code.name(), "message": code.text() } });
        let mut response = (status(code), Json(body)).into_response();
        if let Some(wait) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}

fn status(code: ErrorCode) -> StatusCode {
    const TABLE: [(ErrorCode, StatusCode); 8] = [
        (ErrorCode::Malformed, StatusCode::BAD_REQUEST),
        (ErrorCode::InviteNotFound, StatusCode::NOT_FOUND),
        (ErrorCode::InviteClaimed, StatusCode::CONFLICT),
        (ErrorCode::InviteConflict, StatusCode::CONFLICT),
        (ErrorCode::InviteNameTaken, StatusCode::CONFLICT),
        (ErrorCode::RateLimited, StatusCode::TOO_MANY_REQUESTS),
        (ErrorCode::TooManyInvites, StatusCode::SERVICE_UNAVAILABLE),
        (ErrorCode::ShuttingDown, StatusCode::SERVICE_UNAVAILABLE),
    ];
    TABLE.iter().find(|(of, _)| *of == code).map_or(StatusCode::INTERNAL_SERVER_ERROR, |(_, status)| *status)
}
