//! README's quick start, done as it stands there: an empty app from Tauri's own template, outside of this repository, with both
//! packages by their paths, and two of it in step.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use crate::{
    step::{Failed, ROOT, Step, built_programs, cargo},
    windows,
};

/// What the quick start calls its app.
const APP: &str = "my-notes";

/// Makes the app and plays two people who use it. The relay has to be built.
///
/// # Errors
/// [`Failed`].
pub(crate) fn test() -> Result<(), Failed> {
    let folder = env::temp_dir().join(format!("0k-sync-fresh-{}", process::id()));
    let made = make(&folder).and_then(|app| windows::stories(&[("FRESH_APP", &app)], &["fresh"]));
    // What is left of one that failed is to be looked at.
    if made.is_ok() {
        let _ = fs::remove_dir_all(&folder);
    }
    made
}

fn make(folder: &Path) -> Result<PathBuf, Failed> {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).map_err(lost)?;
    let start = QuickStart::of(&readme).ok_or_else(|| Failed::Missing("README has no quick start".to_owned()))?;
    fs::create_dir_all(folder).map_err(lost)?;
    std::os::unix::fs::symlink(fs::canonicalize(ROOT).map_err(lost)?, folder.join("0k-sync")).map_err(lost)?;
    Step::new("fresh app: README's commands", "sh").args(&["-e", "-c", start.commands]).within(folder).run()?;

    let app = folder.join(APP);
    let program = app.join("src-tauri");
    fs::write(app.join("src/routes/+page.svelte"), start.page).map_err(lost)?;
    insert(&program.join("src/lib.rs"), ".plugin(tauri_plugin_opener", start.plugin)?;
    insert(&program.join("tauri.conf.json"), "\"bundle\":", start.relays)?;
    insert(&program.join("capabilities/default.json"), "\"core:default\"", start.permissions)?;

    Step::new("fresh app: types", "npm").args(&["run", "--silent", "check"]).within(&app).run()?;
    Step::new("fresh app: pages", "npm").args(&["run", "--silent", "build"]).within(&app).run()?;
    let target = built_programs().join("../fresh");
    cargo("fresh app", &["build", "--features", "tauri/custom-protocol"])
        .within(&program)
        .env("CARGO_TARGET_DIR", &target)
        .run()?;
    Ok(target.join("debug").join(APP))
}

/// What README tells a person to type, and where.
struct QuickStart<'a> {
    commands: &'a str,
    plugin: &'a str,
    relays: &'a str,
    permissions: &'a str,
    page: &'a str,
}

impl<'a> QuickStart<'a> {
    fn of(readme: &'a str) -> Option<Self> {
        let (_, part) = readme.split_once("## In a Tauri app\n")?;
        let (part, _) = part.split_once("\n## ")?;
        let (relays, permissions) = block(part, "text")?.split_once('\n')?;
        Some(Self {
            commands: block(part, "sh")?,
            plugin: block(part, "rust,ignore")?,
            relays,
            permissions,
            page: block(part, "svelte")?,
        })
    }
}

fn block<'a>(text: &'a str, language: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("```{language}\n"))?;
    rest.split_once("\n```").map(|(code, _)| code)
}

/// Puts a line into a file of the template, before what is there.
fn insert(file: &Path, before: &str, line: &str) -> Result<(), Failed> {
    let text = fs::read_to_string(file).map_err(lost)?;
    let Some((above, below)) = text.split_once(before) else {
        return Err(Failed::Missing(format!("the template's {} has no {before}", file.display())));
    };
    fs::write(file, format!("{above}{line}\n{before}{below}")).map_err(lost)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn lost(error: std::io::Error) -> Failed {
    Failed::Missing(error.to_string())
}
