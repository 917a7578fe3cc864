//! A device as a profile folder and the commands run on it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{Binary, Keychain, Process, Scratch, SmallDisk, Terminal, eventually};

const COMMAND_MAX: Duration = Duration::from_secs(60);
const SETTLE_MAX: Duration = Duration::from_secs(120);
const PAIRING_STEP_MAX: Duration = Duration::from_secs(30);

/// A device: a profile folder and what runs on it.
#[derive(Debug)]
pub struct Device {
    name: String,
    profile: PathBuf,
    log_file: PathBuf,
    log: String,
    keychain: (String, String),
    /// What starts its commands, where they don't run like any other.
    entrance: Vec<String>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// What it said to scripts.
    pub lines: Vec<Value>,
}

/// A line of `pull` or `watch`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Blob {
    /// Its place in the local log.
    pub cursor: u64,
    /// Its name, on every device.
    pub push_id: String,
    /// Its name, on every relay.
    pub blob_id: String,
    /// Who pushed it.
    pub sender: String,
    /// It was this device.
    pub own: bool,
    /// The sender's clock.
    pub time_ms: u64,
    /// The payload, where it is text.
    #[serde(default)]
    pub text: Option<String>,
    /// The payload in base64, where it isn't.
    #[serde(default)]
    pub data: Option<String>,
}

impl Blob {
    /// The payload of a blob that is text.
    ///
    /// # Panics
    /// If it isn't.
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_else(|| panic!("not text: {self:?}"))
    }
}

impl Outcome {
    /// The only line of a command that succeeded.
    ///
    /// # Panics
    /// If it failed, or said more or less.
    pub fn only_line(self) -> Value {
        let [line] = self.ok().try_into().unwrap_or_else(|lines| panic!("not one line: {lines:?}"));
        line
    }

    /// What a command said that succeeded.
    ///
    /// # Panics
    /// If it failed.
    pub fn ok(self) -> Vec<Value> {
        assert_eq!(self.code, 0, "the command failed: {:?}", self.lines);
        self.lines
    }

    /// The error code of a command that failed, with its exit code.
    ///
    /// # Panics
    /// If it succeeded, or said no error at its end.
    pub fn error(&self) -> (&str, i32) {
        let code = self.lines.last().and_then(|line| line["error"]["code"].as_str());
        (code.unwrap_or_else(|| panic!("no error: {self:?}")), self.code)
    }

    /// What a command that failed tells a person.
    ///
    /// # Panics
    /// If it succeeded.
    pub fn advice(&self) -> &str {
        let text = self.lines.last().and_then(|line| line["error"]["message"].as_str());
        text.unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

impl Device {
    /// A device without a group that knows this relay. Its keys are in a file: tests have no keychain.
    pub fn new(scratch: &Scratch, name: &str, relay: &str) -> Self {
        Self::new_logging(scratch, name, relay, "warn")
    }

    /// The same, logging what `log` says, as `RUST_LOG` has it.
    pub fn new_logging(scratch: &Scratch, name: &str, relay: &str, log: &str) -> Self {
        let device = Self::uninitialised(scratch, name, log);
        device.run(&["init", "--name", name, "--relay", relay, "--secrets", "file"]).only_line();
        device
    }

    /// A folder in which no profile was made yet.
    pub fn uninitialised(scratch: &Scratch, name: &str, log: &str) -> Self {
        let profile = scratch.path().join(name);
        let log_file = scratch.path().join(format!("{name}.stderr.log"));
        // An address at which nobody can listen: whoever runs this may have a keychain, which is none of our business.
        let keychain = ("DBUS_SESSION_BUS_ADDRESS".to_owned(), "disabled:".to_owned());
        Self { name: name.to_owned(), profile, log_file, log: log.to_owned(), keychain, entrance: Vec::new() }
    }

    /// Its profile is on this disk from now on. There was none before.
    pub fn live_on(&mut self, disk: &SmallDisk) {
        self.profile = disk.place().join(&self.name);
        self.entrance = disk.entrance();
    }

    /// Its commands are started by these words from now on: in another place, under another clock.
    pub fn enter_by(&mut self, entrance: Vec<String>) {
        self.entrance = entrance;
    }

    /// Its commands find this keychain from now on.
    pub fn use_keychain(&mut self, keychain: &Keychain) {
        let (name, value) = keychain.environment();
        self.keychain = (name.to_owned(), value.to_owned());
    }

    /// The profile's folder.
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    /// What its commands wrote to standard error, all of them.
    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// Starts a command.
    pub fn spawn(&self, args: &[&str]) -> Process {
        Process::spawn(&format!("{} {}", self.name, args.join(" ")), self.command(args), &self.log_file)
    }

    /// Starts a command at a terminal.
    pub fn at_terminal(&self, args: &[&str]) -> Terminal {
        let entrance = Terminal::ENTRANCE.map(str::to_owned);
        Terminal::run(self.command_within(&entrance, args))
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, &[])
    }

    /// Runs a command to its end, with these lines on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &[&str]) -> Outcome {
        let mut process = self.spawn(args);
        for line in input {
            process.say(line);
        }
        let (status, lines) = process.finish(COMMAND_MAX);
        let code = status.code().unwrap_or_else(|| process.fail("was killed"));
        Outcome { code, lines }
    }

