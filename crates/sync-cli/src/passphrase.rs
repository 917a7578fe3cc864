//! Where a passphrase comes from: a file, or whoever sits at the terminal. Never the command line or the environment,
//! which other programs of the machine can read.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    thread,
    time::Duration,
};

use sync_client::{ClientError, PASSPHRASE_LEN_MAX, Passphrase};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::{error::CliError, interrupt::Interrupt};

/// A mark that some editors put before a text, and the longest line end.
const BESIDES_MAX: usize = 3 + 2;
/// How long a prompt that was interrupted may take to put the terminal back as it was.
const RESTORE_MAX: Duration = Duration::from_secs(1);
const NO_TERMINAL: &str =
    "there is no terminal to ask for a passphrase on; put it in a file, for --passphrase-file FILE";

/// The passphrase in a file: its one line, with or without an end.
pub(crate) fn in_file(path: &Path) -> Result<Passphrase, CliError> {
    let unreadable = |source| CliError::Unreadable { what: "the passphrase's file", source };
    // Large enough from the start: a vector that grows leaves its old bytes behind.
    let mut content = Zeroizing::new(vec![0; PASSPHRASE_LEN_MAX + BESIDES_MAX + 1]);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut len = 0;
    while len < content.len() {
        match file.read(&mut content[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    Ok(Passphrase::new(line(&content[..len])?).map_err(ClientError::from)?)
}

/// The text of a file that holds one line.
fn line(content: &[u8]) -> Result<&str, CliError> {
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    std::str::from_utf8(content).map_err(|_| CliError::Usage("the passphrase's file is not UTF-8 text".to_owned()))
}

/// The passphrase that a person types twice, unseen.
pub(crate) async fn typed() -> Result<Passphrase, CliError> {
    let (tell, mut asked) = oneshot::channel();
    let ask = async {
        // A thread of its own, because a read that waits for a person can't be cancelled.
        thread::spawn(move || tell.send(ask_twice()));
        (&mut asked).await
    };
    let typed = tokio::select! {
        // Listens first: Ctrl-C typed at the prompt is a signal that this process sends to itself, and would end it then
        // and there, with a terminal that shows nothing any more.
        biased;
        listening = tokio::signal::ctrl_c() => {
            listening.map_err(CliError::Runtime)?;
            // Whether the terminal shows again what is typed, or nobody restores it: there is nothing to add.
            let _ = tokio::time::timeout(RESTORE_MAX, asked).await;
            return Err(CliError::Interrupted(Interrupt::Int));
        }
        typed = ask => typed.expect("whoever asks says what came of it"),
    };
    let (first, second) = typed.map_err(|error| {
        let is_interrupted = error.kind() == io::ErrorKind::Interrupted;
        if is_interrupted { CliError::Interrupted(Interrupt::Int) } else { CliError::Usage(NO_TERMINAL.to_owned()) }
    })?;
    if *first != *second {
        return Err(CliError::Usage("the two passphrases differ; try again".to_owned()));
    }
    Ok(Passphrase::new(&first).map_err(ClientError::from)?)
}

fn ask_twice() -> io::Result<(Zeroizing<String>, Zeroizing<String>)> {
    let ask = |prompt| rpassword::prompt_password(prompt).map(Zeroizing::new);
    Ok((ask("passphrase: ")?, ask("the same again: ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_line_with_or_without_its_end() {
        for content in ["a b ", "a b \n", "a b \r\n", "\u{feff}a b \n"] {
            assert_eq!(line(content.as_bytes()).expect("text"), "a b ", "{content:?}");
        }
        assert_eq!(line(b"a\n\n").expect("text"), "a\n", "which is no passphrase");
        assert!(matches!(line(b"\xFF\n"), Err(CliError::Usage(_))));
    }
}
