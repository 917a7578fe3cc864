//! A person at a terminal: what a program shows there, and what it is told unseen.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use crate::eventually;

const SOON: Duration = Duration::from_secs(30);

/// A terminal with one program on it. Dropping it kills the program.
#[derive(Debug)]
pub struct Terminal {
    person: File,
    child: Child,
    shown: Arc<Mutex<String>>,
    screen: Option<JoinHandle<()>>,
}

impl Terminal {
    /// What has to start a program for it to have the terminal as its own.
    pub const ENTRANCE: [&str; 3] = ["setsid", "--ctty", "--wait"];

    /// Runs `command`, whose entrance is [`Self::ENTRANCE`], at a new terminal.
    ///
    /// # Panics
    /// If the system has no terminals, or the program can't be started.
    pub fn run(mut command: Command) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&person).expect("ours");
        unlockpt(&person).expect("ours");
        let path = ptsname(&person, Vec::new()).expect("it has a name");
        let path = path.to_str().expect("devices have plain names");
        // Nor is it to become the terminal of whoever runs this test.
        let no_terminal_of_ours = OpenptFlags::NOCTTY.bits().cast_signed();
        let mut options = File::options();
        options.read(true).write(true).custom_flags(no_terminal_of_ours);
        let program: OwnedFd = options.open(path).expect("ours").into();
        let [stdin, stdout] = [(); 2].map(|()| Stdio::from(program.try_clone().expect("a few files")));
        command.stdin(stdin).stdout(stdout).stderr(program);
        let child = command.spawn().unwrap_or_else(|error| panic!("it does not start: {error}"));
        drop(command);

        let person = File::from(person);
        let mut showing = person.try_clone().expect("a few files");
        let shown = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&shown);
        let screen = thread::spawn(move || {
            let mut chunk = [0; 4_096];
            // A terminal that nobody uses any more can't be read.
            while let Ok(len @ 1..) = showing.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..len]).into_owned();
                seen.lock().expect("no panics here").push_str(&text);
            }
        });
        Self { person, child, shown, screen: Some(screen) }
    }

    /// Everything shown so far.
    pub fn shown(&self) -> String {
        self.shown.lock().expect("no panics here").clone()
    }

    /// Whether what is typed is shown.
    pub fn shows_what_is_typed(&self) -> bool {
        tcgetattr(&self.person).expect("a terminal").local_modes.contains(LocalModes::ECHO)
    }

    /// Waits for the text and for the terminal to go silent, and types.
    ///
    /// # Panics
    /// If the text is not shown, or the terminal goes on showing what is typed.
    pub fn answers_unseen(&mut self, prompt: &str, typed: &str) {
        eventually(prompt, SOON, || (self.shown().contains(prompt) && !self.shows_what_is_typed()).then_some(()));
        self.person.write_all(typed.as_bytes()).expect("somebody reads");
    }

    /// Waits for the program to end: how, and whether the terminal shows what is typed then.
    ///
    /// # Panics
    /// If it doesn't.
    pub fn ends(&mut self) -> (ExitStatus, bool) {
        let status = eventually("the program ends", SOON, || self.child.try_wait().expect("ours"));
        (status, self.shows_what_is_typed())
    }

    /// Waits for the program to end: how, and all it has shown.
    ///
    /// # Panics
    /// If it doesn't.
    pub fn finish(mut self) -> (ExitStatus, String) {
        let (status, _) = self.ends();
        // Nobody uses the terminal any more, so its screen ends, and not before everything was read from it.
        let screen = self.screen.take().expect("taken once");
        eventually("the screen ends", SOON, || screen.is_finished().then_some(()));
        (status, self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
