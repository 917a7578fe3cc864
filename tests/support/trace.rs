//! What two people did to one document at once, edit by edit.
//!
//! The real one is `friendsforever` of <https://github.com/josephg/editing-traces>: two people wrote a text
//! together, 26,078 edits. An edit's positions count in the document as its author saw it: with everything that
//! the edit's ancestors did, and nothing else. Where the file is not at hand, [`generated`] makes a trace of the
//! same shape, whose outcome is known without any CRDT.

use std::{
    env,
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::{Dice, workspace_root};

/// The number of people.
pub const AGENTS: usize = 2;
/// A trace's file is of this size at most, unpacked.
const FILE_LEN_MAX: u64 = 64 * 1024 * 1024;

/// What two people did.
#[derive(Debug)]
pub struct Trace {
    /// Where it is from, for people.
    pub origin: String,
    /// Every edit, each after those it builds on.
    pub edits: Vec<Edit>,
    /// What the document says in the end, if that is known.
    pub outcome: Option<String>,
}

/// One edit.
#[derive(Debug, PartialEq, Eq)]
pub struct Edit {
    /// Who made it.
    pub agent: usize,
    /// How many edits of the other person its author had seen.
    pub seen: usize,
    /// What it did, one after the other.
    pub patches: Vec<Patch>,
}

/// A replaced stretch of text.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(from = "(u32, u32, String)")]
pub struct Patch {
    /// Where.
    pub at: u32,
    /// How many characters went.
    pub deleted: u32,
    /// What came.
    pub inserted: String,
}

impl From<(u32, u32, String)> for Patch {
    fn from((at, deleted, inserted): (u32, u32, String)) -> Self {
        Self { at, deleted, inserted }
    }
}

impl Trace {
    /// The real one from `$SYNC_TRACES` or `../shared/data/traces`, or else a generated one.
    pub fn find() -> Self {
        let beside = || workspace_root().join("../shared/data/traces");
        let folder = env::var_os("SYNC_TRACES").map_or_else(beside, PathBuf::from);
        let path = folder.join("friendsforever.json.gz");
        match File::open(&path) {
            Ok(file) => Self::read(file).expect("the trace is as its authors published it"),
            Err(_) => generated(7, 26_078),
        }
    }

    /// Its first `count` edits. What they come to is known of a whole trace only.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        if count < self.edits.len() {
            self.edits.truncate(count);
            self.outcome = None;
            self.origin = format!("the first {count} edits of {}", self.origin);
        }
        self
    }

    /// The edits of one person.
    pub fn of(&self, agent: usize) -> impl Iterator<Item = &Edit> {
        self.edits.iter().filter(move |edit| edit.agent == agent)
    }

    fn read(file: File) -> io::Result<Self> {
        let mut text = String::new();
        GzDecoder::new(file).take(FILE_LEN_MAX).read_to_string(&mut text)?;
        let file: TraceFile = serde_json::from_str(&text)?;
        // Code points and UTF-16 units, which are what the document counts in, are the same below here.
        assert!(!text.chars().any(|char| char > '\u{ffff}'), "the trace holds characters outside the basic plane");

        // How many edits of each person an edit builds on, itself included.
        let mut known: Vec<[usize; AGENTS]> = Vec::with_capacity(file.txns.len());
        let mut edits = Vec::with_capacity(file.txns.len());
        let mut made = [0; AGENTS];
        for txn in file.txns {
            let mut seen = [0; AGENTS];
            for parent in txn.parents {
                for (seen, known) in seen.iter_mut().zip(known[parent]) {
                    *seen = (*seen).max(known);
                }
            }
            assert_eq!(seen[txn.agent], made[txn.agent], "a person's edit builds on their previous one");
            edits.push(Edit { agent: txn.agent, seen: seen[1 - txn.agent], patches: txn.patches });
            made[txn.agent] += 1;
            seen[txn.agent] = made[txn.agent];
            known.push(seen);
        }
        let origin = format!("friendsforever, {} edits by two people (josephg/editing-traces)", edits.len());
        Ok(Self { origin, edits, outcome: Some(file.end_content) })
    }
}

/// The file, as published.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TraceFile {
    end_content: String,
    txns: Vec<Txn>,
}

