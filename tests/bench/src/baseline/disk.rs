//! A flush alone: what any promise of durability costs at the least.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    time::Instant,
};

use crate::{Failure, stats::ms};

/// How long each of so many writes of a page took, with their `fdatasync`, in milliseconds.
pub(crate) fn flushes(count: usize) -> Result<Vec<f64>, Failure> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("pages"))?;
    // The file has its size already, as a write-ahead log has: a flush then writes no more than the page.
    file.write_all(&vec![0; 4_096 * count])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let page = [7; 4_096];
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        took.push(ms(begun.elapsed()));
    }
    Ok(took)
}
