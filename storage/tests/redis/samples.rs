//! Chats, users and events to work with.

use std::time::Duration;

use roost_storage::{
    Appended, ChatId, ConnectionId, DedupeKey, DeviceId, EventBody, EventLog, GatewayId, LogEntry, NewEvent,
    PartitionId, Position, Session, StorageError, UserId,
};

pub(crate) fn new_chat() -> ChatId {
    ChatId::new(format!("chat-{:016x}", rand::random::<u64>())).unwrap()
}

pub(crate) fn new_user() -> UserId {
    UserId::new(format!("user-{:016x}", rand::random::<u64>())).unwrap()
}

pub(crate) fn said(chat: &ChatId, content: &str) -> NewEvent {
    let body = EventBody::Message { sender: new_user(), content: content.into(), origin: None };
    NewEvent { chat: chat.clone(), body, dedupe: Some(DedupeKey(rand::random())) }
}

pub(crate) fn session(user: &UserId, gateway: &GatewayId, number: u64) -> Session {
    Session {
        user: user.clone(),
        connection: ConnectionId { gateway: gateway.clone(), number },
        device: DeviceId::new("device").unwrap(),
        chats: [new_chat()].into(),
        notifications: true,
    }
}

/// Appends one event.
pub(crate) async fn append(log: &dyn EventLog, event: &NewEvent) -> Result<Appended, StorageError> {
    match log.append(vec![event.clone()]).await.remove(0) {
        Ok(appended) => Ok(appended),
        Err(roost_storage::AppendError::Storage(error)) => Err(error),
        Err(full) => panic!("{full}"),
    }
}

/// Repeats an append as a client would, with the same key, until it is acknowledged.
pub(crate) async fn append_until_done(log: &dyn EventLog, event: &NewEvent) -> Appended {
    for _ in 0..3000 {
        match append(log, event).await {
            Ok(appended) => return appended,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is never acknowledged");
}

/// Everything that is in a partition, once it can be read.
pub(crate) async fn all_entries(log: &dyn EventLog, partition: PartitionId) -> Vec<LogEntry> {
    let mut entries: Vec<LogEntry> = Vec::new();
    for _ in 0..3000 {
        let after = entries.last().map_or(Position::START, |entry| entry.position);
        match log.read(partition, after, 500, Duration::ZERO).await {
            Ok(more) if more.is_empty() => return entries,
            Ok(more) => entries.extend(more),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                // As after any error: positions of another server mean nothing here.
                entries.clear();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    panic!("it is never readable");
}
