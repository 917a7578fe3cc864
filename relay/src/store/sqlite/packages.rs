//! What is left for those who know a group by an id that is over.
//!
//! An id that has a row here is over, whether or not a package is left of it, and no log is made under it. That stays so
//! as long as the group has a log: whoever was removed may have kept the key, and who was away may still come with it. What
//! leads to no log is forgotten in time. What a group
//! leaves counts as its own, by the id it leads to: it has a share of rows and bytes, whoever else leaves how much, and
//! so a device can be removed on a full relay. Only what leads to no log here shares its room with others of that kind.
//!
//! Whoever was removed keeps the keys of old ids, and may leave there whatever it likes. So of what is at an id the newest
//! of each group that has a log comes first: it stays before all others, and whoever asks is given it before them. If even
//! those are too many, one loses its package and not its row: that the group went on from here stays known, so its members
//! are told of what is left there, and leave theirs again.
//!
//! Invariant: room is made by dropping the oldest of what is over the same bound, never another group's.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use sqlx::{Row as _, SqliteConnection, SqlitePool};
use sync_sqlite::Database;
use sync_types::{
    RelayGroupId,
    limits::{MOVE_OVER_MAX, MOVED_BYTES_MAX, MOVED_PACKAGES_MAX, MOVED_TTL_S, relay_defaults::CONTROL_RESERVE},
};

use super::{append::footprint, placeholders, signed};
use crate::store::StoreError;

/// Rows that lead to one group: as many ids as one MOVE ends, and as many packages for each as there may be.
const ROWS_MAX: usize = MOVE_OVER_MAX * MOVED_PACKAGES_MAX;
/// Bytes of packages that lead to one group; what it may keep of them beyond any bound of the database.
const BYTES_MAX: u64 = CONTROL_RESERVE;
/// Rows that lead to no log here, for each group that the relay takes.
const STRAYS_PER_GROUP: u64 = 16;

const _: () = assert!(ROWS_MAX >= MOVE_OVER_MAX && BYTES_MAX >= MOVED_BYTES_MAX as u64, "one MOVE's must always fit");

/// An id that is over, and what is left there.
pub(super) type Left = (RelayGroupId, Bytes);

/// What is left at an id, the oldest first; `None` if it is not over.
pub(super) async fn of(readers: &SqlitePool, group: &RelayGroupId) -> Result<Option<Vec<Bytes>>, StoreError> {
    let rows = sqlx::query("SELECT package FROM moved WHERE id = ? ORDER BY no")
        .bind(group.as_bytes().as_slice())
        .fetch_all(readers)
        .await?;
    let packages = rows.iter().map(|row| Ok(row.try_get::<Option<Vec<u8>>, _>(0)?.map(Bytes::from)));
    let packages: Vec<_> = packages.collect::<Result<_, StoreError>>()?;
    Ok((!packages.is_empty()).then(|| packages.into_iter().flatten().collect()))
}

/// What those left who went another way from an id that this group went on from: what leads to a log, then the newest, as
/// much as one answer takes.
pub(super) async fn aside(readers: &SqlitePool, group: &RelayGroupId) -> Result<Vec<Left>, StoreError> {
    let rows = sqlx::query(
        "WITH aside AS (
             SELECT no, id, package, EXISTS (SELECT 1 FROM groups WHERE groups.id = moved.target) AS leads FROM moved
             WHERE id IN (SELECT id FROM moved WHERE target = ?1) AND target != ?1 AND package IS NOT NULL)
         SELECT id, package FROM (
             SELECT *, SUM(LENGTH(package)) OVER (ORDER BY leads DESC, no DESC) AS bytes FROM aside)
         WHERE bytes <= ?2 ORDER BY leads DESC, no DESC LIMIT ?3",
    )
    .bind(group.as_bytes().as_slice())
    .bind(signed(MOVED_BYTES_MAX as u64))
    .bind(signed(MOVED_PACKAGES_MAX as u64))
    .fetch_all(readers)
    .await?;
    let left = rows.iter().map(|row| {
        let id = RelayGroupId::from_slice(row.try_get(0)?).ok_or(StoreError::Corrupt)?;
        Ok((id, row.try_get::<Vec<u8>, _>(1)?.into()))
    });
    left.collect()
}

/// Where those went who did not go to this group from one of these ids.
pub(super) async fn ways_from(
    readers: &SqlitePool,
    ids: &[RelayGroupId],
    group: &RelayGroupId,
) -> Result<Vec<RelayGroupId>, StoreError> {
    let query = format!("SELECT DISTINCT target FROM moved WHERE target != ? AND id IN {}", placeholders(ids.len()));
    let mut query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(group.as_bytes().as_slice());
    for id in ids {
        query = query.bind(id.as_bytes().as_slice());
    }
    let rows = query.fetch_all(readers).await?;
    let targets = rows.iter().map(|row| RelayGroupId::from_slice(row.try_get(0)?).ok_or(StoreError::Corrupt));
    targets.collect()
}

/// Whether an id is over.
pub(super) async fn is_over(db: &mut Database, group: &RelayGroupId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM moved WHERE id = ?)")
        .bind(group.as_bytes().as_slice())
        .fetch_one(db.connection().await?)
        .await?;
    Ok(row.try_get(0)?)
}

