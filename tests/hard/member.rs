//! A member of a group who talks and listens, and forgives nothing.
//!
//! Every line it says carries its name, a number and a piece of a real edit, so that every line heard can be
//! checked the moment it is heard: it is the next one of its sender's, and word for word what was said.

use std::{collections::BTreeMap, fs, sync::OnceLock, thread, time::Duration};

use serde_json::Value;
use sync_tests::{Blob, Device, Process, Relay, RelaySetup, Scratch, canary::Search, memory, trace::Trace};

/// Nothing takes that long, however hard the times.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// In every line that is said.
const CANARY: &str = "canary-word-Kernbeisser-4714";
/// In every device's name.
const NAME: &str = "canary-device-Bergfink";
/// More than any of these stories needs, and less than a queue without a bound would take.
const MEMORY_MAX_MIB: u64 = 160;

/// How many lines of each sender were heard, or are to be.
pub(crate) type Totals = BTreeMap<&'static str, usize>;

/// A relay that says everything it has to say.
pub(crate) fn relay(scratch: &Scratch, setup: RelaySetup<'_>) -> Relay {
    Relay::start_with(scratch, RelaySetup { log: "trace", ..setup })
}

/// See the [module](self).
pub(crate) struct Member {
    name: &'static str,
    pub(crate) device: Device,
    session: Option<Process>,
    /// The process that is online has said something.
    awake: bool,
    /// The newest blob seen in the local log.
    cursor: u64,
    /// What the blobs in the local log are called, in its order.
    ids: Vec<String>,
    /// How many own lines there are up to each of them.
    own: Vec<usize>,
    said: usize,
    heard: Totals,
}

