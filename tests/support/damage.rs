//! What happens to files on disks.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

use crate::{Network, Relay};

/// Writes rubbish over a part of a file, given in thousandths of it.
pub fn overwrite(file: &Path, from: u64, to: u64) {
    let len = fs::metadata(file).expect("the file is there").len();
    let (from, to) = (len * from / 1_000, len * to / 1_000);
    let rubbish = vec![0xA5; usize::try_from(to - from).expect("it fits")];
    File::options().write(true).open(file).and_then(|file| file.write_all_at(&rubbish, from)).expect("it is writable");
}

/// Cuts a file off, at so many thousandths of it.
pub fn cut_off(file: &Path, at: u64) {
    let len = fs::metadata(file).expect("the file is there").len();
    File::options().write(true).open(file).and_then(|file| file.set_len(len * at / 1_000)).expect("it is writable");
}

/// Changes one byte of the envelope that a profile keeps at this local cursor, in the file.
pub fn envelope(network: &Network, profile: &Path, cursor: i64) {
    change(network, &profile.join("profile.db"), "SELECT envelope FROM held WHERE cursor = ?", cursor);
}

/// Changes one byte of the envelope that a stopped relay keeps at this row of its first log, in the file.
pub fn row(network: &Network, relay: &Relay, row: i64) {
    let of_the_first = "SELECT envelope FROM entries WHERE place = (SELECT MIN(no) << 35 FROM groups) + ?";
    change(network, &relay.data().join("relay.db"), of_the_first, row);
}

fn change(network: &Network, path: &Path, query: &'static str, number: i64) {
    let kept = || kept(network, path, query, number);
    let (before, content) = (kept(), fs::read(path).expect("it is readable"));
    let file = File::options().write(true).open(path).expect("it is writable");
    // Behind the header, in what is sealed. A page that is used no more may have it as well.
    for found in memchr::memmem::find_iter(&content, &before[..200]) {
        let at = found + 150;
        file.write_all_at(&[content[at] ^ 1], at as u64).expect("it is writable");
        if kept() != before {
            return;
        }
        file.write_all_at(&content[at..=at], at as u64).expect("it is writable");
    }
    panic!("a database that is closed has everything in its file");
}

fn kept(network: &Network, database: &Path, query: &'static str, number: i64) -> Vec<u8> {
    network.run(async {
        let options = SqliteConnectOptions::new().filename(database).read_only(true);
        let mut connection = options.connect().await.expect("a database");
        let query = sqlx::query_scalar(query).bind(number);
        let kept = query.fetch_one(&mut connection).await.expect("it is kept there");
        sqlx::Connection::close(connection).await.expect("it closes");
        kept
    })
}

/// Everything in a profile's database that a person would miss, as text.
pub fn dump(network: &Network, profile: &Path) -> Vec<String> {
    network.run(async {
        let options = SqliteConnectOptions::new().filename(profile.join("profile.db")).read_only(true);
        let mut connection = options.connect().await.expect("a database");
        let mut lines = Vec::new();
        for query in [
            "SELECT concat_ws(' ', position, sender, seq, hex(hash), kind, cursor, hex(push_id), hex(envelope)) FROM held",
            "SELECT concat_ws(' ', device, seq, hex(hash), hex(holes), expected) FROM sender",
            "SELECT concat_ws(' ', hex(hash), hex(envelope)) FROM waiting",
            "SELECT concat_ws(' ', hex(blob_id), hex(envelope)) FROM parked",
            "SELECT hex(entry) FROM roster ORDER BY place",
            "SELECT concat_ws(' ', hex(device_id), hex(group_id), hex(local_log_id), offered, app_acked) FROM profile",
            "SELECT concat_ws(' ', hex(relay), hex(log_id), pulled, hex(run), acked, refill) FROM relay_state",
        ] {
            let rows: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut connection).await.expect("as it is made");
            lines.extend(rows);
        }
        sqlx::Connection::close(connection).await.expect("it closes");
        lines
    })
}

/// Makes a database one that a newer build wrote.
pub fn from_the_future(network: &Network, database: &Path) {
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', 1, x'00', 0)";
    network.run(async {
        let mut connection = SqliteConnectOptions::new().filename(database).connect().await.expect("a database");
        sqlx::query(later).execute(&mut connection).await.expect("it keeps its versions there");
        sqlx::Connection::close(connection).await.expect("it closes");
    });
}

/// The blob ids that a relay's database holds, and how many rows they are.
pub fn blob_ids(network: &Network, relay: &Relay) -> (BTreeSet<[u8; 16]>, usize) {
    let database = relay.data().join("relay.db");
    network.run(async {
        let options = SqliteConnectOptions::new().filename(database).read_only(true);
        let mut connection = options.connect().await.expect("a database");
        let query = "SELECT id_high, id_low FROM entries";
        let rows: Vec<(i64, i64)> =
            sqlx::query_as(query).fetch_all(&mut connection).await.expect("it keeps them there");
        sqlx::Connection::close(connection).await.expect("it closes");
        let id = |(high, low): &(i64, i64)| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&high.to_be_bytes());
            id[8..].copy_from_slice(&low.to_be_bytes());
            id
        };
        (rows.iter().map(id).collect(), rows.len())
    })
}

/// A copy of a folder's files, to be put back.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Backup {
    /// Of all files of this folder.
    pub fn of(folder: &Path) -> Self {
        let paths = crate::canary::files(folder).into_iter();
        let files = paths.map(|path| (path.clone(), fs::read(&path).expect("it is readable"))).collect();
        Self { folder: folder.to_owned(), files }
    }

    /// Puts the folder back as it was.
    pub fn restore(&self) {
        for path in crate::canary::files(&self.folder) {
            if !self.files.iter().any(|(kept, _)| *kept == path) {
                fs::remove_file(path).expect("it is writable");
            }
        }
        for (path, content) in &self.files {
            fs::write(path, content).expect("it is writable");
        }
    }
}
