//! Between rows and the domain's types.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{ChatId, Message, Sequence, StorageError, UserId};

/// Where rows are read from, for saying which can not be read.
#[derive(Clone, Copy)]
pub(super) struct Partition<'a> {
    pub(super) table: &'static str,
    pub(super) key: &'a str,
}

impl Partition<'_> {
    /// A row that can not be read: of which table and under which key, never what it holds.
    pub(super) fn corrupt(self) -> StorageError {
        StorageError::Corrupt { what: format!("a row of {} under {:?}", self.table, self.key) }
    }

    /// What a column holds as JSON.
    pub(super) fn parse<T: DeserializeOwned>(self, text: &str) -> Result<T, StorageError> {
        serde_json::from_str(text).map_err(|_| self.corrupt())
    }

    /// A sequence from a column.
    pub(super) fn sequence(self, number: i64) -> Result<Sequence, StorageError> {
        u64::try_from(number).map(Sequence).map_err(|_| self.corrupt())
    }
}

/// A sequence as a column. Beyond 2^63 there are no sequences, only questions about them.
pub(super) fn number(sequence: Sequence) -> i64 {
    i64::try_from(sequence.0).unwrap_or(i64::MAX)
}

/// A record as one column.
pub(super) fn json(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("records have text keys and no failing serializers")
}

/// How many rows to ask for.
pub(super) fn limit(max: usize) -> i32 {
    i32::try_from(max).unwrap_or(i32::MAX)
}

/// A message from its columns.
pub(super) fn message(
    partition: Partition<'_>,
    chat: &ChatId,
    (sequence, sender, content): (i64, String, String),
) -> Result<Message, StorageError> {
    let sender = UserId::new(sender).map_err(|_| partition.corrupt())?;
    Ok(Message { chat: chat.clone(), sequence: partition.sequence(sequence)?, sender, content: content.into() })
}
