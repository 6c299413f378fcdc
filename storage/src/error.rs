//! The one error of all storage traits.

use std::error::Error;

/// Why a storage call did not do what was asked. Expected outcomes (a refused write, a lost lease, a duplicate)
/// are not errors: each trait names them in its return types.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The backend cannot be reached or did not answer in time. The call may or may not have taken effect; every
    /// call of these traits may be repeated.
    #[error("the storage backend is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The backend failed in a way that repeating will not mend (disk full, I/O error). It acknowledges nothing
    /// from now on; the process should exit with this reason.
    #[error("the storage backend has failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// A stored record cannot be read. `what` names the record's kind and key, never its content.
    #[error("a stored record is corrupt: {what}")]
    Corrupt {
        /// The kind and key of the record.
        what: String,
    },
}

impl StorageError {
    /// Whether the same call may succeed later without anyone acting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
