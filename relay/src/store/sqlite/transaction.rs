//! Transactions, begun and ended in so many words.
//!
//! SQLite ends one by itself when the disk is full. The library's own transactions don't notice: they go on counting
//! it as open, take the next one for a part of it, and confirm that without a commit. Here nobody counts.

use sqlx::SqliteConnection;

use super::fault;
use crate::store::StoreError;

/// Does all of it, or nothing.
pub(super) async fn transaction<T>(
    db: &mut SqliteConnection,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let done = attempt(db, work).await;
    if done.is_err() {
        // Where SQLite has ended it already this fails, which is as good.
        let _ = sqlx::raw_sql("ROLLBACK").execute(db).await;
    }
    done
}

async fn attempt<T>(
    db: &mut SqliteConnection,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    sqlx::raw_sql("BEGIN").execute(&mut *db).await.map_err(fault)?;
    let done = work(db).await?;
    sqlx::raw_sql("COMMIT").execute(db).await.map_err(fault)?;
    Ok(done)
}
