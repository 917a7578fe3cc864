//! Notes on all of a person's devices. The notes are the pages' business; what is here is how the app starts.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

#[cfg(target_os = "linux")]
mod camera;
mod trial;
mod window;

use tauri::{AppHandle, Manager};
use tauri_plugin_deep_link::DeepLinkExt;
use tauri_plugin_sync::{Builder, Secrets};

use crate::trial::Trial;

fn main() {
    let trial = Trial::of_environment();
    let mut app = tauri::Builder::default();
    let mut sync = Builder::new();
    match trial.dir() {
        Some(dir) => sync = sync.dir(dir.join("sync")).secrets(Secrets::File),
        // Before all other plugins: a second process hands over the link it was started with, and goes.
        None => app = app.plugin(tauri_plugin_single_instance::init(|app, _, _| window::show(app))),
    }
    if let Some(blobs) = trial.snapshot_after() {
        sync = sync.snapshot_after(blobs);
    }
    app.plugin(tauri_plugin_deep_link::init())
        .plugin(sync.build())
        .invoke_handler(tauri::generate_handler![window::new_window])
        .setup(move |app| {
            if trial.dir().is_none() {
                register_links(app.handle());
            }
            app.manage(trial);
            Ok(window::open(app.handle(), window::MAIN, &app.state::<Trial>())?)
        })
        .run(tauri::generate_context!())
        .expect("the configuration was checked when the app was built");
}

/// Has the system open the app's links with it, where no installer does. The app works without.
fn register_links(app: &AppHandle) {
    if cfg!(any(target_os = "linux", all(debug_assertions, windows)))
        && let Err(error) = app.deep_link().register_all()
    {
        tracing::warn!(%error, "links will not open the app");
    }
}
