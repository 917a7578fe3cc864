//! A connection alone: an iroh endpoint that repeats what it hears on one stream a connection.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use iroh::{
    Endpoint, EndpointId, RelayMode, SecretKey,
    endpoint::{Connection, PortmapperConfig, RecvStream, SendStream, presets},
};
use tempfile::TempDir;

use crate::{Failure, device::BLOB_LEN, program::Program, wire};

const ALPN: &[u8] = b"echo";

/// Is that endpoint, until the process is killed.
pub(crate) async fn serve() -> Result<(), Failure> {
    let endpoint = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .secret_key(SecretKey::generate())
        .alpns(vec![ALPN.to_vec()])
        .clear_ip_transports()
        .bind_addr((Ipv4Addr::LOCALHOST, 0))?
        .bind()
        .await?;
    let address = endpoint.bound_sockets().first().copied().ok_or("no socket")?;
    announce(&format!("{} {address}", endpoint.id()));
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                repeat(&connection).await;
            }
        });
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
fn announce(line: &str) {
    println!("{line}");
}

async fn repeat(connection: &Connection) {
    let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
    while let Ok(Some(chunk)) = recv.read_chunk(64 * 1024).await {
        if send.write_chunk(chunk).await.is_err() {
            break;
        }
    }
}

/// That endpoint, in a process of its own.
pub(crate) struct Server {
    program: Program,
    id: EndpointId,
    at: SocketAddr,
    _folder: TempDir,
}

impl Server {
    /// Starts it.
    pub(crate) fn start() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(env::current_exe()?);
        let mut program = Program::spawn(command.arg("echo-server"), &folder.path().join("echo.log"))?;
        let line = program.line()?;
        let (id, at) = line.split_once(' ').ok_or("not an address")?;
        Ok(Self { program, id: id.parse()?, at: at.parse()?, _folder: folder })
    }

    /// Its process.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }
}

/// A connection to it, with its stream.
pub(crate) struct Line {
    endpoint: Endpoint,
    send: SendStream,
    recv: RecvStream,
}

impl Line {
    /// Connects, and hears the server once.
    pub(crate) async fn open(server: &Server) -> Result<Self, Failure> {
        let endpoint = wire::endpoint(&SecretKey::generate().to_bytes()).await?;
        let connection = wire::dial(&endpoint, server.id, server.at, ALPN).await?;
        let (send, recv) = connection.open_bi().await?;
        let mut line = Self { endpoint, send, recv };
        line.round_trips(1, 1).await?;
        Ok(line)
    }

    /// Has so many messages repeated, so many of them under way at once: how long it took.
    pub(crate) async fn round_trips(&mut self, count: usize, depth: usize) -> Result<Duration, Failure> {
        let message = [7; BLOB_LEN];
        let mut heard = vec![0; BLOB_LEN];
        let begun = Instant::now();
        let mut sent = 0;
        for answered in 0..count {
            while sent < count && sent - answered < depth {
                self.send.write_all(&message).await?;
                sent += 1;
            }
            self.recv.read_exact(&mut heard).await?;
        }
        Ok(begun.elapsed())
    }

    /// Leaves.
    pub(crate) async fn close(self) {
        self.endpoint.close().await;
    }
}
