//! Who speaks: each actor of the demo has a colour and a margin, so that a person can follow.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::Duration,
};

/// Somebody who speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actor {
    /// The narrator.
    Stage,
    /// The relay.
    Relay,
    /// The first device.
    Phone,
    /// The second.
    Laptop,
}

impl Actor {
    const fn name(self) -> &'static str {
        match self {
            Self::Stage => "",
            Self::Relay => "relay",
            Self::Phone => "phone",
            Self::Laptop => "laptop",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Stage => "1",
            Self::Relay => "35",
            Self::Phone => "36",
            Self::Laptop => "33",
        }
    }

    /// Says a line, and leaves a person the time to read it.
    pub(crate) fn says(self, line: &str) {
        let (on, off) = if coloured() { (format!("\x1b[{}m", self.colour()), "\x1b[0m") } else { (String::new(), "") };
        let mut stdout = io::stdout().lock();
        for line in line.lines() {
            // A demo nobody watches any more may go on in silence.
            let _ = writeln!(stdout, "{on}{:>7}{off} │ {line}", self.name());
        }
        let _ = stdout.flush();
        if io::stdout().is_terminal() {
            thread::sleep(Duration::from_millis(120));
        }
    }
}

/// A new scene.
pub(crate) fn scene(number: u32, title: &str) {
    let (on, off) = if coloured() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "\n{on}{number}. {title}{off}");
    let _ = stdout.flush();
    drop(stdout);
    if io::stdout().is_terminal() {
        thread::sleep(Duration::from_millis(600));
    }
}

fn coloured() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none()
}
