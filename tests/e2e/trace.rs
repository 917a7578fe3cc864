//! Two people write one document, through a relay.
//!
//! Each device has one person's edits and a live document. An edit is made only once everything its author had seen
//! has arrived, its update is pushed as a blob of its own, and what arrives is merged exactly when the trace says
//! that its author had seen it. Both documents must end as the trace says, byte for byte.

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use sync_tests::{
    Blob, Device, Process, Relay, Replica, Scratch, eventually, paired,
    trace::{AGENTS, Edit, Trace},
};

/// Nothing on loopback takes that long, however often something is killed.
const STALL_MAX: Duration = Duration::from_secs(60);

#[test]
fn two_people_end_up_with_the_same_document() {
    let trace = chosen_trace();
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let made = AtomicUsize::new(0);
    let [at_phone, at_laptop] = both(&trace, [&phone, &laptop], [0, 0], &made);
    assert_documents(&trace, &at_phone, &at_laptop);
}

#[test]
fn they_do_so_through_five_deaths_of_the_relay_and_three_of_a_device() {
    const RELAY_DEATHS: usize = 5;
    const DEVICE_DEATHS: usize = 3;
    let trace = chosen_trace();
    let scratch = Scratch::new();
    let relay = Mutex::new(Relay::start(&scratch));
    let address = relay.lock().expect("nothing panicked").url().to_owned();
    let (phone, laptop) = paired(&scratch, &address);
    let made = AtomicUsize::new(0);
    let [at_phone, at_laptop] = thread::scope(|story| {
        story.spawn(|| {
            for death in 1..=RELAY_DEATHS {
                let due = trace.edits.len() * death / (RELAY_DEATHS + 1);
                eventually("the edits go on", Duration::from_secs(1_800), || {
                    (made.load(Ordering::Relaxed) >= due).then_some(())
                });
                let mut relay = relay.lock().expect("nothing panicked");
                relay.kill();
                thread::sleep(Duration::from_millis(300));
                relay.restart();
            }
        });
        both(&trace, [&phone, &laptop], [0, DEVICE_DEATHS], &made)
    });
    assert_documents(&trace, &at_phone, &at_laptop);

    // Once, and in order: the log of each device holds every update of each author exactly once, as made.
    for device in [&phone, &laptop] {
        let log = device.log_after(0);
        let expected = [trace.of(0).count(), trace.of(1).count()];
        for (agent, author) in [&phone, &laptop].into_iter().enumerate() {
            let own = std::ptr::eq(author, device);
            let numbers = log.iter().filter(|blob| blob.own == own).map(|blob| Update::parse(blob).number);
            assert!(numbers.eq(0..expected[agent]), "a log does not hold each update once and in order");
        }
    }
}

#[expect(clippy::print_stdout, reason = "who runs this wants to know what was replayed, and how fast")]
pub(crate) fn chosen_trace() -> Trace {
    // For whoever changes something here and doesn't want to wait.
    let trace = match env::var("SYNC_TRACE_EDITS") {
        Ok(count) => Trace::find().first(count.parse().expect("SYNC_TRACE_EDITS is a number")),
        Err(_) => Trace::find(),
    };
    println!("{}", trace.origin);
    trace
}

pub(crate) fn assert_documents(trace: &Trace, phone: &str, laptop: &str) {
    assert!(phone == laptop, "the two documents differ");
    if let Some(outcome) = &trace.outcome {
        assert!(phone == outcome, "both documents differ from what the trace says");
    }
}

/// Both people at once: what their documents say in the end.
#[expect(clippy::print_stdout, reason = "who runs this wants to know what was replayed, and how fast")]
pub(crate) fn both(
    trace: &Trace,
    devices: [&Device; AGENTS],
    deaths: [usize; AGENTS],
    made: &AtomicUsize,
) -> [String; AGENTS] {
    let start = Instant::now();
    let documents = thread::scope(|story| {
        let people = [0, 1].map(|agent| {
            story.spawn(move || {
                let mut person = Person::new(trace, agent, devices[agent]);
                person.write(deaths[agent], made);
                // Whoever is done stays online for the other, who may not have been sent the last of it yet.
                (person.replica.content(), person.session)
            })
        });
        let ended = people.map(|person| person.join().expect("a person's story ends well"));
        ended.map(|(content, _online)| content)
    });
    println!("{} edits in {:.1} s", trace.edits.len(), start.elapsed().as_secs_f32());
    documents
}

