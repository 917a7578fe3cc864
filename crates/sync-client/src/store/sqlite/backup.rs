//! A copy of some profile's database, read for what it holds. Whoever made the copy may have made it up.
//!
//! It is copied again before it is opened, because SQLite writes to what it reads: so the person's copy stays what it is, be it
//! on a medium that can't be written to. Only plain tables are read, and nothing is run that the file brings along; what comes
//! out are envelopes and entries of a roster, which are as good as a stranger's.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use sync_types::{
    GroupId, Kind,
    limits::{ENVELOPE_LEN_MAX, PARKED_BYTES_MAX},
};
use tokio_stream::StreamExt as _;

use super::{
    FILE_NAME,
    read::{envelope, maybe_id},
};
use crate::{error::ClientError, private, store::StoreError};

/// Where the copy is read, in the folder of the profile that reads it.
const FOLDER: &str = "backup";
/// What is not folded into the file yet is beside it.
const WAL_SUFFIX: &str = "-wal";
/// Tables that are read.
const TABLES: i64 = 6;

/// See the [module](self). Dropping it throws the copy of the copy away.
pub(crate) struct Backup {
    db: SqliteConnection,
    _copy: Scratch,
}

/// A place in a backup, from which on it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Held(i64),
    Waiting,
    Parked,
    End,
}

impl Place {
    pub(crate) const START: Self = Self::Held(0);
}

/// The copy, as long as it is needed.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a copy of a backup is left in the profile's folder");
        }
    }
}

impl Backup {
    /// Opens what is in a folder, by way of a copy below `dir`.
    pub(crate) async fn open(folder: &Path, dir: &Path) -> Result<Self, ClientError> {
        let source = folder.join(FILE_NAME);
        if !source.is_file() {
            let text = "there is no profile.db in the backup's folder; name the folder that a profile was copied to";
            return Err(ClientError::InvalidArgument(text));
        }
        let place = dir.join(FOLDER);
        let copied = tokio::task::spawn_blocking(move || copy(&source, &place)).await;
        let copy = copied.map_err(|_| ClientError::Closed)?.map_err(ClientError::folder)?;
        let db = open(&copy.0.join(FILE_NAME)).await?;
        Ok(Self { db, _copy: copy })
    }

    /// The group that it says to be of.
    pub(crate) async fn group(&mut self) -> Result<Option<GroupId>, StoreError> {
        let row = sqlx::query("SELECT group_id FROM profile").fetch_optional(&mut self.db).await?;
        Ok(row.and_then(|row| maybe_id(&row, "group_id").transpose()).transpose()?.map(GroupId::from_bytes))
    }

    /// The entries of its roster, and its control envelopes: no more than is taken of what relays tell.
    pub(crate) async fn roster(&mut self) -> Result<(Vec<Bytes>, Vec<Bytes>), StoreError> {
        let entries = sqlx::query("SELECT entry AS envelope FROM roster ORDER BY place").fetch(&mut self.db);
        let (entries, left) = fitting(entries, PARKED_BYTES_MAX).await?;
        let control = "SELECT envelope FROM held WHERE kind = ?1 AND length(envelope) > 0
                       UNION ALL SELECT envelope FROM waiting UNION ALL SELECT envelope FROM parked";
        let control = sqlx::query(control).bind(Kind::Control as u8).fetch(&mut self.db);
        Ok((entries, fitting(control, left).await?.0))
    }

    /// Envelopes from a place on, of some bytes in all, and from where to go on: what was held, in the order in which it came
    /// to rest, then what waited and what could not be read.
    pub(crate) async fn envelopes(&mut self, from: Place, bytes: u64) -> Result<(Vec<Bytes>, Place), StoreError> {
        match from {
            Place::Held(after) => {
                let held =
                    "SELECT position, envelope FROM held WHERE position > ? AND length(envelope) > 0 ORDER BY position";
                let mut rows = sqlx::query(held).bind(after).fetch(&mut self.db);
                let (mut taken, mut sum, mut last) = (Vec::new(), 0, after);
                while sum < bytes
                    && let Some(row) = rows.next().await
                {
                    let row = row?;
                    let envelope = envelope(&row, "envelope")?;
                    (sum, last) = (sum + envelope.len() as u64, row.try_get("position")?);
                    taken.extend((envelope.len() <= ENVELOPE_LEN_MAX).then_some(envelope));
                }
                let next = if sum < bytes { Place::Waiting } else { Place::Held(last) };
                Ok((taken, next))
            }
            Place::Waiting => Ok((self.all("SELECT envelope FROM waiting").await?, Place::Parked)),
            Place::Parked => Ok((self.all("SELECT envelope FROM parked").await?, Place::End)),
            Place::End => Ok((Vec::new(), Place::End)),
        }
    }

    async fn all(&mut self, query: &'static str) -> Result<Vec<Bytes>, StoreError> {
        Ok(fitting(sqlx::query(query).fetch(&mut self.db), PARKED_BYTES_MAX).await?.0)
    }

    /// Closes it, so that nothing holds the copy any more.
    pub(crate) async fn close(self) {
        let Self { db, _copy } = self;
        if let Err(error) = db.close().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "closing a backup failed");
        }
    }
}

/// What is left of an attempt that ended in the middle is replaced.
fn copy(source: &Path, place: &Path) -> io::Result<Scratch> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    private::make_dir(place)?;
    let copy = Scratch(place.to_owned());
    for suffix in ["", WAL_SUFFIX] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        if with(source).is_file() {
            let mut from = fs::File::open(with(source))?;
            let mut to = private::options().write(true).create_new(true).open(with(&place.join(FILE_NAME)))?;
            io::copy(&mut from, &mut to)?;
        }
    }
    Ok(copy)
}

async fn open(file: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new().filename(file).disable_statement_logging();
    let options = options.pragma("trusted_schema", "OFF").pragma("cell_size_check", "ON").pragma("query_only", "ON");
    let mut db = options.connect().await?;
    let plain = "SELECT count(*) FROM sqlite_schema AS made
                 WHERE name IN ('held', 'waiting', 'parked', 'roster', 'profile', '_sqlx_migrations') AND type = 'table' AND sql LIKE 'CREATE TABLE%'
                       AND NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(made.name) WHERE hidden <> 0)";
    let tables: i64 = sqlx::query_scalar(plain).fetch_one(&mut db).await?;
    if tables != TABLES {
        return Err(StoreError::Corrupt);
    }
    let newest: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut db).await?;
    if sqlx::migrate!("./migrations").iter().all(|known| known.version < newest) {
        return Err(StoreError::TooNew);
    }
    let whole: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut db).await?;
    if whole == "ok" { Ok(db) } else { Err(StoreError::Corrupt) }
}

/// What there is room for, and how much room is left then.
async fn fitting(
    mut rows: impl tokio_stream::Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin,
    mut room: u64,
) -> Result<(Vec<Bytes>, u64), StoreError> {
    let mut taken = Vec::new();
    while let Some(row) = rows.next().await {
        let envelope = envelope(&row?, "envelope")?;
        match room.checked_sub(envelope.len() as u64) {
            Some(left) => room = left,
            None => break,
        }
        taken.push(envelope);
    }
    Ok((taken, room))
}