/// Those that are not left there yet, each once.
pub(super) async fn missing<'a>(db: &mut Database, packages: &'a [Left]) -> Result<Vec<&'a Left>, StoreError> {
    let (mut missing, mut seen) = (Vec::new(), HashSet::new());
    for left in packages.iter().filter(|left| seen.insert(*left)) {
        let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM moved WHERE id = ? AND package = ?)")
            .bind(left.0.as_bytes().as_slice())
            .bind(&*left.1)
            .fetch_one(db.connection().await?)
            .await?;
        if !row.try_get::<bool, _>(0)? {
            missing.push(left);
        }
    }
    Ok(missing)
}

/// What they will take of the file at most.
pub(super) fn size(packages: &[&Left]) -> u64 {
    packages.iter().map(|(_, package)| footprint(package.len() as u64)).sum()
}

/// Leaves these, all of which lead to `target`, as does whatever led to the ids that are over with them.
pub(super) async fn leave(
    db: &mut Database,
    packages: &[&Left],
    target: &RelayGroupId,
    now_ms: u64,
) -> Result<(), StoreError> {
    for (id, package) in packages {
        db.add("INSERT INTO moved (id, target, moved_ms, package) VALUES (?, ?, ?, ?)")
            .bind(id.as_bytes().as_slice())
            .bind(target.as_bytes().as_slice())
            .bind(signed(now_ms))
            .bind(&**package);
    }
    let ids: BTreeSet<_> = packages.iter().map(|(id, _)| id).collect();
    for id in ids {
        db.add("UPDATE moved SET target = ? WHERE target = ?")
            .bind(target.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice());
        // What made room before is of no more use where the same group has left something.
        db.add("DELETE FROM moved WHERE id = ? AND target = ? AND package IS NULL")
            .bind(id.as_bytes().as_slice())
            .bind(target.as_bytes().as_slice());
        for (make_room, is_first) in [("DELETE FROM moved", false), ("UPDATE moved SET package = NULL", true)] {
            db.add(&format!("{make_room} WHERE no IN ({TOO_MANY})"))
                .bind(id.as_bytes().as_slice())
                .bind(is_first)
                .bind(signed(MOVED_PACKAGES_MAX as u64))
                .bind(signed(MOVED_BYTES_MAX as u64));
        }
    }
    let over = newest("target = ?");
    db.add(&format!("DELETE FROM moved WHERE no IN (SELECT no FROM {over} WHERE rows > ?)"))
        .bind(target.as_bytes().as_slice())
        .bind(signed(ROWS_MAX as u64));
    // The ids stay over: those keys may be in the hands of a device that was removed.
    db.add(&format!("UPDATE moved SET package = NULL WHERE no IN (SELECT no FROM {over} WHERE bytes > ?)"))
        .bind(target.as_bytes().as_slice())
        .bind(signed(BYTES_MAX));
    db.flush().await?;
    Ok(())
}

/// What there is no room for at an id, be it the newest of a group that has a log or not, and how many rows and bytes there
/// is room for.
const TOO_MANY: &str = "SELECT no FROM (
    SELECT no, is_first, COUNT(*) OVER before AS rows, SUM(LENGTH(package)) OVER before AS bytes FROM (
        SELECT no, package, ROW_NUMBER() OVER (PARTITION BY target ORDER BY no DESC) = 1
            AND EXISTS (SELECT 1 FROM groups WHERE groups.id = moved.target) AS is_first
        FROM moved WHERE id = ?)
    WINDOW before AS (ORDER BY is_first DESC, no DESC))
    WHERE is_first = ? AND (rows > ? OR bytes > ?)";

/// Rows with how many are as new as they, and the bytes of those.
fn newest(which: &str) -> String {
    format!(
        "(SELECT no, COUNT(*) OVER newer AS rows, SUM(LENGTH(package)) OVER newer AS bytes FROM moved WHERE {which}
          WINDOW newer AS (ORDER BY no DESC))"
    )
}

/// Makes room among those that lead to no log here.
pub(super) async fn bound_strays(db: &mut Database, groups_max: u64) -> Result<(), StoreError> {
    db.add(
        "DELETE FROM moved WHERE no IN (
             SELECT no FROM moved WHERE NOT EXISTS (SELECT 1 FROM groups WHERE groups.id = moved.target)
             ORDER BY no DESC LIMIT -1 OFFSET ?)",
    )
    .bind(signed(groups_max.saturating_mul(STRAYS_PER_GROUP)));
    db.flush().await?;
    Ok(())
}

/// Forgets what was left too long ago and leads to no log here, so much at once; says how much it was.
pub(super) async fn expire(db: &mut SqliteConnection, now_ms: u64, at_most: i64) -> Result<u64, StoreError> {
    let before_ms = now_ms.saturating_sub(MOVED_TTL_S * 1_000);
    let gone = sqlx::query(
        "DELETE FROM moved WHERE no IN (
             SELECT no FROM moved WHERE moved_ms < ? AND NOT EXISTS (SELECT 1 FROM groups WHERE groups.id = moved.target)
             ORDER BY moved_ms LIMIT ?)",
    )
    .bind(signed(before_ms))
    .bind(at_most)
    .execute(db)
    .await?;
    Ok(gone.rows_affected())
}
