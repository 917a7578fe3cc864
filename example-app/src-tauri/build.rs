//! The app's configuration and permissions become code.

fn main() -> std::io::Result<()> {
    // So that the program compiles where the pages were not built yet: then they come from the development server.
    std::fs::create_dir_all("../dist")?;
    tauri_build::build();
    Ok(())
}
