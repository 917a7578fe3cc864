//! What is said, and to whom: answers on standard output, everything else on standard error.
//!
//! An answer is one type with two faces: [`Serialize`] for scripts, a JSON object a line, and [`Display`] for people.
//! Each is flushed as it happens, because somebody may be waiting for it in a pipe.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::CliError;

/// Where a command talks to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// For scripts, or for people.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// An answer.
    ///
    /// # Errors
    /// [`CliError::Unheard`] if nobody reads it.
    pub(crate) fn answer(self, answer: &(impl Serialize + Display)) -> Result<(), CliError> {
        let line = if self.json {
            serde_json::to_string(answer).expect("answers are maps of strings and numbers")
        } else {
            answer.to_string()
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(CliError::Unheard)
    }

    /// A remark for people, which scripts don't need.
    pub(crate) fn note(self, remark: impl Display) {
        // Nobody can be told that nobody listens.
        let _ = writeln!(io::stderr().lock(), "{remark}");
    }

    /// A drawing for whoever watches a terminal.
    pub(crate) fn picture(self, drawing: impl Display) {
        if !self.json && io::stderr().is_terminal() {
            self.note(drawing);
        }
    }

    /// Why the command failed: for scripts on standard output, for people on standard error, and what to type next.
    pub(crate) fn failure(self, error: &CliError) {
        #[derive(Serialize)]
        struct Failure {
            error: Reason,
        }
        #[derive(Serialize)]
        struct Reason {
            code: &'static str,
            message: String,
        }
        if self.json {
            let error = Reason { code: error.code().name(), message: error.to_string() };
            let line = serde_json::to_string(&Failure { error }).expect("an error is two strings");
            let mut stdout = io::stdout().lock();
            let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
        }
        self.note(format_args!("error: {error}"));
        if let Some(help) = error.help() {
            self.note(format_args!("help: {help}"));
        }
    }

    /// Something that moves while a person waits, if one does.
    pub(crate) fn progress(self, what: &'static str) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner().with_message(what);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} {prefix}").expect("the template is well formed"));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

/// Unicode's separators of lines and paragraphs, and its marks for the reading direction. They count as no controls.
const BREAKS_AND_TURNS: [char; 14] = [
    '\u{2028}', '\u{2029}', '\u{061c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

/// Text of others on its way to a terminal, on one line: what would begin another, move the cursor, change colours or
/// turn the reading direction is shown as what it is.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if (char.is_control() && char != '\t') || BREAKS_AND_TURNS.contains(&char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_of_others_does_not_drive_the_terminal() {
        assert_eq!(super::shown("a\u{1b}[2Jb\rc\td\u{9b}"), "a\\u{1b}[2Jb\\rc\td\\u{9b}");
        assert_eq!(super::shown("grüße ☁"), "grüße ☁");
    }

    #[test]
    fn text_of_others_is_one_line_and_reads_as_it_runs() {
        assert_eq!(super::shown("a\n#2  own       b\u{2028}c"), "a\\n#2  own       b\\u{2028}c");
        for turn in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}').chain(['\u{200e}', '\u{200f}', '\u{61c}'])
        {
            assert!(super::shown(&format!("a{turn}b")).is_ascii(), "{turn:?}");
        }
    }
}
