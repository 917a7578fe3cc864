//! Forgetting, in steps short enough that no push waits long for one.
//!
//! First an envelope whose time is over goes, and its row stays as a tombstone, so that a device which has not
//! read that far learns what it missed. Once every device has read past the front of the log, the front is cut
//! off and the floor takes its place. So is what two snapshots cover, whether or not its time is over: they stand for it.
//! Last, a group that nobody has visited for as long as a device is remembered is forgotten with all it holds, or whoever
//! asks for no expiry would keep the relay's room for good.

use std::{collections::HashMap, sync::atomic::Ordering};

use sqlx::{Row as _, SqliteConnection};
use sync_sqlite::Database;
use sync_types::{RelayCursor, Run, limits::SNAPSHOTS_KEPT};

use super::{
    bytes_at,
    groups::visited,
    ids, packages,
    place::{cursor_at, group_at, place, places},
    receipts, signed, snapshots, unsigned_at,
    writer::{Writer, measure},
};
use crate::store::{StoreError, Sweep, Swept};

/// Rows touched in one step.
const STEP_ROWS: i64 = 500;
/// Groups forgotten in one step.
const STEP_GROUPS: usize = 16;
/// Pages given back in one step.
const STEP_PAGES: u32 = 2_048;
/// What a tombstone counts in its group's quota: a log of nothing else must not grow for ever.
pub(super) const TOMBSTONE_BYTES: u64 = 64;

/// Where the front of a log was cut off.
struct Cut {
    floor: RelayCursor,
    run: Run,
    dropped: u64,
    /// How many of those had not expired.
    living: u64,
    /// What all of them counted in the group's quota.
    bytes: u64,
}

impl Writer {
    /// Performs one step.
    pub(super) async fn sweep(&mut self, sweep: Sweep) -> Result<Swept, StoreError> {
        let stepping = self.db.transaction(async |db| {
            keep_clock(db, sweep);
            for log in self.books.shared.all_groups().iter().filter(|log| log.head.receiver_count() > 0) {
                visited(db, log.no, sweep.clock.time_ms);
            }
            let tx = db.connection().await?;
            let freed = expire(tx, sweep.clock.time_ms).await?;
            let devices = sqlx::query("DELETE FROM devices WHERE seen_ms < ?")
                .bind(signed(sweep.devices_before_ms))
                .execute(&mut *tx)
                .await?;
            receipts::forget_unknown(tx).await?;
            let cuts = cut_fronts(tx).await?;
            let parts = snapshots::expire(tx, sweep.clock.time_ms).await?;
            let packages = packages::expire(tx, sweep.clock.time_ms, STEP_ROWS).await?;
            Ok::<_, StoreError>((freed, devices, cuts, parts, packages))
        });
        let (freed, devices, cuts, (parts_freed, parts), packages) = stepping.await?;

        let mut swept = Swept { devices: devices.rows_affected(), parts, packages, ..Swept::default() };
        swept.expired = freed.values().map(|(expired, _)| expired).sum();
        swept.more = swept.expired >= STEP_ROWS.cast_unsigned();
        self.books.shared.blobs.fetch_sub(swept.expired, Ordering::Relaxed);
        for (no, (expired, bytes)) in freed {
            let kept = self.books.group_bytes.entry(no).or_default();
            *kept = kept.saturating_sub(bytes) + expired * TOMBSTONE_BYTES;
        }
        for (no, bytes) in parts_freed {
            let kept = self.books.group_bytes.entry(no).or_default();
            *kept = kept.saturating_sub(bytes);
        }
        for log in self.books.shared.all_groups() {
            if log.head.receiver_count() == 0 {
                log.tail().clear();
            }
            let Some(cut) = cuts.get(&log.no) else { continue };
            log.head.send_modify(|head| (head.floor_cursor, head.floor_run) = (cut.floor, cut.run));
            let kept = self.books.group_bytes.entry(log.no).or_default();
            *kept = kept.saturating_sub(cut.bytes);
            swept.dropped += cut.dropped;
            swept.covered += cut.living;
        }
        self.books.shared.blobs.fetch_sub(swept.covered, Ordering::Relaxed);
        let is_cut = |no: &i64, cursor: RelayCursor| cuts.get(no).is_some_and(|cut| cursor <= cut.floor);
        self.books.shared.fresh().retain(|(no, _), cursor| !is_cut(no, *cursor));
        swept.more |= swept.dropped.max(packages) >= STEP_ROWS.cast_unsigned() || snapshots::may_be_more(parts);

        let unvisited = unvisited(self.db.connection().await?, sweep.devices_before_ms).await?;
        swept.groups = self.forget(&unvisited, STEP_GROUPS).await?;
        swept.more |= swept.groups == STEP_GROUPS as u64;
        if sweep.vacuum {
            swept.more |= vacuum(self.db.connection().await?).await?;
        }
        self.books.db_bytes = measure(self.db.connection().await?, &self.books.shared).await?;
        self.books.shared.db_bytes.store(self.books.db_bytes, Ordering::Relaxed);
        Ok(swept)
    }
}

