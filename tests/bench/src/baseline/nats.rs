//! NATS JetStream on files, as Debian has it: an answer comes once the message is in the file, and the file is
//! flushed every two minutes. So it is beside us for speed, and promises less.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Instant,
};

use crate::{
    Failure,
    device::blobs,
    program::{self, Program},
    stats::rate,
};

/// What an answer of it promises.
pub(crate) const DURABILITY: &str = "written, flushed every 2 min: not durable when it answers";
/// Messages in one write.
const AT_ONCE: usize = 32;

/// Blobs a second that go into a stream, so many of them unanswered at once; none if it is not installed.
pub(crate) fn publishes(count: usize, depth: usize) -> Result<Option<f64>, Failure> {
    let Some(path) = program::installed("nats-server") else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let port = program::free_port()?;
    let mut command = Command::new(path);
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream"]);
    command.arg("--store_dir").arg(folder.path());
    let _server = Program::spawn(&mut command, &folder.path().join("log"))?;
    let stream = program::connect(port)?;
    let mut client = Client { reader: BufReader::new(stream.try_clone()?), stream };

    client.stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB answers 1\r\n")?;
    let create = br#"{"name":"bench","subjects":["bench"],"storage":"file","retention":"limits"}"#;
    client.stream.write_all(&publish("$JS.API.STREAM.CREATE.bench", create))?;
    client.answer()?;

    let at_once = AT_ONCE.min(depth);
    let blobs: Vec<_> = blobs(count).collect();
    let begun = Instant::now();
    let mut messages = blobs.chunks(at_once);
    let (mut sent, mut answered) = (0, 0);
    while answered < count {
        if sent < count && sent - answered + at_once <= depth {
            let chunk = messages.next().unwrap_or_default();
            client.stream.write_all(&chunk.iter().flat_map(|blob| publish("bench", blob)).collect::<Vec<u8>>())?;
            sent += chunk.len();
            continue;
        }
        client.answer()?;
        answered += 1;
    }
    Ok(Some(rate(count, begun.elapsed())))
}

struct Client {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

impl Client {
    /// Waits for the next answer, which has to be good.
    fn answer(&mut self) -> Result<(), Failure> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Err("NATS hung up".into());
            }
            if line.starts_with("PING") {
                self.stream.write_all(b"PONG\r\n")?;
            } else if line.starts_with("MSG ") {
                let len: usize = line.trim_end().rsplit(' ').next().unwrap_or_default().parse()?;
                let mut body = vec![0; len + 2];
                self.reader.read_exact(&mut body)?;
                let body = String::from_utf8_lossy(&body);
                return if body.contains("\"error\"") { Err(body.into()) } else { Ok(()) };
            } else if line.starts_with("-ERR") {
                return Err(line.into());
            }
        }
    }
}

fn publish(subject: &str, body: &[u8]) -> Vec<u8> {
    [format!("PUB {subject} answers {}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}
