//! What is measured, each topic with its baselines.

mod app;
mod crowd;
mod drain;
mod event;
mod machine;
mod memory;
mod outage;
mod push;
mod read;
mod snapshot;
mod start;

use std::{future::Future, pin::Pin};

use crate::{Failure, report::Report};

/// Throughput is measured so often, in turns with its baseline, and the median counts.
pub(crate) const ROUNDS: usize = 3;

type Measuring<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// Some rows that are measured together.
pub(crate) struct Topic {
    /// What their names begin with.
    pub(crate) name: &'static str,
    /// What is about to be done.
    pub(crate) about: &'static str,
    run: for<'a> fn(&'a mut Report) -> Measuring<'a>,
}

impl Topic {
    /// Measures them.
    pub(crate) async fn run(&self, report: &mut Report) -> Result<(), Failure> {
        (self.run)(report).await
    }
}

/// Every topic, in the order of the table.
pub(crate) const TOPICS: &[Topic] = &[
    Topic { name: "machine", about: "SQLite, a flush, a round trip", run: |report| Box::pin(machine::measure(report)) },
    Topic { name: "drain", about: "a device sends what it queued", run: |report| Box::pin(drain::measure(report)) },
    Topic { name: "crowd", about: "8 sessions send into one group", run: |report| Box::pin(crowd::measure(report)) },
    Topic { name: "push", about: "pushes that wait for the relay", run: |report| Box::pin(push::measure(report)) },
    Topic { name: "event", about: "from a push to another device", run: |report| Box::pin(event::measure(report)) },
    Topic { name: "read", about: "a new device reads a log", run: |report| Box::pin(read::measure(report)) },
    Topic {
        name: "snapshot",
        about: "a new device joins a large group",
        run: |report| Box::pin(snapshot::measure(report)),
    },
    Topic { name: "memory", about: "the relay with 1000 devices", run: |report| Box::pin(memory::measure(report)) },
    Topic { name: "start", about: "relay and client start", run: |report| Box::pin(start::measure(report)) },
    Topic { name: "outage", about: "the relay dies and returns", run: |report| Box::pin(outage::measure(report)) },
    Topic { name: "app", about: "an app with the plugin and without", run: |report| Box::pin(app::measure(report)) },
];