fn keep_clock(db: &mut Database, sweep: Sweep) {
    db.add("INSERT OR REPLACE INTO clock (only, time_ms, wall_ms) VALUES (1, ?, ?)")
        .bind(signed(sweep.clock.time_ms))
        .bind(signed(sweep.clock.wall_ms));
}

/// Turns rows whose time is over into tombstones; says how many rows and bytes that were in each group.
async fn expire(db: &mut SqliteConnection, now_ms: u64) -> Result<HashMap<i64, (u64, u64)>, StoreError> {
    let due = sqlx::query(
        "SELECT place, size FROM entries
         WHERE expires_ms IS NOT NULL AND envelope IS NOT NULL AND expires_ms <= ? ORDER BY expires_ms LIMIT ?",
    )
    .bind(signed(now_ms))
    .bind(STEP_ROWS)
    .fetch_all(&mut *db)
    .await?;
    let mut freed = HashMap::<i64, (u64, u64)>::new();
    for row in due {
        let place: i64 = row.try_get(0)?;
        sqlx::query("UPDATE entries SET envelope = NULL WHERE place = ?").bind(place).execute(&mut *db).await?;
        let (rows, bytes) = freed.entry(group_at(place)).or_default();
        *rows += 1;
        *bytes += unsigned_at(&row, 1)?;
    }
    for (no, (rows, bytes)) in &freed {
        charge(db, *no, *bytes, rows * TOMBSTONE_BYTES).await?;
    }
    Ok(freed)
}

/// Cuts off, from every log, what all its devices have read past at its front: all that its snapshots cover, or else its
/// first tombstones.
///
/// What is covered is what the older of two snapshots covers: should the newest be of no use, there is that one.
async fn cut_fronts(db: &mut SqliteConnection) -> Result<HashMap<i64, Cut>, StoreError> {
    let due = sqlx::query(
        "SELECT groups.no, groups.floor_cursor,
                MIN(groups.head_cursor, IFNULL((SELECT MIN(acked) FROM devices WHERE group_no = groups.no), groups.head_cursor)),
                IFNULL(kept.covers, 0)
         FROM groups JOIN entries ON entries.place = (groups.no << 35 | groups.floor_cursor + 1)
         LEFT JOIN (SELECT group_no, MIN(covers) AS covers FROM snapshots GROUP BY group_no HAVING COUNT(*) >= ?) AS kept
             ON kept.group_no = groups.no
         WHERE entries.envelope IS NULL OR kept.covers > groups.floor_cursor",
    )
    .bind(signed(SNAPSHOTS_KEPT as u64))
    .fetch_all(&mut *db)
    .await?;
    let mut cuts = HashMap::new();
    let mut left = STEP_ROWS.cast_unsigned();
    for row in due {
        let (no, floor) = (row.try_get(0)?, RelayCursor::new(unsigned_at(&row, 1)?));
        let (read, covered) = (unsigned_at(&row, 2)?, unsigned_at(&row, 3)?);
        let reach = |end: u64| RelayCursor::new(end.min(floor.get() + left));
        let last_place = if read.min(covered) > floor.get() {
            place(no, reach(read.min(covered)))
        } else {
            end_of_dead(&mut *db, place(no, floor), place(no, reach(read))).await?
        };
        if last_place <= place(no, floor) {
            continue;
        }
        let cut = cut_off(&mut *db, no, floor, last_place).await?;
        left -= cut.dropped;
        cuts.insert(no, cut);
        if left == 0 {
            break;
        }
    }
    Ok(cuts)
}

