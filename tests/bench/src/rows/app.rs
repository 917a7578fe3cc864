//! What the plugin adds to an app: to its program as it is shipped, and to its memory at rest. The app is empty, and is there
//! twice; see `tests/bench/app`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::ROUNDS;
use crate::{
    Failure,
    program::{self, Program},
    relay::Relay,
    report::{Report, Row},
    stats::median,
};

const MOST_BINARY_MIB: f64 = 20.0;
const MOST_MEMORY_MIB: f64 = 60.0;
/// What is under way settles in this time.
const REST: Duration = Duration::from_secs(5);

/// Measures it, where there is something to build such an app with and to show it on.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let [bare, synced] = ["sync-bench-app-bare", "sync-bench-app-synced"].map(built);
    let (Some(bare), Some(synced)) = (bare?, synced?) else {
        report.note("what the plugin adds to an app is left out: the app is not built here");
        return Ok(());
    };
    let (without, with) = (mib(&bare)?, mib(&synced)?);
    let size = Row::new("app/program", with - without, "MiB").at_most(MOST_BINARY_MIB, "");
    report.add(
        size.remark(format!("as Tauri recommends to release it: {with:.1} with the plugin, {without:.1} without")),
    );

    let Some(screen) = Screen::open()? else {
        report.note("what the plugin adds to an app's memory is left out: there is no Xvfb here");
        return Ok(());
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(screen.at_rest(&bare, None).await?);
        with.push(screen.at_rest(&synced, Some(&Relay::start()?)).await?);
    }
    let (without, with) = (median(&without), median(&with));
    let memory = Row::new("app/memory", with - without, "MiB").at_most(MOST_MEMORY_MIB, "");
    report.add(
        memory.remark(format!("resident, connected, 1000 blobs: {with:.0} with the plugin, {without:.0} without")),
    );
    Ok(())
}

/// The app of that name, if it is built: with a profile of its own, as an app is.
fn built(name: &str) -> Result<Option<PathBuf>, Failure> {
    let folder = env::current_exe()?.parent().and_then(Path::parent).map(|target| target.join("app"));
    Ok(folder.map(|folder| folder.join(name)).filter(|program| program.is_file()))
}

/// The size of a program.
fn mib(program: &Path) -> Result<f64, Failure> {
    let kib = u32::try_from(fs::metadata(program)?.len() / 1024)?;
    Ok(f64::from(kib) / 1024.0)
}

/// A screen that nobody sees.
struct Screen {
    _server: Program,
    _folder: tempfile::TempDir,
    display: String,
}

impl Screen {
    /// None if there is no such thing here.
    fn open() -> Result<Option<Self>, Failure> {
        let Some(path) = program::installed("Xvfb") else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(path);
        command.args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]);
        let mut server = Program::spawn(&mut command, &folder.path().join("log"))?;
        let display = format!(":{}", server.line()?.trim());
        Ok(Some(Self { _server: server, _folder: folder, display }))
    }

    /// Runs an app on it as a person who never ran it before, until it has nothing left to do: the memory of its process, in
    /// MiB. Those of its web view are WebKit's.
    async fn at_rest(&self, app: &Path, relay: Option<&Relay>) -> Result<f64, Failure> {
        let home = tempfile::tempdir()?;
        let mut command = Command::new(app);
        if let Some(relay) = relay {
            command.arg(home.path().join("sync")).arg(relay.address());
        }
        command.env("DISPLAY", &self.display).env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
        command.env("GDK_BACKEND", "x11").env("NO_AT_BRIDGE", "1");
        for elsewhere in ["WAYLAND_DISPLAY", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(elsewhere);
        }
        let mut program = Program::spawn(&mut command, &home.path().join("log"))?;
        program.line()?;
        tokio::time::sleep(REST).await;
        program.resident_mib()
    }
}
