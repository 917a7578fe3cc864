//! The app's configuration becomes code.

fn main() {
    tauri_build::build();
}
