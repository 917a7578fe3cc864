//! A running program whose standard output is a line of JSON at a time.
//!
//! A thread reads what it prints into memory, so a program never blocks on a test that looks elsewhere. Its
//! standard error goes to a file, which a failing test shows and the privacy suite searches.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`, with its standard error appended to the file `stderr`.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn(name: &str, mut command: Command, stderr: &Path) -> Self {
        let log = File::options().create(true).append(true).open(stderr).expect("the log file is writable");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            // A killed program may leave half a line. It has not said that.
            while stdout.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { name: name.to_owned(), child, stdin, lines, stderr: stderr.to_owned() }
    }

    /// What the operating system calls it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next thing it says.
    ///
    /// # Panics
    /// If it says nothing within `limit`, or ends first, or says something that is no JSON.
    pub fn expect(&mut self, what: &str, limit: Duration) -> Value {
        match self.lines.recv_timeout(limit) {
            Ok(line) => self.parse(&line),
            Err(RecvTimeoutError::Timeout) => self.fail(&format!("did not say within {limit:?}: {what}")),
            Err(RecvTimeoutError::Disconnected) => self.fail(&format!("ended before it said: {what}")),
        }
    }

    /// The next thing it says, if it says anything within `limit`.
    pub fn next_within(&mut self, limit: Duration) -> Option<Value> {
        self.lines.recv_timeout(limit).ok().map(|line| self.parse(&line))
    }

    /// Writes a line to its standard input. A program that no longer reads is no error: it may just have been killed.
    pub fn say(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        }
    }

    /// Ends its standard input.
    pub fn hush(&mut self) {
        self.stdin = None;
    }

    /// SIGKILL: it gets no chance to do anything. What it had said that nobody had read.
    pub fn kill(&mut self) -> Vec<Value> {
        self.child.kill().expect("an own child can be killed");
        self.child.wait().expect("an own child can be waited for");
        std::iter::from_fn(|| self.lines.recv().ok()).map(|line| parsed(&line).expect("whole lines are JSON")).collect()
    }

    /// Sends it a signal, and leaves it to it what to do.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        kill_process(id, signal).expect("an own child can be signalled");
    }

    /// Waits until it ends by itself: its exit status, and what it said that nobody had read.
    ///
    /// # Panics
    /// If it doesn't end within `limit`.
    pub fn finish(&mut self, limit: Duration) -> (ExitStatus, Vec<Value>) {
        self.hush();
        let end = Instant::now() + limit;
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => said.push(self.parse(&line)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("did not end within {limit:?}")),
            }
        }
        (self.child.wait().expect("an own child can be waited for"), said)
    }

    /// Everything it wrote for people, so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Fails the test with what is known of this program.
    ///
    /// # Panics
    /// Always.
    pub fn fail(&mut self, what: &str) -> ! {
        let state = match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            Ok(None) => "still running".to_owned(),
            Err(error) => error.to_string(),
        };
        let log = self.stderr();
        let mut message = format!("{} {what} ({state})\n", self.name);
        let tail = log.lines().count().saturating_sub(40);
        for line in log.lines().skip(tail) {
            let _ = writeln!(message, "    {line}");
        }
        panic!("{message}");
    }

    fn parse(&mut self, line: &str) -> Value {
        parsed(line).unwrap_or_else(|| self.fail(&format!("said something that is no JSON: {line}")))
    }
}

fn parsed(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