impl Member {
    /// A device without a group that knows these relays, and is started by these words.
    pub(crate) fn new(scratch: &Scratch, name: &'static str, relays: &[&str], entrance: Vec<String>) -> Self {
        let mut device = Device::uninitialised(scratch, name, "trace");
        device.enter_by(entrance);
        let name_it = format!("{NAME} {name}");
        let relays = relays.iter().flat_map(|relay| ["--relay", relay]);
        let init: Vec<_> = ["init", "--name", &name_it, "--secrets", "file"].into_iter().chain(relays).collect();
        device.run(&init).only_line();
        Self {
            name,
            device,
            session: None,
            awake: false,
            cursor: 0,
            ids: Vec::new(),
            own: Vec::new(),
            said: 0,
            heard: Totals::new(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// How many lines it has said.
    pub(crate) fn said(&self) -> usize {
        self.said
    }

    /// How many lines of `name` it has heard, its own among them.
    pub(crate) fn heard(&self, name: &str) -> usize {
        self.heard.get(name).copied().unwrap_or_default()
    }

    /// Comes online, and says again what it had said to a process that died of it.
    pub(crate) fn open(&mut self) {
        self.read_log();
        let after = self.cursor.to_string();
        let mut session = self.device.spawn(&["watch", "--lines", "--after-cursor", &after]);
        for number in self.heard(self.name)..self.said {
            session.say(&line(self.name, number));
        }
        (self.session, self.awake) = (Some(session), false);
    }

    /// Says so many lines.
    pub(crate) fn say(&mut self, count: usize) {
        for number in self.said..self.said + count {
            let line = line(self.name, number);
            self.session().say(&line);
        }
        self.said += count;
    }

    /// Says one line in a command of its own: how far that got.
    pub(crate) fn say_by_command(&mut self, options: &[&str]) -> Value {
        let line = line(self.name, self.said);
        self.said += 1;
        self.device.run(&[&["push", &line], options].concat()).only_line()["state"].take()
    }

    /// The process that is online.
    pub(crate) fn session(&mut self) -> &mut Process {
        self.session.as_mut().expect("it is online")
    }

    /// Takes what is there to be heard, and waits for none.
    pub(crate) fn listen(&mut self) {
        while let Some(value) = self.session.as_mut().and_then(|session| session.next_within(Duration::ZERO)) {
            self.take(value);
        }
    }

    /// Listens until it has heard so many lines of each.
    pub(crate) fn hear(&mut self, totals: &Totals) {
        while let Some((name, total)) = totals.iter().find(|(name, total)| self.heard(name) < **total) {
            let what = format!("line {} of {total} of {name}'s", self.heard(name));
            let value = self.session().expect(&what, LIMIT);
            self.take(value);
        }
    }

    /// SIGKILL. What is on the disk is all that is left, and what was heard must be there.
    pub(crate) fn die(&mut self) {
        let mut session = self.session.take().expect("it is online");
        for value in session.kill() {
            self.take(value);
        }
        self.read_log();
    }

    /// Says so many lines to a command that is killed while it says what came of them. What it promised must be in the
    /// log; and how many own lines it said are at the relay.
    pub(crate) fn say_and_die(&mut self, count: usize, wait: &str, after: Duration) -> usize {
        self.said += count;
        let mut push = self.device.spawn(&["push", "--lines", "--wait", wait, "--timeout", "60"]);
        for number in self.heard(self.name)..self.said {
            push.say(&line(self.name, number));
        }
        let promised: Vec<Value> = push.next_within(LIMIT).into_iter().collect();
        thread::sleep(after);
        let promised = [promised, push.kill()].concat();
        self.read_log();
        let mut confirmed = 0;
        for pushed in promised {
            let place = pushed["cursor"].as_u64().expect("a cursor") as usize - 1;
            assert_eq!(self.ids.get(place), pushed["push_id"].as_str().map(str::to_owned).as_ref(), "{}", self.name);
            if pushed["state"] != "queued" {
                confirmed = confirmed.max(self.own[place]);
            }
        }
        confirmed
    }

    /// Goes offline and leaves the profile to the next command.
    pub(crate) fn close(&mut self) {
        if !self.awake {
            // It may not have come so far as to know what a signal asks of it.
            return self.die();
        }
        let mut session = self.session.take().expect("it is online");
        assert_modest(session.id());
        session.signal(rustix::process::Signal::TERM);
        let (status, rest) = session.finish(LIMIT);
        assert!(status.success(), "a watch that is asked to end ends well: {status}");
        for value in rest {
            self.take(value);
        }
        self.read_log();
    }

    /// Takes what is new in the log.
    pub(crate) fn read_log(&mut self) {
        for blob in self.device.log_after(self.cursor) {
            self.check(&blob);
        }
    }

    /// Its log, read again from the start, holds what was heard and nothing else, once and in order.
    pub(crate) fn assert_log_holds(&self, totals: &Totals) {
        let mut again = Self {
            name: self.name,
            device: Device::uninitialised(&Scratch::new(), "nobody", "off"),
            session: None,
            awake: false,
            cursor: 0,
            ids: Vec::new(),
            own: Vec::new(),
            said: self.said,
            heard: Totals::new(),
        };
        for blob in self.device.log_after(0) {
            again.check(&blob);
        }
        assert_eq!(&again.heard, totals, "the log of {}", self.name);
        assert_eq!(again.cursor, totals.values().sum::<usize>() as u64, "no cursor is left out");
    }

    fn take(&mut self, value: Value) {
        self.awake = true;
        self.check(&serde_json::from_value(value).expect("a blob is as the contract says"));
    }

    fn check(&mut self, blob: &Blob) {
        assert_eq!(blob.cursor, self.cursor + 1, "{}: the local log grows by one at a time", self.name);
        self.cursor = blob.cursor;
        let mut words = blob.text().splitn(4, ' ').skip(1);
        let sender =
            words.next().and_then(|sender| NAMES.iter().find(|name| **name == sender)).expect("a member's name");
        let number: usize = words.next().and_then(|number| number.parse().ok()).expect("a number");
        assert_eq!(blob.own, *sender == self.name, "{}: own is what it said itself", self.name);
        let next = self.heard.entry(sender).or_default();
        assert_eq!(number, *next, "{}: {sender}'s lines come once, and in their order", self.name);
        *next += 1;
        self.ids.push(blob.push_id.clone());
        self.own.push(self.heard(self.name));
        assert!(blob.text() == line(sender, number), "{}: a line is not what was said", self.name);
    }
}

/// Everybody's names: a text that names somebody else was not said here.
const NAMES: [&str; 3] = ["phone", "laptop", "tablet"];

/// What `name` says `number`th.
fn line(name: &str, number: usize) -> String {
    static EDITS: OnceLock<Vec<String>> = OnceLock::new();
    let edits = EDITS.get_or_init(|| {
        let trace = Trace::find().first(2_000);
        let patches = |edit: &sync_tests::trace::Edit| {
            let patches = edit.patches.iter().map(|patch| (patch.at, patch.deleted, &patch.inserted));
            serde_json::to_string(&patches.collect::<Vec<_>>()).expect("an edit is JSON")
        };
        trace.edits.iter().map(patches).collect()
    });
    format!("{CANARY} {name} {number} {}", edits[number % edits.len()])
}

/// This process has never held more memory than it may need.
pub(crate) fn assert_modest(process: u32) {
    let Some(mib) = memory::peak_mib(process) else { return };
    assert!(mib < MEMORY_MAX_MIB, "process {process} has held {mib} MiB");
}

/// Everybody has heard everything, says so, and left nothing readable in any log.
///
/// The members are offline, the relays are up and can be reached.
pub(crate) fn assert_all_well(relays: &[Relay], members: &mut [&mut Member]) {
    let totals: Totals = members.iter().map(|member| (member.name, member.said)).collect();
    assert!(totals.values().sum::<usize>() > 0, "somebody said something");
    // Each once, so that everybody has sent what is to be sent; then once more.
    for _ in 0..2 {
        for member in members.iter_mut() {
            let synced = sync_tests::eventually("in step", LIMIT, || {
                let status = member.device.status();
                (status["badge"] == "synced").then_some(status)
            });
            assert_eq!((&synced["pending"], &synced["waiting"]), (&0.into(), &0.into()), "{synced}");
            assert_eq!(synced["parked"], Value::Array(Vec::new()), "{synced}");
        }
    }
    for member in members.iter() {
        member.assert_log_holds(&totals);
    }
    relays.iter().for_each(|relay| assert_modest(relay.process().id()));
    let devices: Vec<&Device> = members.iter().map(|member| &member.device).collect();
    assert_nothing_readable(relays, &devices);
}

fn assert_nothing_readable(relays: &[Relay], devices: &[&Device]) {
    let mut search = Search::default();
    search.plant("a word", CANARY.as_bytes());
    search.plant("a name", NAME.as_bytes());
    search.proves();
    let relay_logs: Vec<_> = relays.iter().map(Relay::log_file).collect();
    let logs = devices.iter().map(|device| (device.log_file(), "sync_client"));
    for (log, ours) in logs.chain(relay_logs.iter().map(|log| (log.as_path(), "sync_relay"))) {
        let found = search.find(&[log]);
        assert!(found.is_empty(), "readable in a log: {found:#?}");
        let text = String::from_utf8_lossy(&fs::read(log).expect("a log is there")).into_owned();
        assert!(text.contains("TRACE") && text.contains(ours), "{} does not say everything", log.display());
    }
    for relay in relays {
        let found = search.find(&[&relay.data()]);
        assert!(found.is_empty(), "readable at a relay: {found:#?}");
    }
}
