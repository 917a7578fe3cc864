//! How much memory a process holds, as Linux counts it.

use std::fs;

/// What a process has held at most so far, in MiB; nothing where the system does not say.
pub fn peak_mib(process: u32) -> Option<u64> {
    status_mib(process, "VmHWM:")
}

/// What a process holds now, in MiB; nothing where the system does not say.
pub fn resident_mib(process: u32) -> Option<u64> {
    status_mib(process, "VmRSS:")
}

fn status_mib(process: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    // One that has ended and was not waited for yet holds none.
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix(" kB").and_then(|kib| kib.parse().ok()).expect("a number of KiB");
    Some(kib / 1024)
}
