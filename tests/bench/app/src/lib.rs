//! An empty app: one window, one empty page, nothing to do.

use std::io::Write as _;

use tauri::{AppHandle, Builder, Manager as _, Wry, webview::PageLoadEvent};

/// Runs it, with whatever plugin the builder has, until it is killed. Once its page is there it does this.
///
/// # Panics
/// If there is no display.
pub fn run(builder: Builder<Wry>, at_rest: fn(AppHandle)) {
    builder
        .on_page_load(move |webview, load| {
            if load.event() == PageLoadEvent::Finished {
                at_rest(webview.app_handle().clone());
            }
        })
        .run(tauri::generate_context!())
        .expect("it runs where there is a display");
}

/// Says on standard output that it has nothing left to do.
///
/// # Panics
/// If nobody listens.
pub fn say_ready() {
    let mut out = std::io::stdout();
    writeln!(out, "ready").and_then(|()| out.flush()).expect("the benchmark listens");
}
