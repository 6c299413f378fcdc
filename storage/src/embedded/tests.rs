//! What only this backend promises: reopening, the lock, group commit, failing. The traits' promises are in the contract
//! suites, run here on a store of their own each.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use super::fault::Fault;
use super::records::{FORMAT_VERSION, FormatRecord};
use super::{Embedded, EmbeddedConfig, OpenError, keys};
use crate::contract::{
    Fixture, LONG, MAILBOX_ENTRIES_MAX, PARTITION_ENTRIES_MAX, SOON, connection_of, eventually, message_at, new_chat,
    new_device, new_user,
};
use crate::{
    Acquired, AppendError, Change, ChatId, Commit, DedupeKey, Direction, EventBody, GatewayId, MailboxItem,
    MailboxPosition, Membership, MembershipChange, NewEvent, PartitionId, PendingKey, Position, Put, Refusal, Renewal,
    Routing, Sequence, Session, Storage, StorageError, WorkerId,
};

struct Temporary {
    embedded: Embedded,
    // Deleted after the store is closed.
    _dir: tempfile::TempDir,
}

impl Fixture for Temporary {
    fn storage(&self) -> Storage {
        self.embedded.storage()
    }
}

async fn temporary() -> Temporary {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig {
        partition_entries_max: PARTITION_ENTRIES_MAX,
        mailbox_entries_max: MAILBOX_ENTRIES_MAX,
        ..EmbeddedConfig::new(dir.path())
    };
    Temporary { embedded: Embedded::open(config).unwrap(), _dir: dir }
}

crate::contract_suite!(contract, temporary());

fn said(chat: &ChatId, content: &str, dedupe: Option<DedupeKey>) -> NewEvent {
    let body = EventBody::Message { sender: new_user(), content: content.into(), origin: None };
    NewEvent { chat: chat.clone(), body, dedupe }
}

