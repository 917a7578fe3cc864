//! Bytes on their way between a page and Rust.
//!
//! A push's bytes, or a snapshot's, are the request's body, and what else it says is in headers; on Android, where a request has no raw body,
//! they are a list of numbers. A page of blobs is one answer: the length of a description in four bytes, big endian, the
//! description as JSON, and then every blob's bytes, one after the other.

use serde::Serialize;
use sync_bridge::{
    BridgeError, Snapshot,
    dto::{Blob, Page, PushOptions, Wait},
};
use tauri::{
    http::HeaderMap,
    ipc::{InvokeBody, Request},
};

const PROFILE: &str = "sync-profile";
const WAIT: &str = "sync-wait";
const TTL: &str = "sync-ttl";
const UP_TO: &str = "sync-up-to";

/// What a push says.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) payload: Vec<u8>,
    pub(crate) options: PushOptions,
    pub(crate) profile: Option<String>,
}

impl Push {
    pub(crate) fn of(request: &Request<'_>) -> Result<Self, BridgeError> {
        let headers = request.headers();
        Ok(Self {
            payload: bytes(request.body())?,
            options: PushOptions { wait: wait(headers)?, ttl: ttl(headers)? },
            profile: text(headers, PROFILE)?.map(str::to_owned),
        })
    }
}

/// What a new snapshot says.
#[derive(Debug)]
pub(crate) struct NewSnapshot {
    pub(crate) bytes: Vec<u8>,
    pub(crate) up_to: u64,
    pub(crate) profile: Option<String>,
}

impl NewSnapshot {
    pub(crate) fn of(request: &Request<'_>) -> Result<Self, BridgeError> {
        const WRONG: BridgeError = BridgeError::Argument("a snapshot says up to which cursor it goes");
        let headers = request.headers();
        let up_to = text(headers, UP_TO)?.and_then(|up_to| up_to.parse().ok()).ok_or(WRONG)?;
        let profile = text(headers, PROFILE)?.map(str::to_owned);
        Ok(Self { bytes: bytes(request.body())?, up_to, profile })
    }
}

fn bytes(body: &InvokeBody) -> Result<Vec<u8>, BridgeError> {
    const WRONG: BridgeError = BridgeError::Argument("bytes are wanted: a Uint8Array or an ArrayBuffer");
    match body {
        InvokeBody::Raw(bytes) => Ok(bytes.clone()),
        InvokeBody::Json(numbers) => serde_json::from_value(numbers.clone()).map_err(|_| WRONG),
    }
}

fn wait(headers: &HeaderMap) -> Result<Wait, BridgeError> {
    match text(headers, WAIT)? {
        None | Some("local") => Ok(Wait::Local),
        Some("relay") => Ok(Wait::Relay),
        Some("all") => Ok(Wait::All),
        Some(_) => Err(BridgeError::Argument("a push waits for local, relay or all")),
    }
}

fn ttl(headers: &HeaderMap) -> Result<u64, BridgeError> {
    let parsed = text(headers, TTL)?.map(str::parse).transpose();
    parsed.map(Option::unwrap_or_default).map_err(|_| BridgeError::Argument("a time to live is a number of seconds"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, BridgeError> {
    let value = headers.get(name).map(|value| value.to_str()).transpose();
    value.map_err(|_| BridgeError::Argument("an option has characters that none has"))
}

/// What is said of a blob besides its bytes.
#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    blob: Blob,
    length: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    blobs: Vec<Described>,
    has_more: bool,
}

/// A page as bytes.
pub(crate) fn page(page: Page) -> Result<Vec<u8>, BridgeError> {
    let payloads: Vec<_> = page.blobs.iter().map(|blob| blob.payload.clone()).collect();
    let of = |blob: Blob| Described { length: blob.payload.len(), blob };
    let description = Description { blobs: page.blobs.into_iter().map(of).collect(), has_more: page.has_more };
    described(&description, payloads.iter().map(|payload| &payload[..]))
}

/// A snapshot as bytes; `null` and nothing if there is none.
pub(crate) fn snapshot(snapshot: Option<&Snapshot>) -> Result<Vec<u8>, BridgeError> {
    described(&snapshot, snapshot.map(|snapshot| &snapshot.bytes[..]).into_iter())
}

fn described<'a>(
    description: &impl Serialize,
    payloads: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, BridgeError> {
    let description = serde_json::to_vec(description).map_err(|_| BridgeError::Defect)?;
    let length = u32::try_from(description.len()).map_err(|_| BridgeError::Defect)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&description);
    payloads.for_each(|payload| bytes.extend_from_slice(payload));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(cursor: u64, payload: &'static [u8]) -> Blob {
        let id = "ab".to_owned();
        Blob {
            cursor,
            push_id: id.clone(),
            blob_id: id.clone(),
            sender: id,
            own: false,
            late: false,
            pushed_at: 1,
            payload: payload.into(),
        }
    }

    #[test]
    fn a_page_is_a_description_and_then_the_bytes() {
        let sent = page(Page { blobs: vec![blob(1, b"one"), blob(2, b""), blob(3, b"\xFF\x00")], has_more: true });
        let sent = sent.expect("is short");
        let (length, rest) = sent.split_first_chunk::<4>().expect("four bytes");
        let (description, payloads) = rest.split_at(usize::try_from(u32::from_be_bytes(*length)).expect("fits"));
        let description: serde_json::Value = serde_json::from_slice(description).expect("JSON");
        assert_eq!(description["hasMore"], true);
        let lengths: Vec<_> =
            description["blobs"].as_array().expect("a list").iter().map(|blob| &blob["length"]).collect();
        assert_eq!(lengths, [3, 0, 2]);
        assert_eq!(description["blobs"][0]["pushedAt"], 1);
        assert_eq!(payloads, b"one\xFF\x00");
    }

    #[test]
    fn a_snapshot_is_a_description_and_then_its_bytes_or_nothing() {
        let it = Snapshot {
            snapshot_id: "ab".into(),
            sender: "cd".into(),
            made_at: 7,
            bytes: b"\xFFstate".as_slice().into(),
        };
        let sent = snapshot(Some(&it)).expect("is short");
        let (length, rest) = sent.split_first_chunk::<4>().expect("four bytes");
        let (description, bytes) = rest.split_at(usize::try_from(u32::from_be_bytes(*length)).expect("fits"));
        let description: serde_json::Value = serde_json::from_slice(description).expect("JSON");
        assert_eq!(description, serde_json::json!({ "snapshotId": "ab", "sender": "cd", "madeAt": 7 }));
        assert_eq!(bytes, b"\xFFstate");
        assert_eq!(snapshot(None).expect("is short"), b"\0\0\0\x04null");
    }

    #[test]
    fn a_body_is_bytes_or_on_android_a_list_of_them() {
        assert_eq!(bytes(&InvokeBody::Raw(vec![1, 255])).expect("bytes"), [1, 255]);
        assert_eq!(bytes(&InvokeBody::Json(serde_json::json!([1, 255]))).expect("bytes"), [1, 255]);
        for other in [serde_json::json!([1, 256]), serde_json::json!({ "payload": [1] }), serde_json::json!("text")] {
            assert!(matches!(bytes(&InvokeBody::Json(other)), Err(BridgeError::Argument(_))));
        }
    }
}
