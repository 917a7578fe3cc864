//! The benchmark: figures of the real relay and the real client, beside baselines from the same run.
//!
//! A figure alone says more about the machine than about the program. So each is printed with what the same machine
//! did a moment before or after for something that has no more to do than it must: SQLite alone, a flush alone, a
//! connection alone. The ratio is what is judged, and nothing here is a test that fails because a machine was busy.
//!
//! The relay is its release binary in a process of its own; devices are [`sync_client::SyncClient`]s in this one, and
//! bare sessions (see [`wire`]) where a thousand of them are needed, or where devices would cost more than the relay.

mod baseline;
mod device;
mod program;
mod relay;
mod report;
mod rows;
mod stats;
mod wire;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use report::Report;
use rows::TOPICS;

/// Whatever went wrong. A benchmark has no way to go on, so nobody needs to tell the reasons apart.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Longer than anything here takes on a machine that is worth measuring.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Parser)]
#[command(about = "Prints our figures beside baselines from the same run")]
struct Args {
    /// Writes the table to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures this topic alone, or the one that a row of this name belongs to.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program is asked to be by itself.
#[derive(Subcommand)]
enum Part {
    /// An iroh endpoint that repeats what it hears: the baseline of a connection's memory and of a round trip.
    #[command(hide = true)]
    EchoServer,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads to give");
    let done = match args.part {
        Some(Part::EchoServer) => runtime.block_on(baseline::echo::serve()),
        None => runtime.block_on(measure(args.only.as_deref(), args.json)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn measure(only: Option<&str>, json: Option<PathBuf>) -> Result<(), Failure> {
    let wanted = |name: &str| only.is_none_or(|only| only.split('/').next() == Some(name));
    if !TOPICS.iter().any(|topic| wanted(topic.name)) {
        let names: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
        return Err(format!("there is nothing of this name to measure; there are: {}", names.join(", ")).into());
    }
    let mut report = Report::new(only.filter(|only| only.contains('/')));
    report.note(&format!("relay limits raised for this: {}", relay::RAISED.trim_end().replace('\n', ", ")));
    for topic in TOPICS.iter().filter(|topic| wanted(topic.name)) {
        report::progress(topic.name, topic.about);
        topic.run(&mut report).await?;
    }
    report.print();
    match json {
        Some(path) => report.save(&path),
        None => Ok(()),
    }
}