/// One person, at one device.
struct Person<'a> {
    edits: Vec<&'a Edit>,
    device: &'a Device,
    replica: Replica,
    /// `watch --lines`: pushes what it is told, prints what is in the local log.
    session: Process,
    /// The newest blob seen in the local log.
    cursor: u64,
    /// Own updates, all that were made. The first `logged` of them were seen in the local log.
    updates: Vec<String>,
    logged: usize,
    /// The other person's updates, all that arrived. The first `merged` of them are in the document.
    arrived: Vec<Vec<u8>>,
    merged: usize,
    others: usize,
}

impl<'a> Person<'a> {
    fn new(trace: &'a Trace, agent: usize, device: &'a Device) -> Self {
        Self {
            edits: trace.of(agent).collect(),
            device,
            replica: Replica::new(agent),
            session: session(device, 0),
            cursor: 0,
            updates: Vec::new(),
            logged: 0,
            arrived: Vec::new(),
            merged: 0,
            others: trace.of(1 - agent).count(),
        }
    }

    /// Makes every edit in its time, dying `deaths` times on the way.
    fn write(&mut self, deaths: usize, made: &AtomicUsize) {
        let edits = std::mem::take(&mut self.edits);
        for (number, edit) in edits.iter().enumerate() {
            self.merge_through(edit.seen);
            let update = self.replica.edit(&edit.patches);
            self.updates.push(format!("{number} {}", BASE64.encode(&update)));
            self.session.say(&self.updates[number]);
            made.fetch_add(1, Ordering::Relaxed);
            if (1..=deaths).any(|death| number == edits.len() * death / (deaths + 1)) {
                self.die_and_come_back();
            }
        }
        self.merge_through(self.others);
        while self.logged < self.updates.len() {
            self.listen();
        }
    }

    fn merge_through(&mut self, count: usize) {
        while self.arrived.len() < count {
            self.listen();
        }
        for update in &self.arrived[self.merged..count.max(self.merged)] {
            self.replica.merge(update);
        }
        self.merged = self.merged.max(count);
    }

    /// Takes the next blob of the local log.
    fn listen(&mut self) {
        let line = self.session.expect("a blob", STALL_MAX);
        self.take(&serde_json::from_value(line).expect("a blob is as the contract says"));
    }

    fn take(&mut self, blob: &Blob) {
        assert!(blob.cursor > self.cursor, "the local log only grows");
        self.cursor = blob.cursor;
        let update = Update::parse(blob);
        if blob.own {
            assert_eq!(blob.text(), self.updates[self.logged], "own updates are in the log as they were pushed");
            self.logged += 1;
        } else {
            assert_eq!(update.number, self.arrived.len(), "another's updates come once, and in their order");
            self.arrived.push(update.bytes);
        }
    }

    /// The process is killed in the middle of what it does, and another takes over from what is on the disk.
    fn die_and_come_back(&mut self) {
        for line in self.session.kill() {
            self.take(&serde_json::from_value(line).expect("a blob is as the contract says"));
        }
        for blob in self.device.log_after(self.cursor) {
            self.take(&blob);
        }
        self.session = session(self.device, self.cursor);
        for update in &self.updates[self.logged..] {
            self.session.say(update); // Said to the dead process, and not in the log: it was not heard.
        }
    }
}

fn session(device: &Device, after: u64) -> Process {
    device.spawn(&["watch", "--lines", "--after-cursor", &after.to_string()])
}

/// An update as a line of text: its number among its author's, and its bytes.
pub(crate) struct Update {
    number: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Update {
    pub(crate) fn parse(blob: &Blob) -> Self {
        let (number, bytes) = blob.text().split_once(' ').expect("a number and an update");
        let bytes = BASE64.decode(bytes.as_bytes()).expect("an update arrives as it was pushed");
        Self { number: number.parse().expect("a number"), bytes }
    }
}
