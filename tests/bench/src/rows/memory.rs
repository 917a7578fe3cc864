//! The relay's memory: at rest, with a thousand devices that listen, and after they left.

use std::time::Duration;

use crate::{
    Failure,
    baseline::echo,
    program::Program,
    relay::Relay,
    report::{Report, Row},
    wire::{Identity, Session},
};

const CONNECTIONS: usize = 1_000;
/// What is under way settles in this time.
const REST: Duration = Duration::from_secs(3);
/// After this iroh has let go of peers that left, which it remembers for a minute, and the relay has seen that it has,
/// which takes it half a minute more.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// What a server came to, in MiB.
struct Memory {
    idle: f64,
    full: f64,
    after: f64,
}

impl Memory {
    fn each_kib(&self) -> f64 {
        (self.full - self.idle) * 1024.0 / f64::from(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX))
    }

    fn given_back(&self) -> f64 {
        (self.full - self.after) / (self.full - self.idle)
    }
}

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let relay = Relay::start()?;
    let listen = async |number| {
        let mut session = Session::open(&relay, &Identity::new(number, number)).await?;
        session.follow().await?;
        Ok(session)
    };
    let mut ours = fill(relay.program(), listen, Session::close).await?;
    let server = echo::Server::start()?;
    let mut raw = fill(server.program(), async |_| echo::Line::open(&server).await, echo::Line::close).await?;
    tokio::time::sleep(FORGOTTEN).await;
    (ours.after, raw.after) = (relay.program().resident_mib()?, server.program().resident_mib()?);
    report.add(Row::new("memory/idle", ours.idle, "MiB").beside(raw.idle, "an iroh endpoint").at_most(20.0, ""));
    let each = Row::new("memory/connection", ours.each_kib(), "KiB");
    report.add(each.beside(raw.each_kib(), "an iroh connection; 1000 devices, a group each").ratio_at_most(1.2));
    let given_back = Row::new("memory/given back", ours.given_back(), "of it");
    report.add(given_back.beside(raw.given_back(), "an iroh endpoint; after 1000 closed").at_least(0.5));
    Ok(())
}

/// Opens connections to a server one after the other, then closes them.
async fn fill<T>(
    server: &Program,
    open: impl AsyncFn(usize) -> Result<T, Failure>,
    close: impl AsyncFn(T),
) -> Result<Memory, Failure> {
    tokio::time::sleep(REST).await;
    let idle = server.resident_mib()?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        connections.push(open(number).await?);
    }
    tokio::time::sleep(REST).await;
    let full = server.resident_mib()?;
    for connection in connections {
        close(connection).await;
    }
    Ok(Memory { idle, full, after: full })
}
