//! Sync for Tauri apps: what a page pushes on one of a person's devices, the pages on the others pull, sealed end to end,
//! through a relay that can read none of it.
//!
//! ```no_run
//! # fn run<R: tauri::Runtime>(builder: tauri::Builder<R>, context: tauri::Context<R>) {
//! builder.plugin(tauri_plugin_sync::init()).run(context).expect("a Tauri app runs");
//! # }
//! ```
//!
//! The pages use the npm package `tauri-plugin-sync-api`; Rust code uses [`SyncExt`]. What an app decides is in its
//! `tauri.conf.json`, under `plugins.sync` ([`Config`]), or said to the [`Builder`].
//!
//! **Invariant:** one engine a profile and process, shared by all windows. It lives in the app, not in a window, so it goes
//! on while there is none.
//!
//! **Invariant:** nothing depends on how the app ends. What `push` has answered is on the disk.
//!
//! **Absent on purpose:** merging, which is the app's; and the sync itself, which is [`sync_bridge`]'s.

mod commands;
mod config;
mod engines;
mod error;
mod keeper;
mod lifecycle;
mod listeners;
mod payload;

use std::{
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sync_bridge::{BridgeError, Settings, SyncHandle};
use tauri::{
    AppHandle, Manager, RunEvent, Runtime, WindowEvent,
    plugin::{PluginApi, TauriPlugin},
    webview::PageLoadEvent,
};

pub use config::{Config, Secrets, Tier};
pub use error::SetupError;
pub use sync_bridge::{self, Passphrase};

use crate::{
    engines::Engines,
    keeper::{Keeper, Request},
    lifecycle::Event,
    listeners::Listeners,
};

/// The plugin, as the app's configuration says.
pub fn init<R: Runtime>() -> TauriPlugin<R, Option<Config>> {
    Builder::new().build()
}

/// The plugin, and what the app decides in code rather than in its configuration. What is said here counts.
#[derive(Debug, Default)]
pub struct Builder {
    config: Config,
    dir: Option<PathBuf>,
    passphrase: Option<Arc<Passphrase>>,
}

impl Builder {
    /// Nothing decided yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The relays of a new profile. See [`Config::relays`].
    #[must_use]
    pub fn relays(mut self, relays: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.relays = relays.into_iter().map(Into::into).collect();
        self
    }

    /// What kind of relay carries the blobs. See [`Config::tier`].
    #[must_use]
    pub fn tier(mut self, tier: Tier) -> Self {
        self.config.tier = Some(tier);
        self
    }

    /// The profile that commands use which name none. See [`Config::profile`].
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.config.profile = Some(name.into());
        self
    }

    /// Further profiles. See [`Config::profiles`].
    #[must_use]
    pub fn profiles(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.profiles = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether to connect from the start. See [`Config::auto_connect`].
    #[must_use]
    pub fn auto_connect(mut self, connect: bool) -> Self {
        self.config.auto_connect = Some(connect);
        self
    }

    /// After how much the app is asked for a snapshot. See [`Config::snapshot_after`].
    #[must_use]
    pub fn snapshot_after(mut self, blobs: u64) -> Self {
        self.config.snapshot_after = Some(blobs);
        self
    }

    /// After how many bytes it is asked, if that is sooner. See [`Config::snapshot_after_bytes`].
    #[must_use]
    pub fn snapshot_after_bytes(mut self, bytes: u64) -> Self {
        self.config.snapshot_after_bytes = Some(bytes);
        self
    }

    /// For how many days what a snapshot stands for is kept here. See [`Config::keep_days`].
    #[must_use]
    pub fn keep_days(mut self, days: u32) -> Self {
        self.config.keep_days = Some(days);
        self
    }

    /// How many bytes are kept for longer. See [`Config::keep_bytes`].
    #[must_use]
    pub fn keep_bytes(mut self, bytes: u64) -> Self {
        self.config.keep_bytes = Some(bytes);
        self
    }

    /// After how many days the group gets new keys by itself. See [`Config::rotate_after_days`].
    #[must_use]
    pub fn rotate_after_days(mut self, days: NonZeroU32) -> Self {
        self.config.rotate_after_days = Some(days);
        self
    }

    /// How invite links begin. See [`Config::link_scheme`].
    #[must_use]
    pub fn link_scheme(mut self, scheme: impl Into<String>) -> Self {
        self.config.link_scheme = Some(scheme.into());
        self
    }

    /// What this device is called on the others. See [`Config::device_name`].
    #[must_use]
    pub fn device_name(mut self, name: impl Into<String>) -> Self {
        self.config.device_name = Some(name.into());
        self
    }

    /// Where the keys of a new profile rest. See [`Config::secrets`].
    #[must_use]
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.config.secrets = Some(secrets);
        self
    }

    /// What the keys are sealed with, where they rest in a file that is. Not for a configuration file.
    #[must_use]
    pub fn passphrase(mut self, passphrase: Passphrase) -> Self {
        self.passphrase = Some(Arc::new(passphrase));
        self
    }

    /// The folder of the app's profiles; `sync` in its local data folder if nothing is said.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The plugin.
    pub fn build<R: Runtime>(self) -> TauriPlugin<R, Option<Config>> {
        tauri::plugin::Builder::<R, Option<Config>>::new("sync")
            .invoke_handler(tauri::generate_handler![
                commands::pair,
                commands::create_group,
                commands::create_invite,
                commands::cancel_invite,
                commands::join,
                commands::approve,
                commands::deny,
                commands::export_kit,
                commands::import_kit,
                commands::connect,
                commands::disconnect,
                commands::sync_now,
                commands::push,
                commands::pull,
                commands::ack,
                commands::last_cursor,
                commands::blob_states,
                commands::publish_snapshot,
                commands::latest_snapshot,
                commands::snapshot_loaded,
                commands::subscribe,
                commands::unsubscribe,
                commands::status,
                commands::devices,
                commands::rename_device,
                commands::remove_device,
                commands::rotate_key,
                commands::leave_group,
                commands::configure,
                commands::doctor,
                commands::repair,
                commands::set_aside,
                commands::diagnostics,
            ])
            .setup(move |app, api| self.set_up(app, &api))
            .on_page_load(|webview, load| {
                if load.event() == PageLoadEvent::Started {
                    webview.state::<Plugin>().listeners.gone(webview.label());
                }
            })
            .on_event(follow)
            .build()
    }

    fn set_up<R: Runtime>(
        self,
        app: &AppHandle<R>,
        api: &PluginApi<R, Option<Config>>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let config = self.config.over(api.config().clone().unwrap_or_default());
        let dir = match self.dir {
            Some(dir) => dir,
            // Not the folder that roams between machines: a profile is one device.
            None => app.path().app_local_data_dir()?.join("sync"),
        };
        let settings = Settings {
            backend: config.backend(),
            secrets: config.secrets.map(Into::into),
            passphrase: self.passphrase,
            auto_connect: config.auto_connect.unwrap_or(true),
            snapshot_after: config.snapshot_after,
            snapshot_after_bytes: config.snapshot_after_bytes,
            keep_for: config.keep_for(),
            keep_bytes: config.keep_bytes,
            rotate_after: config.rotate_after(),
            ..Settings::new(&dir, &config.device_name.clone().unwrap_or_else(machine_name), &app.config().identifier)
        };
        let settings = match config.link_scheme {
            Some(scheme) if is_scheme(&scheme) => Settings { link_scheme: scheme, ..settings },
            Some(scheme) => return Err(SetupError::Scheme(scheme).into()),
            None => settings,
        };
        let engines = Arc::new(Engines::new(dir, settings, config.profile, config.profiles)?);
        // The one that is woken when the app is launched.
        engines.get(None)?;
        let keeper = Keeper::new(Arc::clone(&engines));
        keeper.on(Event::Launched);
        app.manage(Plugin { engines, keeper, listeners: Listeners::default(), hidden: Mutex::default() });
        Ok(())
    }
}

