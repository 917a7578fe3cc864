//! The app without the plugin.

use sync_bench_app::{run, say_ready};

fn main() {
    run(tauri::Builder::default(), |_| say_ready());
}
