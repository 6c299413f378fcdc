//! [`EventLog`]: appending and reading. Leases and commits are in `leases`.
#![allow(missing_docs, reason = "each function's name is the promise")]

mod leases;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

pub use self::leases::*;
use super::{CONTENT, LONG, MOMENT, SOON, connection_of, new_chat, new_user};
use crate::{
    Appended, Change, ChatId, DedupeKey, EventBody, EventLog, GatewayId, LogEntry, NewEvent, PartitionId, Position,
    Storage,
};

fn said(chat: &ChatId, content: &str, dedupe: Option<DedupeKey>) -> NewEvent {
    let body = EventBody::Message { sender: new_user(), content: content.into(), origin: None };
    NewEvent { chat: chat.clone(), body, dedupe }
}

fn new_key() -> DedupeKey {
    DedupeKey(rand::random())
}

async fn append_one(log: &dyn EventLog, event: NewEvent) -> Appended {
    log.append(vec![event]).await.pop().expect("one result per event").expect("it is appended")
}

/// Everything in the partition after `after` that is there now.
async fn read_all(log: &dyn EventLog, partition: PartitionId, after: Position) -> Vec<LogEntry> {
    let mut entries: Vec<LogEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(after, |entry| entry.position);
        let more = log.read(partition, after, 100, Duration::ZERO).await.expect("it reads");
        if more.is_empty() {
            return entries;
        }
        entries.extend(more);
    }
}

async fn entries_of(log: &dyn EventLog, chat: &ChatId) -> Vec<LogEntry> {
    let mut entries = read_all(log, log.partitions().of(chat), Position::START).await;
    entries.retain(|entry| entry.event.chat == *chat);
    entries
}

pub async fn a_new_partition_has_no_entries(storage: Storage) {
    for partition in storage.log.partitions().all() {
        assert_eq!(storage.log.lag(partition).await.expect("it answers"), 0);
        assert_eq!(read_all(&*storage.log, partition, Position::START).await, []);
    }
}

pub async fn appends_are_read_in_order_with_positions_and_previous_sequences(storage: Storage) {
    let (log, chat) = (&*storage.log, new_chat());
    let events: Vec<_> = (0..20).map(|n| said(&chat, &n.to_string(), None)).collect();
    let mut appended = log.append(events[..10].to_vec()).await;
    appended.extend(log.append(events[10..].to_vec()).await);
    let sequences: Vec<_> = appended.into_iter().map(|result| result.expect("it is appended").sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b));

    let entries = entries_of(log, &chat).await;
    assert!(entries.is_sorted_by(|a, b| a.position < b.position));
    assert!(entries[0].position > Position::START);
    assert_eq!(entries.iter().map(|entry| entry.event.sequence).collect::<Vec<_>>(), sequences);
    assert_eq!(
        entries.iter().map(|entry| &entry.event.body).collect::<Vec<_>>(),
        events.iter().map(|event| &event.body).collect::<Vec<_>>()
    );
    assert_eq!(entries[0].previous, None);
    assert!(entries.windows(2).all(|pair| pair[1].previous == Some(pair[0].event.sequence)));
    assert_eq!(log.lag(log.partitions().of(&chat)).await.expect("it answers"), 20);
}

pub async fn sequences_of_one_chat_increase_across_concurrent_appends(storage: Storage) {
    let chat = new_chat();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (log, chat) = (storage.log.clone(), chat.clone());
            tokio::spawn(async move {
                let mut sequences = Vec::new();
                for n in 0..25 {
                    sequences.push(append_one(&*log, said(&chat, &n.to_string(), None)).await.sequence);
                }
                sequences
            })
        })
        .collect();
    let mut answered = BTreeSet::new();
    for writer in writers {
        let sequences = writer.await.expect("the writer ends");
        assert!(sequences.is_sorted_by(|a, b| a < b), "a later append has a higher sequence");
        answered.extend(sequences);
    }
    assert_eq!(answered.len(), 200, "no sequence is given twice");
    let read: Vec<_> = entries_of(&*storage.log, &chat).await.iter().map(|entry| entry.event.sequence).collect();
    assert_eq!(read, answered.into_iter().collect::<Vec<_>>(), "positions and sequences agree");
}

