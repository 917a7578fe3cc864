//! Redis Streams with `appendfsync always`: every answer comes after a flush that covers it.
//!
//! What it does not do: seal, sign, keep what is not delivered yet on the sender's disk, count bytes a group.

use std::{
    io::{Read as _, Write as _},
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
pub(crate) const DURABILITY: &str = "flushed before it answers (appendfsync always)";
/// Commands in one write.
const AT_ONCE: usize = 32;

/// Blobs a second that go into a stream, so many of them unanswered at once; none if it is not installed.
pub(crate) fn appends(count: usize, depth: usize) -> Result<Option<f64>, Failure> {
    let Some(path) = program::installed("redis-server") else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let port = program::free_port()?;
    let mut command = Command::new(path);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    command.args(["--appendfsync", "always"]).arg("--dir").arg(folder.path());
    let _server = Program::spawn(&mut command, &folder.path().join("log"))?;
    let mut stream = program::connect(port)?;

    let (at_once, mut read) = (AT_ONCE.min(depth), vec![0; 64 * 1024]);
    let blobs: Vec<_> = blobs(count).collect();
    let begun = Instant::now();
    let mut commands = blobs.chunks(at_once);
    let (mut sent, mut lines) = (0, 0);
    // An answer is two lines: the length of the new entry's id, and the id.
    while lines < 2 * count {
        if sent < count && sent - lines / 2 + at_once <= depth {
            let chunk = commands.next().unwrap_or_default();
            stream.write_all(&chunk.iter().flat_map(|blob| append(blob)).collect::<Vec<u8>>())?;
            sent += chunk.len();
            continue;
        }
        let len = stream.read(&mut read)?;
        if len == 0 || (lines == 0 && read[0] != b'$') {
            return Err("Redis does not do as it is told".into());
        }
        lines += read[..len].iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(Some(rate(count, begun.elapsed())))
}

fn append(blob: &[u8]) -> Vec<u8> {
    let head = format!("*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nd\r\n${}\r\n", blob.len());
    [head.as_bytes(), blob, b"\r\n"].concat()
}
