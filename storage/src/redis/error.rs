//! What can go wrong below the traits, and what callers are told of it.

use std::path::PathBuf;

use redis::{ErrorKind, RedisError, ServerError, Value};

use super::records::FORMAT_VERSION;
use crate::StorageError;

/// A failure of one call.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    /// The connection failed, could not be made, or the server did not answer in time.
    #[error("no answer from the Redis server")]
    Connection(#[source] RedisError),
    /// The server answered with an error.
    #[error("the Redis server refused: {0}")]
    Server(ServerError),
    /// Written, but not known to be durable.
    #[error("written, but {0}")]
    NotDurable(&'static str),
    /// The server may not be used.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// No server is known that would own the key.
    #[error("no primary is known for the key")]
    NoPrimary,
    /// Another server answers now: what was read from the old one may not be in it.
    #[error("another Redis server has taken over: positions must be loaded again")]
    AnotherServer,
    /// An answer of a shape that the command does not have.
    #[error("an answer to {0} makes no sense")]
    Answer(&'static str),
    /// A record can not be read.
    #[error("a record is corrupt: {0}")]
    Corrupt(String),
    /// The storage has been closed.
    #[error("the storage is closed")]
    Closed,
}

/// Why a server may not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it is not a primary")]
    Replica,
    #[error("it is loading its data")]
    Loading,
    #[error("its eviction policy is {0}")]
    Evicts(String),
    #[error("its append-only file is off")]
    NoAppendOnlyFile,
    #[error("its appendfsync is {0}, and it can not say what is synced")]
    SyncsLate(String),
    #[error("its version is {0}")]
    TooOld(String),
}

impl Fault {
    /// A fault of a connection: the server's own words, if it said any.
    pub(super) fn of(error: RedisError) -> Self {
        Self::Connection(error)
    }

    /// Whether who owns which slot, or who is the primary, may have changed.
    pub(super) fn suggests_change(&self) -> bool {
        match self {
            Self::Connection(_) | Self::NotDurable(_) | Self::Unfit(_) | Self::NoPrimary => true,
            Self::Server(error) => {
                matches!(error.code(), "READONLY" | "MOVED" | "CLUSTERDOWN" | "MASTERDOWN" | "UNBLOCKED")
            }
            _ => false,
        }
    }

    /// Whether the server knows the user and the password, as far as can be told.
    pub(super) fn is_authentication(&self) -> bool {
        match self {
            Self::Connection(error) => {
                error.kind() == ErrorKind::AuthenticationFailed
                    || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
            }
            Self::Server(error) => matches!(error.code(), "NOAUTH" | "WRONGPASS" | "NOPERM"),
            _ => false,
        }
    }
}

impl From<Fault> for StorageError {
    /// Nothing that a server says is for ever: a full disk, a lost primary and a wrong password are all mended without
    /// a restart of ours. Only a record that can not be read stays so.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Corrupt(what) => Self::Corrupt { what },
            Fault::Server(error) if error.code() == "WRONGTYPE" => {
                Self::Corrupt { what: "a key of another type than ours".to_owned() }
            }
            fault => Self::Unavailable(Box::new(fault)),
        }
    }
}

/// An answer, or the error in it.
pub(super) fn answered(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(Fault::Server(error)),
        value => Ok(value),
    }
}

/// Why Redis can not be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration is wrong; what [`super::RedisConfig::faults`] finds is reported by it, one a line.
    #[error("{0}")]
    Configuration(String),
    /// A file that the configuration names can not be used.
    #[error("{key}: {} can not be used", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server did not answer, or is not ready. Trying again may help.
    #[error("Redis is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server does not know the user or the password, or the user may not do what is needed.
    #[error(
        "Redis refuses the user or the password, or what the user needs to do: check redis.url, redis.password_file and the user's rights"
    )]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server may delete any key when memory is short.
    #[error(
        "Redis has the eviction policy {found} and may delete messages: set maxmemory-policy to noeviction, or redis.allow_eviction_policy to \"{found}\""
    )]
    Evicts {
        /// Its policy.
        found: String,
    },
    /// `redis.durability` is `aof`, and the server writes no append-only file.
    #[error(
        "redis.durability is \"aof\", but the server has appendonly off: set it to yes, or redis.durability to \"memory\" or \"replica\""
    )]
    NoAppendOnlyFile,
    /// `redis.durability` is `aof`, and the server answers before it has written its append-only file.
    #[error(
        "redis.durability is \"aof\", but the server has appendfsync {found} and can not say what is synced: set it to always, or use Redis 7.2 or newer, or Valkey"
    )]
    SyncsLate {
        /// Its `appendfsync`.
        found: String,
    },
    /// The server is too old.
    #[error("Redis {found} is too old: 7.0 or newer is needed, or Valkey")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The store was written by a version of Roost that this one does not know.
    #[error(
        "the data in Redis has format {found}, but this version reads format {FORMAT_VERSION}: use the version that wrote it, or another redis.key_prefix"
    )]
    UnknownFormat {
        /// What it says it is.
        found: String,
    },
    /// The store was made with another number of partitions.
    #[error(
        "the data in Redis has {stored} partitions, not {configured}, and the number is fixed when it is made: set redis.partitions to {stored}"
    )]
    Partitions {
        /// How many it has.
        stored: u16,
        /// How many were asked for.
        configured: u16,
    },
}

impl OpenError {
    /// Whether the same call may succeed later without anyone acting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    pub(super) fn of(fault: Fault) -> Self {
        match fault {
            Fault::Unfit(Unfit::Evicts(found)) => Self::Evicts { found },
            Fault::Unfit(Unfit::NoAppendOnlyFile) => Self::NoAppendOnlyFile,
            Fault::Unfit(Unfit::SyncsLate(found)) => Self::SyncsLate { found },
            Fault::Unfit(Unfit::TooOld(found)) => Self::TooOld { found },
            fault if fault.is_authentication() => Self::Refused(Box::new(fault)),
            fault => Self::Unavailable(Box::new(fault)),
        }
    }
}
