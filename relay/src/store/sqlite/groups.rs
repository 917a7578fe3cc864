//! Entering: a device's row, and its group's log if it is the first to come.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use sqlx::Row as _;
use sync_sqlite::Database;
use sync_types::{DeviceId, LogId, RelayCursor, Run};

use super::{
    ids, packages,
    place::{GROUP_MAX, places},
    receipts, signed, snapshots,
    writer::{Reply, Writer},
};
use crate::store::{Greeted, Greeting, GroupLog, Head, StoreError};

/// Devices remembered a group. Beyond it, those not seen for longest no longer hold retention up.
const DEVICES_MAX: i64 = 1_024;
/// Empty groups collected at once when there are too many.
const COLLECT_MAX: usize = 64;

impl Writer {
    /// Enters devices, all in one transaction but for the logs that have to be made.
    pub(super) async fn greet(&mut self, greetings: Vec<(Greeting, Reply<Greeted>)>) {
        let mut entering = Vec::with_capacity(greetings.len());
        for (greeting, reply) in greetings {
            match self.log_of(&greeting).await {
                Ok(log) => {
                    let head = log.head.subscribe();
                    entering.push((greeting, Greeted { log, head }, reply));
                }
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            }
        }
        let entered = self.db.transaction(async |db| {
            for (greeting, greeted, _) in &entering {
                let read = greeting.read.filter(|(log_id, _)| *log_id == greeted.log.log_id);
                let acked = read.map_or(RelayCursor::START, |(_, cursor)| cursor.min(greeted.log.head().cursor));
                remember(db, greeted.log.no, greeting.device, acked, greeting.now_ms);
                visited(db, greeted.log.no, greeting.now_ms);
            }
            // Whoever enters is to be told what was said before.
            receipts::write(db, &self.books.receipts);
            Ok(())
        });
        let entered = entered.await;
        if entered.is_ok() {
            receipts::announce(&self.books.shared, &std::mem::take(&mut self.books.receipts));
        }
        let entered = match entered {
            // Nothing can be noted on a full disk. What is there can be read all the same, and the next greeting is
            // noted. A device that is new holds no tombstones up until then; the floor tells it what it missed.
            Err(StoreError::DiskFull) => Ok(()),
            entered => entered,
        };
        for (_, greeted, reply) in entering {
            let _ = reply.send(entered.clone().map(|()| greeted));
        }
    }

    async fn log_of(&mut self, greeting: &Greeting) -> Result<Arc<GroupLog>, StoreError> {
        if let Some(log) = self.books.shared.group(&greeting.group) {
            return Ok(log);
        }
        if packages::is_over(&mut self.db, &greeting.group).await? {
            return Err(StoreError::GroupMoved);
        }
        if self.books.shared.group_count() >= self.books.bounds.groups {
            self.collect_empty().await?;
            if self.books.shared.group_count() >= self.books.bounds.groups {
                return Err(StoreError::TooManyGroups);
            }
        }
        let no = create(&mut self.db, greeting).await?;
        let log = Arc::new(GroupLog::new(no, greeting.group, greeting.new_log_id, Head::START));
        self.books.group_bytes.insert(no, 0);
        self.books.shared.add_group(Arc::clone(&log));
        Ok(log)
    }

    /// Forgets groups without a row or a snapshot that nobody is connected to, and that no other id leads to: what is left
    /// there for their members counts as theirs.
    async fn collect_empty(&mut self) -> Result<(), StoreError> {
        let empty = sqlx::query(
            "SELECT no FROM groups WHERE NOT EXISTS
                 (SELECT 1 FROM entries WHERE place BETWEEN groups.no << 35 AND ((groups.no + 1) << 35) - 1)
             AND NOT EXISTS (SELECT 1 FROM moved WHERE target = groups.id)
             AND NOT EXISTS (SELECT 1 FROM snapshots WHERE group_no = groups.no)",
        )
        .fetch_all(self.db.connection().await?)
        .await?;
        let empty = empty.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
        self.forget(&empty, COLLECT_MAX).await?;
        Ok(())
    }

