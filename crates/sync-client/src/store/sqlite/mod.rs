//! A profile in one SQLite file.
//!
//! One connection writes, a few read: a page of the log never waits for a commit, nor a commit for a page. The
//! write-ahead log is flushed at every commit (`synchronous = FULL`), which is what "durable" means everywhere
//! above. Rows go in by the dozen, one statement for many, because the way through the driver costs more than
//! the row; and the statements of a commit go together, for the same reason (see [`sync_sqlite`]).

mod backup;
mod damage;
mod read;
mod write;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection, SqlitePool,
    migrate::MigrateError,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use sync_core::event::{HeldRow, Load, StoreOp, Stored};
use sync_sqlite::Database;
use sync_types::{BlobId, DeviceId, LocalCursor, LocalLogId};
use tokio::sync::Mutex;

pub(crate) use self::backup::{Backup, Place};
use super::{AddressRow, Damaged, Lacks, Membership, Pin, Placed, ProfileRow, Reach, Sizes, Store, StoreError};
use crate::{private, secrets::SecretsChoice};

/// The file's name in a profile's folder.
pub(crate) const FILE_NAME: &str = "profile.db";
const READERS_MAX: u32 = 4;
/// How long the write-ahead log gets before it is folded into the file, and what it is cut back to: a long queue goes
/// through in a few foldings instead of one every few commits.
const WAL_BYTES: u32 = 4 * 1024 * 1024;
const WAL_PAGES: u32 = WAL_BYTES / 4_096;

/// See the [module](self).
pub(crate) struct SqliteStore {
    writer: Mutex<Option<Writer>>,
    readers: SqlitePool,
}

/// The one connection that writes.
struct Writer {
    db: Database,
    /// Numbers of devices that are in the database for certain.
    devices: HashMap<DeviceId, i64>,
}

