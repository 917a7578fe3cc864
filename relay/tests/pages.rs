//! A reader gets everything, wherever pages end: by their rows or by their bytes, one row or one byte before, at and after.

mod support;

use proptest::{
    prelude::{Just, Strategy},
    prop_oneof,
    sample::{Index, select},
    test_runner::{Config as Cases, TestRunner},
};
use support::{Device, Group, Line, Running, ids, row_id, run_of, sized};
use sync_types::{
    BlobId, Envelope, Run,
    limits::{ENVELOPE_LEN_MAX, PAGE_BYTES_MAX},
    message::{Page, RowKind},
};

/// The smallest envelope that these logs are made of.
const SMALL: usize = 500;

/// A log, and how it is read.
#[derive(Clone, Debug)]
struct Case {
    /// Bytes of each envelope.
    lens: Vec<usize>,
    /// Rows a page.
    limit: u32,
    /// Where a reader takes up again that had stopped.
    resumes: Index,
}

/// So many rows that they end just before, at and just after a page's last.
fn by_rows() -> impl Strategy<Value = Case> {
    let limits = (select(vec![1_u32, 2, 7, 50, 200]), 1_u32..4, 0_u32..3);
    let counts = limits.prop_map(|(limit, pages, beside)| (limit, (limit * pages + beside).saturating_sub(1)));
    (counts, proptest::arbitrary::any::<Index>()).prop_map(|((limit, count), resumes)| Case {
        lens: vec![SMALL; count as usize],
        limit,
        resumes,
    })
}

/// Envelopes that fill a page's bytes but for one, exactly, and by one too many.
fn by_bytes() -> impl Strategy<Value = Case> {
    // The parts of a page, the last of which is one byte smaller, right, or one byte larger.
    let parts = prop_oneof![
        Just(vec![PAGE_BYTES_MAX]),
        (SMALL..PAGE_BYTES_MAX - SMALL).prop_map(|first| vec![first, PAGE_BYTES_MAX - first]),
        (SMALL..PAGE_BYTES_MAX / 2).prop_map(|first| vec![first, first, PAGE_BYTES_MAX - 2 * first]),
    ];
    let page = (parts, 0_usize..3).prop_map(|(mut parts, beside)| {
        let last = parts.last_mut().expect("at least one");
        *last = (*last + beside).saturating_sub(1).clamp(SMALL, ENVELOPE_LEN_MAX);
        parts
    });
    let pages = proptest::collection::vec(page, 1..4).prop_map(|pages| pages.concat());
    (pages, select(vec![1_u32, 2, 3, 1_000]), proptest::arbitrary::any::<Index>())
        .prop_map(|(lens, limit, resumes)| Case { lens, limit, resumes })
}

/// What every page is.
fn is_a_page(page: &Page, limit: u32) {
    let bytes: usize = page.rows.0.iter().map(|row| row.bytes.len()).sum();
    assert!(page.rows.0.len() <= limit as usize);
    assert!(bytes <= PAGE_BYTES_MAX || page.rows.0.len() == 1);
    assert!(!page.rows.0.is_empty() || page.after == page.max_cursor, "a page without rows is the end");
}

/// Reads from a row on, page by page, to the end: what there was.
async fn polled(line: &mut Line, blobs: &[Envelope], from: usize, limit: u32) -> Vec<BlobId> {
    let (mut read, mut at, mut run) = (Vec::new(), from, run_of(&blobs[..from]));
    loop {
        let page = line.pull(at as u64, run, limit).await;
        is_a_page(&page, limit);
        assert_eq!(page.after.get(), at as u64);
        at += page.rows.0.len();
        let met: Vec<_> = page.rows.0.iter().map(row_id).collect();
        run = met.iter().fold(run, |run, blob_id| run.then(blob_id));
        read.extend(met);
        if at as u64 == page.max_cursor.get() {
            return read;
        }
    }
}

/// Asks once and is sent the rest.
async fn followed(line: &mut Line, blobs: &[Envelope], limit: u32) -> Vec<BlobId> {
    line.say_pull(0, Run::START, limit, true).await;
    let mut read = Vec::new();
    while read.len() < blobs.len() {
        let page = line.page().await;
        is_a_page(&page, limit);
        assert_eq!(page.after.get(), read.len() as u64);
        read.extend(page.rows.0.iter().map(row_id));
    }
    read
}

async fn is_read_whole(relay: &Running, (phone, laptop): (&Device, &Device), number: u8, case: &Case) {
    let group = Group::new(number);
    let blobs: Vec<_> = (0..).zip(&case.lens).map(|(n, len)| sized(phone.id(), n, *len)).collect();
    let mut line = phone.session(relay, &group).await;
    for blob in &blobs {
        line.begin_push(blob).await;
    }
    for _ in &blobs {
        line.hear().await.expect("is acknowledged");
    }
    let expected = ids(&blobs);
    let mut reader = laptop.session(relay, &group).await;
    assert_eq!(polled(&mut reader, &blobs, 0, case.limit).await, expected);
    let from = case.resumes.index(blobs.len() + 1);
    assert_eq!(polled(&mut reader, &blobs, from, case.limit).await, expected[from..]);
    assert_eq!(followed(&mut reader, &blobs, case.limit).await, expected);
    // Who sent them is told so, and is not sent them again.
    let own = line.pull(0, Run::START, case.limit).await;
    is_a_page(&own, case.limit);
    assert!(own.rows.0.iter().all(|row| row.kind == RowKind::Yours as u8));
}

fn holds(cases: u32, numbers: std::ops::Range<u8>, strategy: &impl Strategy<Value = Case>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let relay = runtime.block_on(Running::start());
    let devices = runtime.block_on(async { (Device::new().await, Device::new().await) });
    let numbers = std::cell::RefCell::new(numbers);
    let mut runner =
        TestRunner::new(Cases { cases, max_shrink_iters: 64, failure_persistence: None, ..Cases::default() });
    let held = runner.run(strategy, |case| {
        // A case that is being made smaller takes another group as well, until there are no more.
        let Some(number) = numbers.borrow_mut().next() else { return Ok(()) };
        runtime.block_on(is_read_whole(&relay, (&devices.0, &devices.1), number, &case));
        Ok(())
    });
    held.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_reader_gets_everything_wherever_rows_end_a_page() {
    holds(60, 1..250, &by_rows());
}

#[test]
fn a_reader_gets_everything_wherever_bytes_end_a_page() {
    holds(30, 1..250, &by_bytes());
}
