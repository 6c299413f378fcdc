//! How the store is opened, what it is, and why opening failed.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::Fault;
use super::keys;
use super::keyspaces::Keyspaces;
use super::records::{self, FORMAT_VERSION, FormatRecord};

/// How to open an embedded store.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Where it is. Made when there is none.
    pub dir: PathBuf,
    /// How many partitions the event log has. Fixed when the store is made.
    pub partitions: NonZeroU16,
    /// For how long an append with the same key is a repetition. Too short and a late retry is sent twice; too long
    /// and the store grows by some 150 bytes per message of that time.
    pub dedupe_window: Duration,
    /// Entries a partition may hold above its cursor. Too low and a short pause of fanout refuses messages; too high
    /// and a long one fills the disk.
    pub partition_entries_max: u64,
    /// Items a mailbox may hold unconfirmed. Too low and slow connections turn messages into pending rows; too high
    /// and they fill the disk.
    pub mailbox_entries_max: u64,
    /// Memory for blocks read from the disk, in bytes.
    pub cache_bytes: u64,
}

impl EmbeddedConfig {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            partitions: NonZeroU16::new(16).expect("16 is not 0"),
            dedupe_window: Duration::from_hours(24),
            partition_entries_max: 100_000,
            mailbox_entries_max: 100_000,
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {} is in use by another process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// It was written by a version of Roost, or of the engine, that this one does not know.
    #[error(
        "the data directory {} has format {found}, but this version reads format {FORMAT_VERSION}: use the version that wrote it, or a newer one",
        dir.display()
    )]
    UnknownFormat {
        /// The directory.
        dir: PathBuf,
        /// What it says it is.
        found: String,
    },
    /// It was made with another number of partitions.
    #[error("the data directory {} has {stored} partitions, not {configured}: the number is fixed when it is made", dir.display())]
    Partitions {
        /// The directory.
        dir: PathBuf,
        /// How many it has.
        stored: u16,
        /// How many were asked for.
        configured: u16,
    },
    /// A record in it can not be read.
    #[error("the data directory {} has a corrupt record: {what}", dir.display())]
    Corrupt {
        /// The directory.
        dir: PathBuf,
        /// The kind and key of the record.
        what: String,
    },
    /// It can not be read or written.
    #[error("the data directory {} can not be opened", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    pub(super) fn of(config: &EmbeddedConfig, fault: Fault) -> Self {
        let dir = config.dir.clone();
        match fault {
            Fault::Corrupt(what) => Self::Corrupt { dir, what },
            Fault::Engine(fjall::Error::Locked) => Self::Locked { dir },
            Fault::Engine(fjall::Error::InvalidVersion(found)) => {
                let found = found.map_or_else(|| "unknown".to_owned(), |found| format!("{found:?} of the engine"));
                Self::UnknownFormat { dir, found }
            }
            Fault::Engine(fjall::Error::Io(source)) => Self::Io { dir, source: Box::new(source) },
            Fault::Engine(source) => Self::Io { dir, source: Box::new(source) },
        }
    }
}

/// Writes what a new store is, or compares what an old one says with what is asked for.
pub(super) fn check_format(spaces: &Keyspaces, config: &EmbeddedConfig) -> Result<(), OpenError> {
    let fault = |fault: Fault| OpenError::of(config, fault);
    let stored = spaces.format.get::<FormatRecord>(&spaces.db.read_tx(), keys::FORMAT).map_err(fault)?;
    let configured = config.partitions.get();
    let dir = || config.dir.clone();
    match stored {
        None => {
            let record = FormatRecord { version: FORMAT_VERSION, partitions: configured };
            let written = spaces.format.handle.insert(keys::FORMAT, records::encode(&record));
            written.and_then(|()| spaces.sync()).map_err(|error| fault(error.into()))
        }
        Some(FormatRecord { version, .. }) if version != FORMAT_VERSION => {
            Err(OpenError::UnknownFormat { dir: dir(), found: version.to_string() })
        }
        Some(FormatRecord { partitions: stored, .. }) if stored != configured => {
            Err(OpenError::Partitions { dir: dir(), stored, configured })
        }
        Some(_) => Ok(()),
    }
}