impl SqliteStore {
    /// Opens the profile in `dir`, or makes an empty database where `create` says so.
    pub(crate) async fn open(dir: &Path, create: bool) -> Result<Self, StoreError> {
        let path = dir.join(FILE_NAME);
        if create {
            // SQLite would make it for everybody to read. The files it makes beside it take after this one.
            private::options().append(true).create(true).open(&path).map_err(sqlx::Error::Io)?;
        }
        let is_new = std::fs::metadata(&path).is_ok_and(|file| file.len() == 0);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", WAL_BYTES.to_string())
            .pragma("wal_autocheckpoint", WAL_PAGES.to_string())
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .disable_statement_logging();
        // Only of a file that is made now: SQLite writes to any other for it. One that was made without reuses what is let
        // go, and stays as long as it is.
        let mut writing = options.clone();
        if is_new {
            writing = writing.auto_vacuum(SqliteAutoVacuum::Incremental);
        }
        let mut connection = SqliteConnection::connect_with(&writing).await?;
        // Not `run`, whose future the compiler takes for one that has to stay on its thread.
        sqlx::migrate!("./migrations").run_direct(None, &mut connection, false).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS_MAX).connect_lazy_with(options.read_only(true));
        let writer = Writer { db: Database::new(connection), devices: HashMap::new() };
        Ok(Self { writer: Mutex::new(Some(writer)), readers })
    }
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    async fn profile(&self) -> Result<Option<ProfileRow>, StoreError> {
        let query = "SELECT profile_id, local_log_id, name, app_id, secrets, group_id, device_id FROM profile";
        let Some(row) = sqlx::query(query).fetch_optional(&self.readers).await? else { return Ok(None) };
        let membership = match (read::maybe_id(&row, "group_id")?, read::maybe_id(&row, "device_id")?) {
            (Some(group), Some(device)) => {
                Some(Membership { group: sync_types::GroupId::from_bytes(group), device: DeviceId::from_bytes(device) })
            }
            (None, None) => None,
            _ => return Err(StoreError::Corrupt),
        };
        Ok(Some(ProfileRow {
            profile_id: read::id(&row, "profile_id")?,
            local_log_id: LocalLogId::from_bytes(read::id(&row, "local_log_id")?),
            name: row.try_get("name")?,
            app_id: row.try_get("app_id")?,
            secrets: SecretsChoice::from_name(row.try_get("secrets")?).ok_or(StoreError::Corrupt)?,
            membership,
        }))
    }

    async fn create_profile(
        &self,
        profile: &ProfileRow,
        relays: &[String],
        roster: &[Bytes],
    ) -> Result<(), StoreError> {
        self.write(async |writer| {
            writer
                .db
                .transaction(async |db| {
                    db.add(
                        "INSERT INTO profile (one, profile_id, local_log_id, name, app_id, secrets, group_id, device_id)
                         VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
                    )
                    .bind(profile.profile_id.as_slice())
                    .bind(profile.local_log_id.as_bytes().as_slice())
                    .bind(profile.name.as_str())
                    .bind(profile.app_id.as_str())
                    .bind(profile.secrets.name())
                    .bind(profile.membership.map(|membership| membership.group.as_bytes().to_vec()))
                    .bind(profile.membership.map(|membership| membership.device.as_bytes().to_vec()));
                    for address in relays {
                        db.add("INSERT INTO relay_address (address) VALUES (?)").bind(address.as_str());
                    }
                    for entry in roster {
                        write::put_roster(db, entry);
                    }
                    Ok(())
                })
                .await
        })
        .await
    }

    async fn addresses(&self) -> Result<Vec<AddressRow>, StoreError> {
        let query = "SELECT address, relay, hosts FROM relay_address ORDER BY place";
        let rows = sqlx::query(query).fetch_all(&self.readers).await?;
        rows.iter().map(read::address).collect()
    }

    async fn set_addresses(&self, relays: &[String]) -> Result<(), StoreError> {
        let before = self.addresses().await?;
        self.write(async |writer| {
            writer
                .db
                .transaction(async |db| {
                    db.add("DELETE FROM relay_address");
                    for address in relays {
                        let pin = before.iter().find(|row| row.address == *address).and_then(|row| row.pin.as_ref());
                        db.add("INSERT INTO relay_address (address, relay, hosts) VALUES (?, ?, ?)")
                            .bind(address.as_str())
                            .bind(pin.map(|pin| pin.relay.as_bytes().to_vec()))
                            .bind(pin.map(|pin| pin.hosts.join("\n")));
                    }
                    Ok(())
                })
                .await
        })
        .await
    }

    async fn add_addresses(&self, relays: &[String]) -> Result<(), StoreError> {
        self.write(async |writer| {
            writer
                .db
                .transaction(async |db| {
                    for address in relays {
                        let insert = "INSERT INTO relay_address (address) VALUES (?) ON CONFLICT (address) DO NOTHING";
                        db.add(insert).bind(address.as_str());
                    }
                    Ok(())
                })
                .await
        })
        .await
    }

    async fn pin(&self, address: &str, pin: &Pin) -> Result<(), StoreError> {
        self.write(async |writer| {
            let update = writer.db.add("UPDATE relay_address SET relay = ?, hosts = ? WHERE address = ?");
            let update = update.bind(pin.relay.as_bytes().as_slice()).bind(pin.hosts.join("\n")).bind(address);
            Ok(update.flush().await?)
        })
        .await
    }

    async fn enter_group(&self, membership: Membership, ops: &[StoreOp]) -> Result<(), StoreError> {
        self.write(async |writer| writer.commit(Some(membership), ops).await).await
    }

    async fn leave_group(&self, local_log_id: LocalLogId) -> Result<(), StoreError> {
        self.write(async |writer| {
            writer.devices.clear();
            writer
                .db
                .transaction(async |db| {
                    // `sender` and `receipt` refer to `device`, which therefore comes last.
                    for table in [
                        "relay_state",
                        "sender",
                        "receipt",
                        "held",
                        "waiting",
                        "parked",
                        "roster",
                        "nonce",
                        "snapshot_part",
                        "snapshot",
                        "device",
                    ] {
                        db.add(&format!("DELETE FROM {table}"));
                    }
                    db.add(
                        "UPDATE profile SET group_id = NULL, device_id = NULL, offered = 0, app_acked = 0, reused = 0,
                                            held_bytes = 0, kept_bytes = 0, own_gone = 0, local_log_id = ?",
                    )
                    .bind(local_log_id.as_bytes().as_slice());
                    Ok(())
                })
                .await
        })
        .await
    }

    async fn load(&self) -> Result<Stored, StoreError> {
        read::stored(&self.readers).await
    }

    async fn commit(&self, ops: &[StoreOp]) -> Result<(), StoreError> {
        self.write(async |writer| writer.commit(None, ops).await).await
    }

    async fn read(&self, load: Load) -> Result<(Vec<HeldRow>, u64), StoreError> {
        read::rows(&self.readers, load).await
    }

    async fn snapshot(&self) -> Result<Option<(Bytes, BTreeMap<BlobId, Bytes>)>, StoreError> {
        read::snapshot(&self.readers).await
    }

    async fn log(&self, after: LocalCursor, rows: u32, bytes: usize) -> Result<Vec<HeldRow>, StoreError> {
        read::log(&self.readers, after, rows, bytes).await
    }

    async fn placed(&self, cursors: &[LocalCursor]) -> Result<Vec<Placed>, StoreError> {
        read::placed(&self.readers, cursors).await
    }

    async fn cursors(&self) -> Result<(LocalCursor, LocalCursor), StoreError> {
        read::cursors(&self.readers).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        let said: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.readers).await?;
        if said == "ok" { Ok(()) } else { Err(StoreError::Corrupt) }
    }

    async fn check_all(&self) -> Result<(), StoreError> {
        let said: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&self.readers).await?;
        if said == "ok" { Ok(()) } else { Err(StoreError::Corrupt) }
    }

    async fn damaged(&self) -> Result<Damaged, StoreError> {
        damage::find(&self.readers).await
    }

    async fn sizes(&self) -> Result<Sizes, StoreError> {
        read::sizes(&self.readers).await
    }

    async fn lacks(&self, device: &DeviceId, reached: &[Reach]) -> Result<Lacks, StoreError> {
        read::lacks(&self.readers, device, reached).await
    }

    async fn close(&self) {
        self.readers.close().await;
        if let Some(writer) = self.writer.lock().await.take()
            && let Err(error) = writer.db.close().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "closing the profile's database failed");
        }
    }
}