pub async fn sequences_are_microseconds_since_the_epoch(storage: Storage) {
    let appended = append_one(&*storage.log, said(&new_chat(), "now", None)).await;
    let age = SystemTime::now().duration_since(appended.sequence.timestamp()).unwrap_or_default();
    assert!(age < Duration::from_secs(60), "{age:?} old");
    assert!(appended.sequence.0 < 1 << 53);
}

pub async fn content_comes_back_byte_for_byte(storage: Storage) {
    let chat = new_chat();
    let origin = connection_of(&GatewayId::random(), u64::MAX);
    let body = EventBody::Message { sender: new_user(), content: CONTENT.into(), origin: Some(origin) };
    append_one(&*storage.log, NewEvent { chat: chat.clone(), body: body.clone(), dedupe: None }).await;
    assert_eq!(entries_of(&*storage.log, &chat).await[0].event.body, body);
}

pub async fn membership_changes_come_back(storage: Storage) {
    let chat = new_chat();
    let changes = [
        Change::Set([new_user(), new_user()].into()),
        Change::Set(BTreeSet::new()),
        Change::Add(new_user()),
        Change::Remove(new_user()),
    ];
    let event =
        |change: &Change| NewEvent { chat: chat.clone(), body: EventBody::Members(change.clone()), dedupe: None };
    for result in storage.log.append(changes.iter().map(event).collect()).await {
        result.expect("it is appended");
    }
    let bodies: Vec<_> = entries_of(&*storage.log, &chat).await.into_iter().map(|entry| entry.event.body).collect();
    assert_eq!(bodies, changes.map(EventBody::Members));
}

pub async fn a_repetition_returns_the_first_sequence_and_writes_no_entry(storage: Storage) {
    let (chat, key) = (new_chat(), new_key());
    let first = append_one(&*storage.log, said(&chat, "once", Some(key))).await;
    assert!(!first.duplicate);
    append_one(&*storage.log, said(&chat, "between", None)).await;
    let again = append_one(&*storage.log, said(&chat, "once", Some(key))).await;
    assert_eq!(again, Appended { sequence: first.sequence, duplicate: true });
    assert_eq!(entries_of(&*storage.log, &chat).await.len(), 2);
}

pub async fn a_repetition_inside_one_append_writes_no_entry(storage: Storage) {
    let (chat, key) = (new_chat(), new_key());
    let event = said(&chat, "once", Some(key));
    let results = storage.log.append(vec![event.clone(), event.clone(), said(&chat, "other", None), event]).await;
    let results: Vec<_> = results.into_iter().map(|result| result.expect("it is appended")).collect();
    assert_eq!(results.iter().map(|appended| appended.duplicate).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!(results[0].sequence, results[1].sequence);
    assert_eq!(results[0].sequence, results[3].sequence);
    assert_eq!(entries_of(&*storage.log, &chat).await.len(), 2);
}

pub async fn a_repetition_after_trimming_returns_the_first_sequence(storage: Storage) {
    let (chat, key) = (new_chat(), new_key());
    let first = append_one(&*storage.log, said(&chat, "once", Some(key))).await;
    commit_everything(&*storage.log, storage.log.partitions().of(&chat)).await;
    let again = append_one(&*storage.log, said(&chat, "once", Some(key))).await;
    assert_eq!(again, Appended { sequence: first.sequence, duplicate: true });
    assert_eq!(storage.log.lag(storage.log.partitions().of(&chat)).await.expect("it answers"), 0);
}

pub async fn concurrent_repetitions_write_one_entry(storage: Storage) {
    let (chat, key) = (new_chat(), new_key());
    let attempts: Vec<_> = (0..16)
        .map(|_| {
            let (log, event) = (storage.log.clone(), said(&chat, "once", Some(key)));
            tokio::spawn(async move { append_one(&*log, event).await })
        })
        .collect();
    let mut results = Vec::new();
    for attempt in attempts {
        results.push(attempt.await.expect("the attempt ends"));
    }
    assert_eq!(results.iter().filter(|appended| !appended.duplicate).count(), 1);
    assert_eq!(results.iter().map(|appended| appended.sequence).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(entries_of(&*storage.log, &chat).await.len(), 1);
}

pub async fn the_same_text_under_another_key_is_another_event(storage: Storage) {
    let chat = new_chat();
    let event = said(&chat, "the same", Some(new_key()));
    let first = append_one(&*storage.log, event.clone()).await;
    let second = append_one(&*storage.log, NewEvent { dedupe: Some(new_key()), ..event }).await;
    assert!(!second.duplicate && second.sequence > first.sequence);
    assert_eq!(entries_of(&*storage.log, &chat).await.len(), 2);
}

pub async fn events_without_a_key_are_never_repetitions(storage: Storage) {
    let chat = new_chat();
    let event = said(&chat, "the same", None);
    let results = storage.log.append(vec![event.clone(), event]).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|appended| !appended.duplicate)));
    assert_eq!(entries_of(&*storage.log, &chat).await.len(), 2);
}

