//! The end of `cargo xtask demo`, where there is a display: the example app in two windows, which are two devices.
//!
//! They are connected by the command line before they open, and are the person's from then on.

#[expect(dead_code, reason = "the terminal's part has more actors")]
mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
};

use stage::{Actor, scene};
use sync_tests::{Binary, Device, Relay, Scratch, pairing};

use Actor::{Laptop, Phone, Stage};

/// The example's identifier in its `tauri.conf.json`: devices of another app are not let in.
const APP: &str = "org.zerok.notes";

fn main() {
    let scratch = Scratch::new();
    scene(1, "The example app, twice");
    let relay = Relay::start(&scratch);
    let [phone, laptop] = ["phone", "laptop"].map(|name| device(&scratch, name, relay.url()));
    pairing(&phone, &laptop);
    Stage.says("Two devices are connected already, through a relay of their own. Write a note in either window.");
    Stage.says("“New window”, devices, relay settings and more are behind the badge at the upper right.");
    let mut windows = [(Phone, "phone"), (Laptop, "laptop")].map(|(actor, name)| {
        actor.says("opens its window");
        open(&home(&scratch, name))
    });
    Stage.says("The demo ends when both windows are closed.");
    for window in &mut windows {
        let status = window.wait().expect("it was started");
        assert!(status.success(), "the app ends in peace: {status}");
    }
    Stage.says("✓ both windows are closed");
}

/// What the app takes as its home in a development build.
fn home(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.path().join(format!("{name}-home"))
}

/// A device with its profile where the app has it.
fn device(scratch: &Scratch, name: &str, relay: &str) -> Device {
    let folder = home(scratch, name).join("sync");
    fs::create_dir_all(&folder).expect("the scratch folder is writable");
    let device = Device::uninitialised(scratch, &format!("{name}-home/sync/default"), "warn");
    device.run(&["init", "--name", name, "--relay", relay, "--secrets", "file", "--app", APP]).only_line();
    device
}

fn open(home: &Path) -> Child {
    Binary::Example.command().env("NOTES_TRIAL_DIR", home).spawn().expect("it was built")
}