async fn lease(storage: &Storage, partition: PartitionId) -> (crate::Lease, Position) {
    match storage.log.acquire(partition, &WorkerId::random(), LONG).await.unwrap() {
        Acquired::Held { lease, cursor } => (lease, cursor),
        Acquired::Taken => panic!("nobody holds it"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_keeps_the_log_its_cursor_its_epochs_and_its_dedupe_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (chat, key) = (new_chat(), DedupeKey(rand::random()));
    let embedded = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap();
    let storage = embedded.storage();
    let partition = storage.log.partitions().of(&chat);
    let first = storage.log.append(vec![said(&chat, "1", Some(key))]).await.remove(0).unwrap();
    storage.log.append(vec![said(&chat, "2", None), said(&chat, "3", None)]).await;
    let entries = storage.log.read(partition, Position::START, 10, SOON).await.unwrap();
    let (old, _) = lease(&storage, partition).await;
    assert_eq!(storage.log.commit(&old, entries[0].position).await.unwrap(), Commit::Done);
    // Dropped, not closed.
    drop((storage, embedded));

    let embedded = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap();
    let storage = embedded.storage();
    assert_eq!(embedded.stats().log_entries, 2);
    let (new, cursor) = lease(&storage, partition).await;
    assert_eq!(cursor, entries[0].position);
    assert!(new.epoch > old.epoch);
    assert_eq!(storage.log.renew(&old, LONG).await.unwrap(), Renewal::Lost);
    assert_eq!(storage.log.commit(&old, entries[2].position).await.unwrap(), Commit::LeaseLost);
    assert_eq!(storage.log.read(partition, cursor, 10, SOON).await.unwrap(), entries[1..]);
    let again = storage.log.append(vec![said(&chat, "1", Some(key))]).await.remove(0).unwrap();
    assert!(again.duplicate && again.sequence == first.sequence);
    // Everything trimmed, and reopened once more: positions go on.
    assert_eq!(storage.log.commit(&new, entries[2].position).await.unwrap(), Commit::Done);
    drop((storage, embedded));
    let storage = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap().storage();
    storage.log.append(vec![said(&chat, "4", None)]).await.remove(0).unwrap();
    let later = storage.log.read(partition, Position::START, 10, SOON).await.unwrap();
    assert_eq!(later.len(), 1);
    assert!(later[0].position > entries[2].position);
    assert_eq!(later[0].previous, Some(entries[2].event.sequence));
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_never_grants_an_epoch_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = None;
    for _ in 0..3 {
        let storage = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap().storage();
        let (lease, _) = lease(&storage, PartitionId(0)).await;
        assert!(last < Some(lease.epoch));
        last = Some(lease.epoch);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_keeps_mailboxes_and_fences_and_finds_every_gateway_dead() {
    let dir = tempfile::tempdir().unwrap();
    let [open, fenced, forgotten] = [(); 3].map(|()| GatewayId::random());
    let (user, ring) = (new_user(), MailboxItem::Ring { user: new_user() });
    let embedded = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap();
    let storage = embedded.storage();
    for gateway in [&open, &fenced, &forgotten] {
        storage.mailboxes.open(gateway).await.unwrap();
        storage.sessions.gateway_up(gateway, LONG).await.unwrap();
        assert_eq!(storage.mailboxes.put(gateway, vec![ring.clone(), ring.clone()]).await.unwrap(), Put::Accepted);
    }
    let session = Session {
        user: user.clone(),
        connection: connection_of(&open, 1),
        device: new_device(),
        chats: [].into(),
        notifications: true,
    };
    assert_eq!(storage.sessions.register(&session).await.unwrap(), crate::Registration::Done);
    let entries = storage.mailboxes.read(&open, MailboxPosition::START, 10, SOON).await.unwrap();
    storage.mailboxes.confirm(&open, entries[0].position).await.unwrap();
    storage.mailboxes.fence(&fenced).await.unwrap();
    storage.mailboxes.fence(&forgotten).await.unwrap();
    storage.mailboxes.remove(&forgotten).await.unwrap();
    storage.sessions.forget_gateway(&forgotten).await.unwrap();
    embedded.close().await;

    let embedded = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap();
    let storage = embedded.storage();
    let mut expected = vec![open.clone(), fenced.clone()];
    let mut dead = storage.sessions.dead_gateways().await.unwrap();
    expected.sort();
    dead.sort();
    assert_eq!(dead, expected);
    assert_eq!(embedded.stats().mailbox_entries, 3);
    assert_eq!(storage.mailboxes.confirmed(&open).await.unwrap(), entries[0].position);
    let left = storage.mailboxes.read(&open, entries[0].position, 10, SOON).await.unwrap();
    assert_eq!(left, entries[1..]);
    for gateway in [&fenced, &forgotten] {
        let put = storage.mailboxes.put(gateway, vec![ring.clone()]).await.unwrap();
        assert_eq!(put, Put::Refused(Refusal::Gone));
    }
    assert_eq!(storage.sessions.look_up(&[user]).await.unwrap(), [[]]);
    assert_eq!(storage.sessions.renew_gateway(&open, LONG).await.unwrap(), Renewal::Lost);
    assert!(storage.sessions.claim_gateway(&open, &WorkerId::random(), LONG).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_keeps_pending_history_and_members() {
    let dir = tempfile::tempdir().unwrap();
    let (user, chat) = (new_user(), new_chat());
    let messages = [1, 2, 3].map(|n| message_at(&chat, n));
    let embedded = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap();
    let storage = embedded.storage();
    let rows: Vec<_> = messages.iter().map(|message| (user.clone(), message.clone())).collect();
    storage.pending.put(&rows).await.unwrap();
    storage.pending.delete(&user, &[PendingKey::of(&messages[0])]).await.unwrap();
    storage.history.append(&messages).await.unwrap();
    let change = Change::Set([user.clone()].into());
    let change = MembershipChange { chat: chat.clone(), sequence: Sequence(5), change, routing: Routing::Members };
    storage.chats.apply(&change).await.unwrap();
    drop((storage, embedded));

    let embedded = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap();
    let storage = embedded.storage();
    assert_eq!(embedded.stats().pending_rows, 2);
    assert_eq!(storage.pending.count(&user).await.unwrap(), 2);
    assert_eq!(storage.pending.page(&user, None, 10).await.unwrap().messages, messages[1..]);
    assert_eq!(storage.history.range(&chat, None, Direction::Forward, 10).await.unwrap(), messages);
    assert_eq!(storage.chats.membership(&chat, &user).await.unwrap(), Membership::Member);
    assert_eq!(storage.chats.applied(&chat).await.unwrap(), Some(Sequence(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_open_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let first = Embedded::open(EmbeddedConfig::new(dir.path())).unwrap();
    let storage = first.storage();
    let refused = Embedded::open(EmbeddedConfig::new(dir.path())).err().unwrap();
    assert!(matches!(refused, OpenError::Locked { .. }));
    let sentence = format!("the data directory {} is in use by another process", dir.path().display());
    assert_eq!(refused.to_string(), sentence);

    first.close().await;
    let second = Embedded::open(EmbeddedConfig::new(dir.path())).expect("closing lets go of the directory");
    let user = new_user();
    assert!(matches!(storage.pending.count(&user).await, Err(StorageError::Failed(_))));
    let put = storage.pending.put(&[(user.clone(), message_at(&new_chat(), 1))]).await;
    assert!(matches!(put, Err(StorageError::Failed(_))), "the closed one takes nothing");
    assert_eq!(second.storage().pending.count(&user).await.unwrap(), 0);
}

#[test]
fn another_number_of_partitions_and_an_unknown_format_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig::new(dir.path());
    let embedded = Embedded::open(config.clone()).unwrap();
    drop(embedded);
    let other = EmbeddedConfig { partitions: NonZeroU16::new(17).unwrap(), ..config.clone() };
    let refused = Embedded::open(other).err().unwrap();
    assert!(matches!(refused, OpenError::Partitions { stored: 16, configured: 17, .. }), "{refused}");

    let embedded = Embedded::open(config.clone()).expect("with the right number it opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let raise = embedded.store.write(1, |batch| {
        batch.put(&batch.spaces.format, keys::FORMAT, &FormatRecord { version: FORMAT_VERSION + 1, partitions: 16 });
        Ok(())
    });
    runtime.block_on(raise).unwrap();
    drop(embedded);
    let refused = Embedded::open(config).err().unwrap();
    assert!(matches!(&refused, OpenError::UnknownFormat { found, .. } if found == "2"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_syncs() {
    let Temporary { embedded, _dir } = temporary().await;
    let before = embedded.stats();
    let appends: Vec<_> = (0..256)
        .map(|n| {
            let (log, event) = (embedded.storage().log, said(&new_chat(), &n.to_string(), None));
            tokio::spawn(async move { log.append(vec![event]).await.remove(0).unwrap() })
        })
        .collect();
    for append in appends {
        append.await.unwrap();
    }
    let after = embedded.stats();
    assert_eq!(after.writes_total - before.writes_total, 256);
    let syncs = after.syncs_total - before.syncs_total;
    assert!((1..128).contains(&syncs), "{syncs} syncs for 256 appends");
    assert_eq!(after.write_queue_depth, 0);
    assert_eq!(after.log_entries, 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_promises_nothing_is_not_synced() {
    let Temporary { embedded, _dir } = temporary().await;
    let (storage, chat) = (embedded.storage(), new_chat());
    storage.log.append(vec![said(&chat, "1", None)]).await.remove(0).unwrap();
    let partition = storage.log.partitions().of(&chat);
    let (lease, _) = lease(&storage, partition).await;
    let syncs = embedded.stats().syncs_total;
    assert!(syncs > 0);
    assert_eq!(storage.log.commit(&lease, Position(0, 1)).await.unwrap(), Commit::Done);
    assert_eq!(embedded.stats().syncs_total, syncs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_store_acknowledges_nothing_more() {
    let Temporary { embedded, _dir } = temporary().await;
    let (storage, chat) = (embedded.storage(), new_chat());
    let partition = storage.log.partitions().of(&chat);
    let log = storage.log.clone();
    let waiting = tokio::spawn(async move { log.read(partition, Position::START, 1, LONG).await });
    let failed = tokio::spawn(embedded.failed());
    let full_disk = || fjall::Error::Io(std::io::ErrorKind::StorageFull.into());
    let error = embedded.store.write(1, move |_| Err::<(), _>(Fault::Engine(full_disk()))).await.unwrap_err();
    assert!(matches!(error, StorageError::Failed(_)));

    let reason = tokio::time::timeout(SOON, failed).await.expect("it resolves").unwrap();
    assert!(matches!(reason, StorageError::Failed(_)));
    let woken = tokio::time::timeout(SOON, waiting).await.expect("readers learn of it").unwrap();
    assert!(matches!(woken, Err(StorageError::Failed(_))));
    let appended = storage.log.append(vec![said(&chat, "1", None), said(&chat, "2", None)]).await;
    assert_eq!(appended.len(), 2);
    assert!(appended.iter().all(|result| matches!(result, Err(AppendError::Storage(StorageError::Failed(_))))));
    let put = storage.pending.put(&[(new_user(), message_at(&chat, 1))]).await;
    assert!(matches!(put, Err(StorageError::Failed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_writer_fails_the_store() {
    let Temporary { embedded, _dir } = temporary().await;
    let failed = tokio::spawn(embedded.failed());
    let result = embedded.store.write(1, |_| -> Result<(), Fault> { panic!("a fault of ours, for this test") }).await;
    assert!(matches!(result, Err(StorageError::Failed(_))));
    tokio::time::timeout(SOON, failed).await.expect("it resolves").unwrap();
    let user = new_user();
    assert!(embedded.storage().pending.put(&[(user, message_at(&new_chat(), 1))]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_record_is_named_and_fails_only_its_reader() {
    let Temporary { embedded, _dir } = temporary().await;
    let (storage, chat) = (embedded.storage(), ChatId::new("broken").unwrap());
    let spoil = |batch: &mut super::writer::Batch<'_>| {
        batch.put(&batch.spaces.history, keys::number_below("broken", 1), &"not a message");
        batch.put(&batch.spaces.clocks, "broken", &"not a clock");
        Ok(())
    };
    embedded.store.write(1, spoil).await.unwrap();
    match storage.history.range(&chat, None, Direction::Forward, 1).await {
        Err(StorageError::Corrupt { what }) => {
            assert!(what.starts_with("history ") && what.contains("broken"), "{what}")
        }
        other => panic!("{other:?}"),
    }
    let mut results = storage.log.append(vec![said(&chat, "1", None), said(&new_chat(), "2", None)]).await;
    assert!(results.remove(1).is_ok());
    match results.remove(0) {
        Err(AppendError::Storage(StorageError::Corrupt { what })) => assert_eq!(what, "clock broken"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dedupe_records_are_forgotten_and_swept_after_their_window() {
    let dir = tempfile::tempdir().unwrap();
    let window = Duration::from_millis(200);
    let config = EmbeddedConfig { dedupe_window: window, ..EmbeddedConfig::new(dir.path()) };
    let embedded = Embedded::open(config).unwrap();
    let (storage, chat) = (embedded.storage(), new_chat());
    let keys: Vec<_> = (0..20).map(|_| DedupeKey(rand::random())).collect();
    let append = async |key: DedupeKey| storage.log.append(vec![said(&chat, "x", Some(key))]).await.remove(0).unwrap();
    for key in &keys {
        assert!(!append(*key).await.duplicate);
    }
    eventually("the window ends", async || (!append(keys[0]).await.duplicate).then_some(())).await;
    assert!(append(keys[0]).await.duplicate, "and a new window begins");
    let remembered =
        |key: DedupeKey| embedded.store.read(|view| view.spaces.dedupe.contains(&view.at, &key.0)).unwrap();
    eventually("all old records are swept", async || {
        append(DedupeKey(rand::random())).await;
        keys[1..].iter().all(|key| !remembered(*key)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_ends_its_signal_receivers() {
    let Temporary { embedded, _dir } = temporary().await;
    let mut receiver = embedded.storage().signals.subscribe(&GatewayId::random()).await.unwrap();
    embedded.close().await;
    assert!(tokio::time::timeout(SOON, receiver.next()).await.expect("it ends").is_none());
}

#[test]
fn an_embedded_store_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<Embedded>>();
}
