//! The way of every request: a bounded number at once, each with a time limit, repeated when that is worth it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::ExecutionError;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::bound::BoundStatement;
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::fault::{self, Crowded};
use super::repeat;
use super::rows::Partition;
use super::statements::Statements;
use crate::StorageError;

/// The session, and what is counted about it.
pub(super) struct Client {
    session: Session,
    pub(super) statements: Statements,
    permits: Semaphore,
    permits_max: usize,
    request_timeout: Duration,
    requests: AtomicU64,
    repetitions: AtomicU64,
    failures: AtomicU64,
}

/// Numbers for metrics. Counts are since the storage was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScyllaStats {
    /// Requests that have been answered or have failed.
    pub requests_total: u64,
    /// Requests sent again by us after a timeout or a broken connection.
    pub repetitions_total: u64,
    /// Requests that failed in the end.
    pub failures_total: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// How many may be under way; beyond it, callers wait.
    pub in_flight_max: u64,
}

impl Client {
    pub(super) fn new(
        session: Session,
        statements: Statements,
        concurrency_max: usize,
        request_timeout: Duration,
    ) -> Self {
        Self {
            session,
            statements,
            permits: Semaphore::new(concurrency_max),
            permits_max: concurrency_max,
            request_timeout,
            requests: AtomicU64::new(0),
            repetitions: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) fn stats(&self) -> ScyllaStats {
        ScyllaStats {
            requests_total: self.requests.load(Ordering::Relaxed),
            repetitions_total: self.repetitions.load(Ordering::Relaxed),
            failures_total: self.failures.load(Ordering::Relaxed),
            in_flight: self.permits_max.saturating_sub(self.permits.available_permits()) as u64,
            in_flight_max: self.permits_max as u64,
        }
    }

    /// Executes one statement that returns nothing.
    pub(super) async fn write(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), StorageError> {
        let bound = bind(statement, &values)?;
        self.request(|| self.session.execute_bound_unpaged(&bound)).await?;
        Ok(())
    }

    /// Executes statements on one partition as one write: all of it becomes visible at once.
    pub(super) async fn write_batch<V: SerializeRow + Sync>(
        &self,
        statements: Vec<&PreparedStatement>,
        values: &[V],
    ) -> Result<(), StorageError> {
        let statements = statements.into_iter().cloned().map(BatchStatement::PreparedStatement).collect();
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        self.request(|| self.session.batch(&batch, values)).await?;
        Ok(())
    }

    /// All rows of a statement, each turned into what it stands for. Pages are read until there are none: one may be
    /// empty although others follow.
    pub(super) async fn read<R, T>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        partition: Partition<'_>,
        parse: impl Fn(R) -> Result<T, StorageError> + Send,
    ) -> Result<Vec<T>, StorageError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
        T: Send,
    {
        let bound = bind(statement, &values)?;
        let (mut found, mut state) = (Vec::new(), PagingState::start());
        loop {
            let page = || self.session.execute_bound_single_page(&bound, state.clone());
            let (result, next) = self.request(page).await?;
            let result = result.into_rows_result().map_err(|_| partition.corrupt())?;
            for row in result.rows::<R>().map_err(|_| partition.corrupt())? {
                found.push(parse(row.map_err(|_| partition.corrupt())?)?);
            }
            match next {
                PagingStateResponse::HasMorePages { state: next } => state = next,
                PagingStateResponse::NoMorePages => return Ok(found),
            }
        }
    }

    async fn request<T, F>(&self, send: impl Fn() -> F + Send) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, ExecutionError>> + Send,
    {
        let Ok(permit) = timeout(self.request_timeout, self.permits.acquire()).await else {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Err(fault::unavailable(Crowded));
        };
        let _permit = permit.expect("the semaphore is never closed");
        let answer = repeat::until_answered(self.request_timeout, &self.repetitions, send).await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        if answer.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        answer.map_err(fault::storage_error)
    }
}

fn bind(statement: &PreparedStatement, values: &impl SerializeRow) -> Result<BoundStatement, StorageError> {
    statement.clone().bind(values).map_err(|error| StorageError::Failed(Box::new(error)))
}