/// The plugin's part of the app's state.
pub(crate) struct Plugin {
    engines: Arc<Engines>,
    keeper: Keeper,
    listeners: Listeners,
    /// Windows that were taken off the screen at exit.
    hidden: Mutex<Vec<String>>,
}

impl Plugin {
    /// The profile that a command names. That one is given says that the app is there.
    fn profile(&self, name: Option<String>) -> Result<SyncHandle, BridgeError> {
        let handle = self.engines.get(name.as_deref())?;
        self.keeper.on(Event::Command);
        Ok(handle)
    }

    /// The same for a command that begins a pairing, which ends with its window.
    fn pairing(&self, window: &str, name: Option<String>) -> Result<SyncHandle, BridgeError> {
        let handle = self.profile(name.clone())?;
        self.listeners.pairs(window, name.as_deref(), &handle);
        Ok(handle)
    }
}

/// Sync, for the app's own Rust code: the same engines that its pages use.
pub trait SyncExt<R: Runtime> {
    /// The default profile.
    ///
    /// # Panics
    /// If the plugin is not part of the app.
    fn sync(&self) -> SyncHandle;

    /// A profile by its name.
    ///
    /// # Errors
    /// `invalid_argument` if the app has none of that name.
    ///
    /// # Panics
    /// If the plugin is not part of the app.
    fn sync_profile(&self, name: &str) -> Result<SyncHandle, BridgeError>;

