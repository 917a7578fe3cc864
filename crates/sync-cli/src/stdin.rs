//! Standard input as lines.
//!
//! A thread of its own reads it, because a read that waits for a person can't be cancelled and must not keep the
//! process alive. It reads no further ahead than a few lines, and no line past the longest blob.

use std::{
    io::{self, BufRead, Read as _},
    thread,
};

use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;

use crate::error::CliError;

const AHEAD: usize = 64;

/// Reads standard input from here on, line by line without the lines' ends. A line of more than `len_max` bytes is an
/// error, and the last thing that is read.
pub(crate) fn lines(len_max: usize) -> impl Stream<Item = Result<Vec<u8>, CliError>> + Unpin {
    let (sender, mut lines) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Some(line) = next_line(&mut stdin, len_max).transpose() {
            let last = line.is_err();
            if sender.blocking_send(line).is_err() || last {
                break;
            }
        }
    });
    stream::poll_fn(move |context| lines.poll_recv(context))
}

fn next_line(input: &mut impl BufRead, len_max: usize) -> Result<Option<Vec<u8>>, CliError> {
    let mut line = Vec::new();
    let unreadable = |source| CliError::Unreadable { what: "standard input", source };
    let limit = u64::try_from(len_max).unwrap_or(u64::MAX).saturating_add(2);
    if input.take(limit).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|end| *end == b'\n').is_some() {
        line.pop_if(|end| *end == b'\r');
    }
    if line.len() > len_max {
        return Err(CliError::LineTooLong { max: len_max });
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_on_any_system_and_empty_ones_count() {
        let mut input: &[u8] = b"one\r\n\ntwo\nthree";
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input, 5).expect("short enough") {
            lines.push(String::from_utf8(line).expect("UTF-8"));
        }
        assert_eq!(lines, ["one", "", "two", "three"]);
    }

    #[test]
    fn a_line_may_be_as_long_as_a_blob_and_no_longer() {
        assert_eq!(next_line(&mut &b"12345\r\n"[..], 5).expect("fits"), Some(b"12345".to_vec()));
        assert_eq!(next_line(&mut &b"12345"[..], 5).expect("fits"), Some(b"12345".to_vec()));
        assert_eq!(
            next_line(&mut &b"123456\n"[..], 5).expect_err("too long").code(),
            sync_client::ErrorCode::BlobTooLarge
        );
    }
}
