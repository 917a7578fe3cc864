//! What a page may ask for: each command takes its arguments apart, makes one call, and puts the answer together.

use std::time::Duration;

use sync_bridge::{
    Backend, BridgeError, Event, Finding, Invite, Joined, PairRequest, PairingEvent, Repaired,
    dto::{BlobState, Configuration, Device, Membership, Pushed, RecoveryKit, Status},
};
use tauri::{
    Runtime, State, Webview,
    ipc::{Channel, Request, Response},
};

use crate::{Plugin, payload};

type Result<T> = std::result::Result<T, BridgeError>;

/// How long a full cycle may take, when nobody says.
const CYCLE_MAX: Duration = Duration::from_secs(60);
/// How long a checkup may wait for everything to be in step, when nobody says.
const CHECKUP_MAX: Duration = Duration::from_secs(5);

// ── Pairing ──

#[tauri::command]
pub(crate) async fn pair<R: Runtime>(
    webview: Webview<R>,
    plugin: State<'_, Plugin>,
    request: PairRequest,
    channel: Channel<PairingEvent>,
    profile: Option<String>,
) -> Result<Joined> {
    plugin.pairing(webview.label(), profile)?.pair(request, told(channel)).await
}

#[tauri::command]
pub(crate) async fn create_group(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<Membership> {
    plugin.profile(profile)?.create_group().await
}

#[tauri::command]
pub(crate) async fn create_invite<R: Runtime>(
    webview: Webview<R>,
    plugin: State<'_, Plugin>,
    channel: Channel<PairingEvent>,
    profile: Option<String>,
) -> Result<Invite> {
    plugin.pairing(webview.label(), profile)?.create_invite(told(channel)).await
}

#[tauri::command]
pub(crate) async fn join<R: Runtime>(
    webview: Webview<R>,
    plugin: State<'_, Plugin>,
    invite: String,
    channel: Channel<PairingEvent>,
    profile: Option<String>,
) -> Result<()> {
    plugin.pairing(webview.label(), profile)?.join(invite, told(channel)).await
}

#[tauri::command]
pub(crate) async fn approve(plugin: State<'_, Plugin>, digits: String, profile: Option<String>) -> Result<()> {
    plugin.profile(profile)?.approve(digits).await
}

#[tauri::command]
pub(crate) async fn deny(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<()> {
    plugin.profile(profile)?.deny();
    Ok(())
}

#[tauri::command]
pub(crate) async fn cancel_invite(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<()> {
    plugin.profile(profile)?.deny();
    Ok(())
}

#[tauri::command]
pub(crate) async fn export_kit(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<RecoveryKit> {
    plugin.profile(profile)?.export_kit().await
}

#[tauri::command]
pub(crate) async fn import_kit(
    plugin: State<'_, Plugin>,
    text: String,
    code: String,
    profile: Option<String>,
) -> Result<Membership> {
    plugin.profile(profile)?.import_kit(text, code).await
}

// ── The connection ──

#[tauri::command]
pub(crate) async fn connect(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<()> {
    plugin.profile(profile)?.connect().await
}

#[tauri::command]
pub(crate) async fn disconnect(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<()> {
    plugin.profile(profile)?.disconnect().await
}

#[tauri::command]
pub(crate) async fn sync_now(
    plugin: State<'_, Plugin>,
    within_ms: Option<u64>,
    profile: Option<String>,
) -> Result<Status> {
    plugin.profile(profile)?.sync_now(within_ms.map_or(CYCLE_MAX, Duration::from_millis)).await
}

#[tauri::command]
pub(crate) async fn status(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<Status> {
    plugin.profile(profile)?.status().await
}

#[tauri::command]
pub(crate) async fn subscribe<R: Runtime>(
    webview: Webview<R>,
    plugin: State<'_, Plugin>,
    channel: Channel<Event>,
    profile: Option<String>,
) -> Result<u32> {
    let subscription = plugin.profile(profile)?.subscribe(move |event| channel.send(event).is_ok());
    Ok(plugin.listeners.subscribe(webview.label(), subscription))
}

#[tauri::command]
pub(crate) async fn unsubscribe<R: Runtime>(webview: Webview<R>, plugin: State<'_, Plugin>, id: u32) -> Result<()> {
    plugin.listeners.unsubscribe(webview.label(), id);
    Ok(())
}

// ── Blobs ──

#[tauri::command]
pub(crate) async fn push(plugin: State<'_, Plugin>, request: Request<'_>) -> Result<Pushed> {
    let payload::Push { payload, options, profile } = payload::Push::of(&request)?;
    plugin.profile(profile)?.push(payload, options).await
}

#[tauri::command]
pub(crate) async fn pull(
    plugin: State<'_, Plugin>,
    after_cursor: u64,
    limit: Option<u32>,
    profile: Option<String>,
) -> Result<Response> {
    let page = plugin.profile(profile)?.pull(after_cursor, limit).await?;
    Ok(Response::new(payload::page(page)?))
}

#[tauri::command]
pub(crate) async fn ack(plugin: State<'_, Plugin>, cursor: u64, profile: Option<String>) -> Result<()> {
    plugin.profile(profile)?.ack(cursor).await
}

#[tauri::command]
pub(crate) async fn blob_states(
    plugin: State<'_, Plugin>,
    cursors: Vec<u64>,
    profile: Option<String>,
) -> Result<Vec<BlobState>> {
    plugin.profile(profile)?.blob_states(cursors).await
}

#[tauri::command]
pub(crate) async fn last_cursor(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<u64> {
    plugin.profile(profile)?.last_cursor().await
}

#[tauri::command]
pub(crate) async fn publish_snapshot(plugin: State<'_, Plugin>, request: Request<'_>) -> Result<()> {
    let payload::NewSnapshot { bytes, up_to, profile } = payload::NewSnapshot::of(&request)?;
    plugin.profile(profile)?.publish_snapshot(bytes, up_to).await
}

#[tauri::command]
pub(crate) async fn latest_snapshot(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<Response> {
    let snapshot = plugin.profile(profile)?.latest_snapshot().await?;
    Ok(Response::new(payload::snapshot(snapshot.as_ref())?))
}

#[tauri::command]
pub(crate) async fn snapshot_loaded(
    plugin: State<'_, Plugin>,
    snapshot_id: String,
    taken: bool,
    profile: Option<String>,
) -> Result<()> {
    plugin.profile(profile)?.snapshot_loaded(snapshot_id, taken).await
}

// ── Devices and relays ──

#[tauri::command]
pub(crate) async fn devices(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<Vec<Device>> {
    plugin.profile(profile)?.devices().await
}

#[tauri::command]
pub(crate) async fn rename_device(
    plugin: State<'_, Plugin>,
    device_id: String,
    name: String,
    profile: Option<String>,
) -> Result<()> {
    plugin.profile(profile)?.rename_device(device_id, name).await
}

#[tauri::command]
pub(crate) async fn remove_device(
    plugin: State<'_, Plugin>,
    device_id: String,
    keep_key: Option<bool>,
    profile: Option<String>,
) -> Result<()> {
    plugin.profile(profile)?.remove_device(device_id, keep_key.unwrap_or_default()).await
}

#[tauri::command]
pub(crate) async fn rotate_key(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<()> {
    plugin.profile(profile)?.rotate_key().await
}

#[tauri::command]
pub(crate) async fn leave_group(plugin: State<'_, Plugin>, force: Option<bool>, profile: Option<String>) -> Result<()> {
    plugin.profile(profile)?.leave_group(force.unwrap_or_default()).await
}

#[tauri::command]
pub(crate) async fn configure(
    plugin: State<'_, Plugin>,
    backend: Option<Backend>,
    profile: Option<String>,
) -> Result<Configuration> {
    plugin.profile(profile)?.configure(backend).await
}

#[tauri::command]
pub(crate) async fn doctor(
    plugin: State<'_, Plugin>,
    within_ms: Option<u64>,
    profile: Option<String>,
) -> Result<Vec<Finding>> {
    plugin.profile(profile)?.checkup(within_ms.map_or(CHECKUP_MAX, Duration::from_millis)).await
}

#[tauri::command]
pub(crate) async fn repair(
    plugin: State<'_, Plugin>,
    within_ms: Option<u64>,
    profile: Option<String>,
) -> Result<Vec<Repaired>> {
    plugin.profile(profile)?.repair(within_ms.map_or(CYCLE_MAX, Duration::from_millis)).await
}

#[tauri::command]
pub(crate) async fn set_aside(plugin: State<'_, Plugin>, profile: Option<String>) -> Result<String> {
    plugin.profile(profile)?.set_aside().await
}

#[tauri::command]
pub(crate) async fn diagnostics(
    plugin: State<'_, Plugin>,
    within_ms: Option<u64>,
    profile: Option<String>,
) -> Result<String> {
    plugin.profile(profile)?.diagnostics(within_ms.map_or(CHECKUP_MAX, Duration::from_millis)).await
}

/// A listener that tells a page. One that is gone is told no more, and what it began ends by itself.
fn told(channel: Channel<PairingEvent>) -> impl FnMut(PairingEvent) + Send + 'static {
    move |event| drop(channel.send(event))
}
