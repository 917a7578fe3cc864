//! One SQLite connection that writes.
//!
//! [`sqlx`] runs every connection on a thread of its own, and the way there and back takes longer than a small
//! statement. So statements that nobody waits for stay here until one is asked for its rows or the transaction ends,
//! and then go there together: a transaction of five statements is one trip instead of five.
//!
//! Transactions are begun and ended in so many words. SQLite ends one by itself when the disk is full; the library's
//! own transactions don't notice, go on counting it as open, take the next one for a part of it, and confirm that
//! without a commit. Here nobody counts.

use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Encode, Sqlite, SqliteConnection, Type,
    sqlite::{SqliteArguments, SqliteRow},
};

/// Statements that stay prepared together. Longer rows of them are too rarely the same ones again.
const PREPARED_MAX: usize = 8;

/// See the [crate].
#[derive(Debug)]
pub struct Database {
    connection: SqliteConnection,
    waiting: Script,
}

/// Statements one after the other, and the values of all of them.
#[derive(Debug, Default)]
struct Script {
    sql: String,
    values: SqliteArguments,
    statements: usize,
    failed: Option<sqlx::Error>,
}

impl Database {
    /// Writes over this connection.
    #[must_use]
    pub fn new(connection: SqliteConnection) -> Self {
        Self { connection, waiting: Script::default() }
    }

    /// Adds a statement without a semicolon to those that wait. Its values are given by [`Self::bind`], in the order
    /// of its question marks, which have no numbers: those would count from the first statement that waits.
    pub fn add(&mut self, statement: &str) -> &mut Self {
        self.waiting.sql.push_str(statement);
        self.waiting.sql.push(';');
        self.waiting.statements += 1;
        self
    }

    /// The next value of the statement that was added last. One that can't be encoded is an error of the next trip.
    pub fn bind<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = self.waiting.values.add(value) {
            self.waiting.failed.get_or_insert(sqlx::Error::Encode(error));
        }
        self
    }

    /// Runs what waits.
    ///
    /// # Errors
    /// Whatever SQLite says to the first statement that fails. Those behind it are not run.
    pub async fn flush(&mut self) -> Result<(), sqlx::Error> {
        self.rows().await.map(drop)
    }

    /// Runs what waits, and returns all rows that come of it.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn rows(&mut self) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let Script { sql, values, statements, failed } = std::mem::take(&mut self.waiting);
        match failed {
            Some(error) => Err(error),
            None if statements == 0 => Ok(Vec::new()),
            None => {
                let script = sqlx::query_with(AssertSqlSafe(sql), values).persistent(statements <= PREPARED_MAX);
                script.fetch_all(&mut self.connection).await
            }
        }
    }

    /// Runs what waits, and lends the connection for anything else.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.flush().await?;
        Ok(&mut self.connection)
    }

    /// Does all of `work`, or nothing. What it adds last goes to the disk with the commit.
    ///
    /// # Errors
    /// Those of `work`, and whatever SQLite says. Then nothing has happened.
    pub async fn transaction<T, E: From<sqlx::Error>>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let done = self.attempt(work).await;
        if done.is_err() {
            self.waiting = Script::default();
            // Where SQLite has ended it already this fails, which is as good.
            let _ = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await;
        }
        done
    }

    async fn attempt<T, E: From<sqlx::Error>>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.add("BEGIN");
        let done = work(self).await?;
        self.add("COMMIT").flush().await?;
        Ok(done)
    }

    /// Closes the connection.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions as _, Row as _, sqlite::SqliteConnectOptions};

    use super::*;

    async fn database() -> Database {
        let connection = SqliteConnectOptions::new().in_memory(true).connect().await.expect("memory");
        let mut db = Database::new(connection);
        db.add("CREATE TABLE t (n INTEGER PRIMARY KEY, word TEXT)").flush().await.expect("a table");
        db
    }

    async fn numbers(db: &mut Database) -> Vec<i64> {
        let rows = db.add("SELECT n FROM t ORDER BY n").rows().await.expect("rows");
        rows.iter().map(|row| row.get(0)).collect()
    }

    #[tokio::test]
    async fn values_go_to_their_statements() {
        let mut db = database().await;
        db.transaction(async |db| {
            db.add("INSERT INTO t VALUES (?, ?), (?, ?)").bind(1).bind("one").bind(2).bind("two");
            db.add("UPDATE t SET word = ? WHERE n = ?").bind("zwei").bind(2);
            db.add("INSERT INTO t VALUES (?, NULL)").bind(3);
            Ok::<_, sqlx::Error>(())
        })
        .await
        .expect("committed");
        let rows = db.add("SELECT word FROM t ORDER BY n").rows().await.expect("rows");
        let words: Vec<Option<String>> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(words, [Some("one".to_owned()), Some("zwei".to_owned()), None]);
    }

    #[tokio::test]
    async fn rows_come_from_the_middle_of_a_transaction() {
        let mut db = database().await;
        let seen = db
            .transaction(async |db| {
                db.add("INSERT INTO t VALUES (7, NULL)");
                let rows = db.add("SELECT n FROM t").rows().await?;
                db.add("INSERT INTO t VALUES (8, NULL)");
                Ok::<_, sqlx::Error>(rows.len())
            })
            .await;
        assert_eq!(seen.expect("committed"), 1);
        assert_eq!(numbers(&mut db).await, [7, 8]);
    }

    #[tokio::test]
    async fn a_statement_that_fails_takes_all_back_and_the_next_transaction_counts() {
        let mut db = database().await;
        for round in 0..2 {
            let failed = db
                .transaction(async |db| {
                    db.add("INSERT INTO t VALUES (1, NULL)");
                    db.add("INSERT INTO t VALUES (1, NULL)");
                    db.add("INSERT INTO t VALUES (2, NULL)");
                    Ok::<_, sqlx::Error>(())
                })
                .await;
            assert!(failed.is_err());
            db.transaction(async |db| {
                db.add("INSERT INTO t VALUES (?, NULL)").bind(10 + round);
                Ok::<_, sqlx::Error>(())
            })
            .await
            .expect("committed");
        }
        assert_eq!(numbers(&mut db).await, [10, 11]);
    }

    #[tokio::test]
    async fn work_that_fails_leaves_nothing_waiting() {
        let mut db = database().await;
        let failed = db
            .transaction(async |db| {
                db.add("INSERT INTO t VALUES (1, NULL)");
                Err::<(), _>(sqlx::Error::PoolClosed)
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(numbers(&mut db).await, [] as [i64; 0]);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_by_itself_is_none_that_the_next_one_is_part_of() {
        let mut db = database().await;
        db.add("PRAGMA max_page_count = 3").flush().await.expect("a small disk");
        let full = db
            .transaction(async |db| {
                db.add("INSERT INTO t VALUES (1, ?)").bind("x".repeat(100_000));
                Ok::<_, sqlx::Error>(())
            })
            .await;
        assert!(full.is_err());
        db.transaction(async |db| {
            db.add("INSERT INTO t VALUES (2, NULL)");
            Ok::<_, sqlx::Error>(())
        })
        .await
        .expect("committed");
        let open = sqlx::raw_sql("COMMIT").execute(db.connection().await.expect("idle")).await;
        assert!(open.is_err(), "no transaction is left open");
        assert_eq!(numbers(&mut db).await, [2]);
    }
}