pub async fn one_append_may_mix_partitions(storage: Storage) {
    let chats: Vec<_> = (0..40).map(|_| new_chat()).collect();
    let partitions: BTreeSet<_> = chats.iter().map(|chat| storage.log.partitions().of(chat)).collect();
    assert!(partitions.len() > 1, "the fixture has several partitions");
    let results = storage.log.append(chats.iter().map(|chat| said(chat, chat.as_str(), None)).collect()).await;
    for (chat, result) in chats.iter().zip(results) {
        let sequence = result.expect("it is appended").sequence;
        let entries = entries_of(&*storage.log, chat).await;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].event.sequence, sequence, "results are in the order of the events");
    }
}

pub async fn an_append_of_nothing_does_nothing(storage: Storage) {
    assert!(storage.log.append(Vec::new()).await.is_empty());
}

pub async fn reading_goes_on_after_a_position(storage: Storage) {
    let (log, chat) = (&*storage.log, new_chat());
    log.append((0..10).map(|n| said(&chat, &n.to_string(), None)).collect()).await;
    let partition = log.partitions().of(&chat);
    let all = read_all(log, partition, Position::START).await;
    assert_eq!(all.len(), 10);
    let first = log.read(partition, Position::START, 4, SOON).await.expect("it reads");
    assert_eq!(first, all[..4]);
    let rest = log.read(partition, first[3].position, 100, SOON).await.expect("it reads");
    assert_eq!(rest, all[4..]);
}

pub async fn a_reader_that_waits_is_woken_by_an_append(storage: Storage) {
    let chat = new_chat();
    let partition = storage.log.partitions().of(&chat);
    let log = storage.log.clone();
    let reader = tokio::spawn(async move { log.read(partition, Position::START, 10, LONG).await });
    tokio::task::yield_now().await;
    append_one(&*storage.log, said(&chat, "wake", None)).await;
    let entries = tokio::time::timeout(SOON, reader).await.expect("it is woken").expect("it ends").expect("it reads");
    assert_eq!(entries.len(), 1);
}

pub async fn a_reader_that_waits_in_vain_gets_nothing(storage: Storage) {
    let (log, chat) = (&*storage.log, new_chat());
    append_one(log, said(&chat, "old", None)).await;
    let partition = log.partitions().of(&chat);
    let last = read_all(log, partition, Position::START).await[0].position;
    assert_eq!(log.read(partition, last, 10, MOMENT).await.expect("it reads"), []);
}

pub async fn a_reader_behind_the_cursor_waits_for_what_comes(storage: Storage) {
    let chat = new_chat();
    let partition = storage.log.partitions().of(&chat);
    append_one(&*storage.log, said(&chat, "old", None)).await;
    commit_everything(&*storage.log, partition).await;
    let log = storage.log.clone();
    let reader = tokio::spawn(async move { log.read(partition, Position::START, 10, LONG).await });
    tokio::time::sleep(MOMENT).await;
    let later = append_one(&*storage.log, said(&chat, "later", None)).await;
    let entries = tokio::time::timeout(SOON, reader).await.expect("it is woken").expect("it ends").expect("it reads");
    assert_eq!(entries.last().map(|entry| entry.event.sequence), Some(later.sequence));
}
