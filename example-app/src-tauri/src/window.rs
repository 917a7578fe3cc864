//! The app's windows: any number, over one engine and one store.

use tauri::{AppHandle, Manager, Runtime, State, WebviewUrl, WebviewWindowBuilder};

use crate::trial::Trial;

/// The first window. It is the one that a link may have started.
pub(crate) const MAIN: &str = "main";

/// Opens another window.
#[tauri::command]
pub(crate) async fn new_window<R: Runtime>(app: AppHandle<R>, trial: State<'_, Trial>) -> Result<(), String> {
    let windows = app.webview_windows();
    let label = (2u32..).map(|number| format!("notes-{number}")).find(|label| !windows.contains_key(label));
    let label = label.ok_or("there are too many windows")?;
    open(&app, &label, &trial).map_err(|error| error.to_string())
}

/// Opens the window of that label.
pub(crate) fn open<R: Runtime>(app: &AppHandle<R>, label: &str, trial: &Trial) -> tauri::Result<()> {
    let mut window = WebviewWindowBuilder::new(app, label, WebviewUrl::App("index.html".into()))
        .title("Notes")
        .inner_size(960.0, 720.0)
        .min_inner_size(360.0, 480.0);
    if let Some(dir) = trial.dir() {
        window = window.data_directory(dir.join("pages"));
    }
    let opened = window.build();
    #[cfg(target_os = "linux")]
    let opened = opened.and_then(|window| crate::camera::allow(&window, trial.camera()).map(|()| window));
    opened.map(drop)
}

/// Brings the app to the front: somebody started it again, or followed a link.
pub(crate) fn show<R: Runtime>(app: &AppHandle<R>) {
    let windows = app.webview_windows();
    let Some(window) = windows.get(MAIN).or_else(|| windows.values().next()) else { return };
    // A window manager may refuse; the link is followed all the same.
    let _ = window.unminimize();
    let _ = window.set_focus();
}