impl SqliteStore {
    /// Lends the writer. After a failure it forgets what it only believes to be in the database.
    async fn write<T>(&self, work: impl AsyncFnOnce(&mut Writer) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut writer = self.writer.lock().await;
        let writer = writer.as_mut().ok_or(StoreError::Failed(sqlx::Error::PoolClosed))?;
        let done = work(writer).await;
        if done.is_err() {
            writer.devices.clear();
        }
        done
    }
}

/// SQLite's primary result codes, which [`sqlx`] passes on as text with the extended bits.
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_NOTADB: i32 = 26;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
        match code.map(|code| code & 0xFF) {
            Some(SQLITE_FULL) => Self::Full,
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Self::Corrupt,
            _ if matches!(error, sqlx::Error::ColumnDecode { .. }) => Self::Corrupt,
            _ => Self::Failed(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "sqlx's enum is non-exhaustive")]
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => Self::TooNew,
            MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => Self::Corrupt,
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Failed(sqlx::Error::Migrate(Box::new(other))),
        }
    }
}

#[cfg(test)]
impl SqliteStore {
    /// Runs a statement on the writer, for tests that reach around the trait.
    pub(crate) async fn execute(&self, statement: impl sqlx::SqlSafeStr) {
        let done = self
            .write(async |writer| Ok(sqlx::query(statement).execute(writer.db.connection().await?).await.map(drop)?))
            .await;
        done.expect("a test's own statement");
    }
}
