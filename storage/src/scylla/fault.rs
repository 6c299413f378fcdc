//! Every way the driver and the server can fail, as the error of the traits. No vendor type goes further than this.

use std::error::Error;

use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use crate::StorageError;

/// What is meant to be answered, but was not: the server is slow, away, full or not set up. All of that can end without
/// a restart of ours. What is our own mistake can not.
pub(super) fn storage_error(error: ExecutionError) -> StorageError {
    match &error {
        ExecutionError::BadQuery(_) => StorageError::Failed(Box::new(error)),
        ExecutionError::LastAttemptError(
            RequestAttemptError::SerializationError(_)
            | RequestAttemptError::CqlRequestSerialization(_)
            | RequestAttemptError::DbError(DbError::SyntaxError | DbError::ProtocolError, _),
        ) => StorageError::Failed(Box::new(error)),
        _ => StorageError::Unavailable(Box::new(error)),
    }
}

/// Whether trying again at once, on another node perhaps, is worth it. Timeouts are the outcome "unknown", and every
/// statement may be repeated.
pub(super) fn is_worth_repeating(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::ConnectionPoolError(_) => true,
        ExecutionError::LastAttemptError(attempt) => matches!(
            attempt,
            RequestAttemptError::BrokenConnectionError(_)
                | RequestAttemptError::UnableToAllocStreamId
                | RequestAttemptError::RepreparedIdChanged { .. }
                | RequestAttemptError::DbError(
                    DbError::WriteTimeout { .. }
                        | DbError::ReadTimeout { .. }
                        | DbError::Unavailable { .. }
                        | DbError::WriteFailure { .. }
                        | DbError::ReadFailure { .. }
                        | DbError::Overloaded
                        | DbError::IsBootstrapping
                        | DbError::ServerError
                        | DbError::RateLimitReached { .. },
                    _
                )
        ),
        _ => false,
    }
}

/// A call that was not made, because too many are under way.
#[derive(Debug, thiserror::Error)]
#[error("too many requests are under way")]
pub(super) struct Crowded;

/// A failure of what is not a statement.
pub(super) fn unavailable(error: impl Error + Send + Sync + 'static) -> StorageError {
    StorageError::Unavailable(Box::new(error))
}
