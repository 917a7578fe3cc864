//! The relay as its users have it: the release binary, in a process and a folder of its own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use sync_types::RelayId;
use tempfile::TempDir;

use crate::{
    Failure,
    program::{self, Program},
};

/// Limits that protect a relay from strangers and would be all that is measured here. Everything else is as shipped.
pub(crate) const RAISED: &str = "\
server.max_connections = 2000
storage.max_group_storage = 17179869184
storage.max_db_size = 17179869184
storage.max_groups = 10000
limits.messages_burst = 1000000000
limits.connections_per_ip = 2000
limits.groups_per_ip_hour = 10000
limits.invites_per_minute = 1000
limits.claims_per_minute = 1000
limits.misses_per_minute = 1000
";

/// A relay on a folder that survives it.
pub(crate) struct Relay {
    folder: TempDir,
    quic: SocketAddr,
    http: SocketAddr,
    id: RelayId,
    program: Program,
}

impl Relay {
    /// A new one.
    pub(crate) fn start() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("relay.toml"), RAISED)?;
        let any: SocketAddr = "127.0.0.1:0".parse()?;
        let (program, ready, _) = run(folder.path(), any, any)?;
        let said = |field: &str| ready[field].as_str().ok_or("the relay's ready line lacks a field");
        Ok(Self {
            quic: said("quic")?.parse()?,
            http: said("http")?.trim_start_matches("http://").parse()?,
            id: serde_json::from_value(ready["endpoint_id"].clone())?,
            folder,
            program,
        })
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again where it was, after it was killed: how long it took until it said that it is ready.
    pub(crate) fn start_again(&mut self) -> Result<Duration, Failure> {
        let (program, _, took) = run(self.folder.path(), self.quic, self.http)?;
        self.program = program;
        Ok(took)
    }

    /// Its process.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Where its QUIC side listens.
    pub(crate) fn quic(&self) -> SocketAddr {
        self.quic
    }

    /// Who it is.
    pub(crate) fn id(&self) -> RelayId {
        self.id
    }

    /// Bytes of all frames that it has sent and received in sessions since it started, by its own count.
    pub(crate) fn transferred(&self) -> Result<u64, Failure> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let value = answer.lines().find_map(|line| line.strip_prefix("sync_relay_bytes_transferred "));
        Ok(value.ok_or("the relay does not count bytes")?.trim().parse()?)
    }

    /// How a device names it.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.http)
    }
}

fn run(folder: &Path, quic: SocketAddr, http: SocketAddr) -> Result<(Program, Value, Duration), Failure> {
    let mut command = Command::new(program::ours("sync-relay")?);
    command.arg("--data-dir").arg(folder.join("data")).arg("--config").arg(folder.join("relay.toml")).arg("--json");
    command.args(["--quic-bind", &quic.to_string(), "--http-bind", &http.to_string()]).env("RUST_LOG", "warn");
    let begun = Instant::now();
    let mut program = Program::spawn(&mut command, &folder.join("relay.log"))?;
    let ready = program.line()?;
    Ok((program, serde_json::from_str(&ready)?, begun.elapsed()))
}