    /// Pushes text and says what came of it.
    pub fn push(&self, text: &str) -> Value {
        self.run(&["push", text]).only_line()
    }

    /// Everything after `cursor` that a sync can bring.
    pub fn pull_after(&self, cursor: u64) -> Vec<Blob> {
        blobs(self.run(&["pull", "--after-cursor", &cursor.to_string()]).ok())
    }

    /// Everything after `cursor` in the local log, without asking anybody.
    pub fn log_after(&self, cursor: u64) -> Vec<Blob> {
        blobs(self.run(&["pull", "--offline", "--after-cursor", &cursor.to_string()]).ok())
    }

    /// The texts of everything that a sync can bring.
    pub fn texts(&self) -> Vec<String> {
        self.pull_after(0).into_iter().map(|blob| blob.text().to_owned()).collect()
    }

    /// Syncs until it is in step, on a machine that may have other things to do.
    pub fn settles(&self) {
        let synced = || (self.run(&["sync", "--timeout", "30"]).code == 0).then_some(());
        eventually("the device is in step", SETTLE_MAX, synced);
    }

    /// The texts of everything there is, once it is in step.
    pub fn texts_in_step(&self) -> Vec<String> {
        self.settles();
        self.log_after(0).into_iter().map(|blob| blob.text().to_owned()).collect()
    }

    /// What `status` says.
    pub fn status(&self) -> Value {
        self.run(&["status"]).only_line()
    }

    /// What `sync` says, which must succeed.
    pub fn sync(&self) -> Value {
        self.run(&["sync", "--timeout", "30"]).only_line()
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_within(&self.entrance, args)
    }

    fn command_within(&self, entrance: &[String], args: &[&str]) -> Command {
        let mut command = Binary::Cli.command_within(entrance);
        command.arg("--profile").arg(&self.profile).arg("--json").args(args).env("RUST_LOG", &self.log);
        command.env(&self.keychain.0, &self.keychain.1);
        command
    }
}

fn blobs(lines: Vec<Value>) -> Vec<Blob> {
    lines.into_iter().map(|line| serde_json::from_value(line).expect("a blob is as the contract says")).collect()
}

/// Two new devices in one group, on this relay.
pub fn paired(scratch: &Scratch, relay: &str) -> (Device, Device) {
    let devices = (Device::new(scratch, "phone", relay), Device::new(scratch, "laptop", relay));
    pairing(&devices.0, &devices.1);
    devices
}

/// Brings `joiner` into the group of `creator`, with two people who compare digits: what each command said.
pub fn pairing(creator: &Device, joiner: &Device) -> (Vec<Value>, Vec<Value>) {
    pairing_with(creator, joiner, &[])
}

/// The same with more to say to the joiner's command.
pub fn pairing_with(creator: &Device, joiner: &Device, more: &[&str]) -> (Vec<Value>, Vec<Value>) {
    let mut create = creator.spawn(&["pair", "--create"]);
    let invite = create.expect("the code", PAIRING_STEP_MAX);
    let code = invite["code"].as_str().unwrap_or_else(|| create.fail("said no code"));
    let mut join = joiner.spawn(&[&["pair", "--join", code], more].concat());
    let asked = thread::scope(|both| {
        let joiner_asked = both.spawn(|| join.expect("its digits", PAIRING_STEP_MAX));
        (create.expect("its digits", PAIRING_STEP_MAX), joiner_asked.join().expect("the joiner shows digits"))
    });
    assert_eq!(asked.0["confirm"]["digits"], asked.1["confirm"]["digits"], "both screens show the same digits");
    create.say("yes");
    join.say("yes");
    let mut said = (vec![invite, asked.0], vec![asked.1]);
    for (process, said) in [(&mut create, &mut said.0), (&mut join, &mut said.1)] {
        let (status, rest) = process.finish(COMMAND_MAX);
        said.extend(rest);
        assert!(status.success(), "pairing failed: {said:?}");
    }
    said
}