#[derive(Deserialize)]
struct Txn {
    parents: Vec<usize>,
    agent: usize,
    patches: Vec<Patch>,
}

/// A trace of the same shape as the real one: bursts of typing by two people who see each other with a delay.
///
/// One writes above a line and the other below it, so that what they come to needs no CRDT to tell: it is what
/// the one wrote, the line, and what the other wrote.
pub fn generated(seed: u64, count: usize) -> Trace {
    const LINE: &str = "\n--\n";
    let mut dice = Dice::new(seed);
    let mut below = |bound: usize| dice.below(bound as u64) as usize;
    let mut halves = [Vec::new(), Vec::new()];
    // How long the upper half was after each of its author's edits, the first of which draws the line.
    let mut upper_len = vec![0, 0];
    let mut edits =
        vec![Edit { agent: 0, seen: 0, patches: vec![Patch { at: 0, deleted: 0, inserted: LINE.to_owned() }] }];
    let mut made = [1, 0];
    let mut seen = [0, 1];
    while edits.len() < count {
        let agent = below(AGENTS);
        if below(3) > 0 {
            seen[agent] = made[1 - agent]; // The other's edits arrived before this burst.
        }
        let start = if agent == 0 { 0 } else { upper_len[seen[1]] + LINE.len() };
        let half: &mut Vec<char> = &mut halves[agent];
        let mut place = below(half.len() + 1);
        for _ in 0..(1 + below(20)).min(count - edits.len()) {
            let deleted = if place > 0 && below(11) == 0 { 1 } else { 0 };
            place -= deleted;
            let inserted = if deleted > 0 { String::new() } else { char::from(b'a' + below(26) as u8).into() };
            half.splice(place..place + deleted, inserted.chars());
            let at = u32::try_from(start + place).expect("a generated document is small");
            place += inserted.len();
            edits.push(Edit {
                agent,
                seen: seen[agent],
                patches: vec![Patch { at, deleted: deleted as u32, inserted }],
            });
            made[agent] += 1;
            if agent == 0 {
                upper_len.push(half.len());
            }
        }
    }
    let [upper, lower] = halves.map(String::from_iter);
    let origin =
        format!("a generated trace of {} edits by two people (seed {seed}): the real one was not found", edits.len());
    Trace { origin, edits, outcome: Some(format!("{upper}{LINE}{lower}")) }
}

#[cfg(test)]
mod tests {
    use super::{AGENTS, Trace, generated};
    use crate::Replica;

    /// Both people in one process, everything seen exactly when the trace says so.
    fn replayed(trace: &Trace) -> [String; AGENTS] {
        let replicas: [Replica; AGENTS] = std::array::from_fn(Replica::new);
        let mut updates: [Vec<Vec<u8>>; AGENTS] = [Vec::new(), Vec::new()];
        let mut merged = [0; AGENTS];
        let mut merge = |agent: usize, through: usize, updates: &[Vec<Vec<u8>>; AGENTS]| {
            while merged[agent] < through {
                replicas[agent].merge(&updates[1 - agent][merged[agent]]);
                merged[agent] += 1;
            }
        };
        for edit in &trace.edits {
            merge(edit.agent, edit.seen, &updates);
            updates[edit.agent].push(replicas[edit.agent].edit(&edit.patches));
        }
        for agent in 0..AGENTS {
            merge(agent, updates[1 - agent].len(), &updates);
        }
        replicas.map(|replica| replica.content())
    }

    #[test]
    fn a_trace_comes_to_what_its_authors_say() {
        let trace = Trace::find();
        println!("{}", trace.origin);
        let outcome = trace.outcome.clone().expect("a whole trace has one");
        assert_eq!(replayed(&trace), [outcome.clone(), outcome]);
    }

    #[test]
    fn a_generated_trace_comes_to_what_was_written() {
        for seed in 0..20 {
            let trace = generated(seed, 2_000);
            let concurrent = trace.edits.windows(2).filter(|pair| pair[1].agent != pair[0].agent).count();
            assert!(concurrent > 50, "two people take turns");
            let outcome = trace.outcome.clone().expect("a generated trace has one");
            assert_eq!(replayed(&trace), [outcome.clone(), outcome], "seed {seed}");
        }
    }
}