    /// A full cycle in a slot that the system gives an app in the background. Returns when it is done or the slot is
    /// over, so it is for a thread that may wait. Profiles that are to stay offline do.
    ///
    /// # Panics
    /// If the plugin is not part of the app.
    fn sync_once(&self, within: Duration);
}

impl<R: Runtime, M: Manager<R>> SyncExt<R> for M {
    fn sync(&self) -> SyncHandle {
        self.state::<Plugin>().engines.get(None).expect("there is always a default profile")
    }

    fn sync_profile(&self, name: &str) -> Result<SyncHandle, BridgeError> {
        self.state::<Plugin>().engines.get(Some(name))
    }

    fn sync_once(&self, within: Duration) {
        self.state::<Plugin>().keeper.slot(Instant::now() + within);
    }
}

/// Follows the app's life.
fn follow<R: Runtime>(app: &AppHandle<R>, event: &RunEvent) {
    let Some(plugin) = app.try_state::<Plugin>() else { return };
    if let RunEvent::WindowEvent { label, event: WindowEvent::Destroyed, .. } = event {
        plugin.listeners.gone(label);
    }
    if let Some(event) = told(event) {
        meet(app, &plugin, event);
    }
}

/// What an event of the app says about its life, if anything.
fn told(event: &RunEvent) -> Option<Event> {
    match event {
        RunEvent::ExitRequested { .. } => Some(Event::ExitRequested),
        RunEvent::Exit => Some(Event::Exit),
        RunEvent::WindowEvent { event: WindowEvent::Focused(true), .. } => Some(Event::Focused),
        #[cfg(mobile)]
        RunEvent::WindowEvent { event: WindowEvent::Suspended, .. } => Some(Event::Suspended),
        #[cfg(mobile)]
        RunEvent::WindowEvent { event: WindowEvent::Resumed, .. } => Some(Event::Resumed),
        _ => None,
    }
}

fn meet<R: Runtime>(app: &AppHandle<R>, plugin: &Plugin, event: Event) {
    for request in plugin.keeper.on(event) {
        match request {
            Request::HideWindows => hide_windows(app, plugin),
            Request::ShowWindows => show_windows(app, plugin),
            Request::AskAgain(after) => {
                let app = app.clone();
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    if let Some(plugin) = app.try_state::<Plugin>() {
                        meet(&app, &plugin, Event::StillThere);
                    }
                });
            }
        }
    }
}

/// A person who has closed an app sees it gone, while it takes its last half second.
fn hide_windows<R: Runtime>(app: &AppHandle<R>, plugin: &Plugin) {
    let mut hidden = plugin.hidden.lock().unwrap_or_else(PoisonError::into_inner);
    *hidden = Vec::new();
    #[cfg(desktop)]
    for (label, window) in app.webview_windows() {
        if window.is_visible().unwrap_or(false) && window.hide().is_ok() {
            hidden.push(label);
        }
    }
    #[cfg(mobile)]
    let _ = app;
}

fn show_windows<R: Runtime>(app: &AppHandle<R>, plugin: &Plugin) {
    for label in std::mem::take(&mut *plugin.hidden.lock().unwrap_or_else(PoisonError::into_inner)) {
        #[cfg(desktop)]
        if let Some(window) = app.get_webview_window(&label) {
            // One that is gone by now is not shown.
            let _ = window.show();
        }
        #[cfg(mobile)]
        let _ = (app, label);
    }
}

/// What this machine is called, or what kind of one it is.
fn machine_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().trim().to_owned();
    // What phones call themselves tells nobody which one it is.
    if name.is_empty() || name == "localhost" { std::env::consts::OS.to_owned() } else { name }
}

/// RFC 3986.
fn is_scheme(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_what_a_link_can_begin_with() {
        for scheme in ["zerok", "org.example.notes", "x-y+1"] {
            assert!(is_scheme(scheme), "{scheme}");
        }
        for other in ["", "1password", "zerok:", "zero k", "ä"] {
            assert!(!is_scheme(other), "{other}");
        }
    }
}
