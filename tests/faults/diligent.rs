//! A device that goes on with its work while others misbehave.

use std::time::Duration;

use sync_tests::{Device, Process};

const SOON: Duration = Duration::from_secs(60);

/// Pushes a line at a time, and is told when the relay has it.
pub(crate) struct Diligent {
    process: Process,
    pushed: usize,
}

impl Diligent {
    pub(crate) fn begins(device: &Device) -> Self {
        let process = device.spawn(&["push", "--lines", "--wait", "all", "--timeout", "60"]);
        Self { process, pushed: 0 }
    }

    /// Pushes the next line.
    pub(crate) fn pushes(&mut self) {
        self.pushed += 1;
        self.process.say(&self.pushed.to_string());
        let said = self.process.expect("the push is confirmed, whatever others do", SOON);
        assert_eq!(said["state"], "all", "{said}");
    }

    /// What it pushed, all in all.
    pub(crate) fn ends(mut self) -> Vec<String> {
        assert!(self.process.finish(SOON).0.success());
        (1..=self.pushed).map(|number| number.to_string()).collect()
    }
}