    /// Removes groups that nobody is connected to, at most so many; says how many it were.
    pub(super) async fn forget(&mut self, groups: &[i64], at_most: usize) -> Result<u64, StoreError> {
        let logs: HashMap<i64, _> = self.books.shared.all_groups().into_iter().map(|log| (log.no, log)).collect();
        let unwatched = groups.iter().filter_map(|no| logs.get(no)).filter(|log| log.head.receiver_count() == 0);
        let unwatched: Vec<_> = unwatched.take(at_most).collect();
        let forgetting = self.db.transaction(async |db| {
            let tx = db.connection().await?;
            let mut blobs = 0;
            for log in &unwatched {
                let (first, last) = places(log.no).into_inner();
                ids::forget(&mut *tx, first, last).await?;
                for (delete, counts) in [
                    ("DELETE FROM entries WHERE place BETWEEN ? AND ? AND envelope IS NOT NULL", true),
                    ("DELETE FROM entries WHERE place BETWEEN ? AND ?", false),
                ] {
                    let deleted = sqlx::query(delete).bind(first).bind(last).execute(&mut *tx).await?;
                    blobs += if counts { deleted.rows_affected() } else { 0 };
                }
                for delete in [
                    "DELETE FROM devices WHERE group_no = ?",
                    "DELETE FROM receipts WHERE group_no = ?",
                    "DELETE FROM groups WHERE no = ?",
                ] {
                    sqlx::query(delete).bind(log.no).execute(&mut *tx).await?;
                }
                snapshots::forget(&mut *tx, log.no).await?;
            }
            Ok::<_, StoreError>(blobs)
        });
        let blobs = forgetting.await?;
        self.books.shared.blobs.fetch_sub(blobs, Ordering::Relaxed);
        for log in &unwatched {
            self.books.shared.remove_group(&log.group);
            self.books.group_bytes.remove(&log.no);
        }
        let gone: HashSet<i64> = unwatched.iter().map(|log| log.no).collect();
        self.books.shared.fresh().retain(|(no, _), _| !gone.contains(no));
        Ok(unwatched.len() as u64)
    }
}

async fn create(db: &mut Database, greeting: &Greeting) -> Result<i64, StoreError> {
    let (group, log_id): (_, LogId) = (greeting.group, greeting.new_log_id);
    db.transaction(async |db| {
        let row = sqlx::query(
            "INSERT INTO groups (id, log_id, head_run, floor_run, visited_ms) VALUES (?1, ?2, ?3, ?3, ?4) RETURNING no",
        )
        .bind(group.as_bytes().as_slice())
        .bind(log_id.as_bytes().as_slice())
        .bind(Run::START.as_bytes().as_slice())
        .bind(signed(greeting.now_ms))
        .fetch_one(db.connection().await?)
        .await?;
        let no: i64 = row.try_get(0)?;
        if no > GROUP_MAX { Err(StoreError::TooManyGroups) } else { Ok(no) }
    })
    .await
}

/// Notes that somebody was there.
pub(super) fn visited(db: &mut Database, group_no: i64, now_ms: u64) {
    db.add("UPDATE groups SET visited_ms = MAX(visited_ms, ?) WHERE no = ?").bind(signed(now_ms)).bind(group_no);
}

fn remember(db: &mut Database, group_no: i64, device: DeviceId, acked: RelayCursor, now_ms: u64) {
    db.add(
        "INSERT INTO devices (group_no, device, acked, seen_ms) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET acked = MAX(acked, excluded.acked), seen_ms = MAX(seen_ms, excluded.seen_ms)",
    )
    .bind(group_no)
    .bind(device.as_bytes().as_slice())
    .bind(signed(acked.get()))
    .bind(signed(now_ms));
    bound_devices(db, group_no);
}

/// Forgets those that were not seen for longest, if there are too many.
pub(super) fn bound_devices(db: &mut Database, group_no: i64) {
    db.add(
        "DELETE FROM devices WHERE group_no = ? AND device IN
             (SELECT device FROM devices WHERE group_no = ? ORDER BY seen_ms DESC LIMIT -1 OFFSET ?)",
    )
    .bind(group_no)
    .bind(group_no)
    .bind(DEVICES_MAX);
}