/// The place of the last row before the first living one, or the last within reach; that of the floor if there is none.
async fn end_of_dead(db: &mut SqliteConnection, floor: i64, reach: i64) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT IFNULL((SELECT MIN(place) - 1 FROM entries WHERE place BETWEEN ?1 + 1 AND ?2 AND envelope IS NOT NULL), ?2)",
    )
    .bind(floor)
    .bind(reach)
    .fetch_one(db)
    .await?;
    Ok(row.try_get(0)?)
}

/// Cuts off the front of a log, up to and with the row at a place.
async fn cut_off(db: &mut SqliteConnection, no: i64, floor: RelayCursor, last_place: i64) -> Result<Cut, StoreError> {
    let first_place = *places(no).start();
    let last = sqlx::query("SELECT run FROM entries WHERE place = ?").bind(last_place).fetch_one(&mut *db).await?;
    let going = sqlx::query(
        "SELECT IFNULL(SUM(envelope IS NOT NULL), 0), IFNULL(SUM(IIF(envelope IS NULL, ?, size)), 0)
         FROM entries WHERE place BETWEEN ? AND ?",
    )
    .bind(signed(TOMBSTONE_BYTES))
    .bind(first_place)
    .bind(last_place)
    .fetch_one(&mut *db)
    .await?;
    let cut = Cut {
        floor: cursor_at(last_place),
        run: Run::from_bytes(bytes_at(&last, 0)?),
        dropped: cursor_at(last_place).get() - floor.get(),
        living: unsigned_at(&going, 0)?,
        bytes: unsigned_at(&going, 1)?,
    };
    ids::forget(&mut *db, first_place, last_place).await?;
    sqlx::query("DELETE FROM entries WHERE place BETWEEN ? AND ?")
        .bind(first_place)
        .bind(last_place)
        .execute(&mut *db)
        .await?;
    sqlx::query("UPDATE groups SET floor_cursor = ?, floor_run = ? WHERE no = ?")
        .bind(signed(cut.floor.get()))
        .bind(cut.run.as_bytes().as_slice())
        .bind(no)
        .execute(&mut *db)
        .await?;
    charge(db, no, cut.bytes, 0).await?;
    Ok(cut)
}

/// Changes what a group's quota counts.
pub(super) async fn charge(db: &mut SqliteConnection, no: i64, less: u64, more: u64) -> Result<(), StoreError> {
    sqlx::query("UPDATE groups SET bytes = MAX(0, bytes - ?) + ? WHERE no = ?")
        .bind(signed(less))
        .bind(signed(more))
        .bind(no)
        .execute(db)
        .await?;
    Ok(())
}

/// Groups that no device is remembered of, and nobody was connected to since then.
async fn unvisited(db: &mut SqliteConnection, before_ms: u64) -> Result<Vec<i64>, StoreError> {
    let rows = sqlx::query(
        "SELECT no FROM groups
         WHERE visited_ms < ? AND NOT EXISTS (SELECT 1 FROM devices WHERE group_no = no)",
    )
    .bind(signed(before_ms))
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(StoreError::from)
}

/// Gives free pages back; says whether there are more.
async fn vacuum(db: &mut SqliteConnection) -> Result<bool, StoreError> {
    let free = async |db: &mut SqliteConnection| {
        let row = sqlx::query("PRAGMA freelist_count").fetch_one(db).await?;
        row.try_get::<i64, _>(0)
    };
    let before = free(db).await?;
    if before == 0 {
        return Ok(false);
    }
    sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA incremental_vacuum({STEP_PAGES})"))).execute(&mut *db).await?;
    let after = free(db).await?;
    // Without progress there is nothing more to do: an older file may lack the bookkeeping for it.
    Ok(after > 0 && after < before)
}
