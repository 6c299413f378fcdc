//! [`EventLog`]: leases, commits, trimming, and the length limit.

use super::{append_one, new_key, read_all, said};
use crate::contract::{LONG, PARTITION_ENTRIES_MAX, SHORT, eventually, new_chat};
use crate::{
    Acquired, AppendError, Appended, ChatId, Commit, EventLog, Lease, PartitionId, Position, Renewal, Storage, WorkerId,
};

const PARTITION: PartitionId = PartitionId(0);

/// A chat of [`PARTITION`].
fn chat_of(log: &dyn EventLog) -> ChatId {
    std::iter::repeat_with(new_chat)
        .find(|chat| log.partitions().of(chat) == PARTITION)
        .expect("the iterator does not end")
}

async fn acquire(log: &dyn EventLog, partition: PartitionId, worker: &WorkerId) -> Option<(Lease, Position)> {
    match log.acquire(partition, worker, LONG).await.expect("it answers") {
        Acquired::Held { lease, cursor } => Some((lease, cursor)),
        Acquired::Taken => None,
    }
}

async fn acquire_short(log: &dyn EventLog, worker: &WorkerId) -> Lease {
    match log.acquire(PARTITION, worker, SHORT).await.expect("it answers") {
        Acquired::Held { lease, .. } => lease,
        Acquired::Taken => panic!("nobody holds it"),
    }
}

/// Takes the lease of a partition once its holder's time has run out.
async fn take_over(log: &dyn EventLog, worker: &WorkerId) -> (Lease, Position) {
    eventually("the lease runs out", async || acquire(log, PARTITION, worker).await).await
}

async fn hold(log: &dyn EventLog, partition: PartitionId) -> (Lease, Position) {
    acquire(log, partition, &WorkerId::random()).await.expect("nobody holds it")
}

async fn commit(log: &dyn EventLog, lease: &Lease, through: Position) -> Commit {
    log.commit(lease, through).await.expect("it answers")
}

pub(super) async fn commit_everything(log: &dyn EventLog, partition: PartitionId) {
    let (lease, cursor) = hold(log, partition).await;
    if let Some(last) = read_all(log, partition, cursor).await.last() {
        assert_eq!(commit(log, &lease, last.position).await, Commit::Done);
    }
    log.release(&lease).await.expect("it answers");
}

async fn append_numbers(log: &dyn EventLog, chat: &ChatId, count: usize) -> Vec<Position> {
    for n in 0..count {
        append_one(log, said(chat, &n.to_string(), None)).await;
    }
    read_all(log, PARTITION, Position::START).await.iter().map(|entry| entry.position).collect()
}

async fn lag(log: &dyn EventLog) -> u64 {
    log.lag(PARTITION).await.expect("it answers")
}

pub async fn a_lease_is_granted_to_one_worker(storage: Storage) {
    let log = &*storage.log;
    let (first, second) = (WorkerId::random(), WorkerId::random());
    let (lease, cursor) = acquire(log, PARTITION, &first).await.expect("nobody holds it");
    assert_eq!((lease.partition, &lease.worker, cursor), (PARTITION, &first, Position::START));
    assert!(acquire(log, PARTITION, &second).await.is_none());
    assert!(acquire(log, PartitionId(1), &second).await.is_some(), "another partition is free");
}

pub async fn a_holder_acquires_again_with_the_same_epoch(storage: Storage) {
    let worker = WorkerId::random();
    let first = acquire(&*storage.log, PARTITION, &worker).await.expect("nobody holds it");
    assert_eq!(acquire(&*storage.log, PARTITION, &worker).await, Some(first));
}

pub async fn a_lease_whose_time_has_run_out_can_be_taken(storage: Storage) {
    let log = &*storage.log;
    let old = acquire_short(log, &WorkerId::random()).await;
    let (new, _) = take_over(log, &WorkerId::random()).await;
    assert!(new.epoch > old.epoch);
}

pub async fn a_renewed_lease_outlives_its_first_time(storage: Storage) {
    let log = &*storage.log;
    let lease = acquire_short(log, &WorkerId::random()).await;
    assert_eq!(log.renew(&lease, LONG).await.expect("it answers"), Renewal::Kept);
    tokio::time::sleep(SHORT * 2).await;
    assert!(acquire(log, PARTITION, &WorkerId::random()).await.is_none());
}

pub async fn a_lease_whose_time_has_run_out_is_kept_if_nobody_took_it(storage: Storage) {
    let log = &*storage.log;
    let lease = acquire_short(log, &WorkerId::random()).await;
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(log.renew(&lease, LONG).await.expect("it answers"), Renewal::Kept);
    assert!(acquire(log, PARTITION, &WorkerId::random()).await.is_none());
    assert_eq!(commit(log, &lease, Position::START).await, Commit::Done);
}

pub async fn a_released_lease_can_be_taken_at_once_with_a_higher_epoch(storage: Storage) {
    let log = &*storage.log;
    let (old, _) = hold(log, PARTITION).await;
    log.release(&old).await.expect("it answers");
    let (new, _) = hold(log, PARTITION).await;
    assert!(new.epoch > old.epoch);
    log.release(&new).await.expect("it answers");
    let (again, _) = acquire(log, PARTITION, &old.worker).await.expect("nobody holds it");
    assert!(again.epoch > new.epoch, "a former holder's new lease is a new one");
    assert_eq!(commit(log, &old, Position::START).await, Commit::LeaseLost, "its old one stays lost");
}

pub async fn a_zombie_neither_renews_nor_commits_nor_releases(storage: Storage) {
    let log = &*storage.log;
    let zombie = acquire_short(log, &WorkerId::random()).await;
    let positions = append_numbers(log, &chat_of(log), 3).await;
    let (lease, _) = take_over(log, &WorkerId::random()).await;

    assert_eq!(commit(log, &zombie, positions[2]).await, Commit::LeaseLost);
    assert_eq!(log.renew(&zombie, LONG).await.expect("it answers"), Renewal::Lost);
    log.release(&zombie).await.expect("it answers");

    assert_eq!(lag(log).await, 3, "nothing was trimmed");
    assert!(acquire(log, PARTITION, &WorkerId::random()).await.is_none(), "the new lease was not released");
    assert_eq!(commit(log, &lease, positions[2]).await, Commit::Done);
}

pub async fn a_commit_moves_the_cursor_and_lowers_the_lag(storage: Storage) {
    let log = &*storage.log;
    let positions = append_numbers(log, &chat_of(log), 5).await;
    let (lease, _) = hold(log, PARTITION).await;
    assert_eq!(commit(log, &lease, positions[2]).await, Commit::Done);
    assert_eq!(lag(log).await, 2);
    let (_, cursor) = acquire(log, PARTITION, &lease.worker).await.expect("it is ours");
    assert_eq!(cursor, positions[2]);
    let rest: Vec<_> = read_all(log, PARTITION, cursor).await.iter().map(|entry| entry.position).collect();
    assert_eq!(rest, positions[3..]);
}

pub async fn a_cursor_never_moves_back(storage: Storage) {
    let log = &*storage.log;
    let positions = append_numbers(log, &chat_of(log), 3).await;
    let (lease, _) = hold(log, PARTITION).await;
    assert_eq!(commit(log, &lease, positions[1]).await, Commit::Done);
    assert_eq!(commit(log, &lease, positions[0]).await, Commit::Done);
    let (_, cursor) = acquire(log, PARTITION, &lease.worker).await.expect("it is ours");
    assert_eq!(cursor, positions[1]);
    assert_eq!(lag(log).await, 1);
}

pub async fn a_cursor_outlives_its_leaseholder(storage: Storage) {
    let log = &*storage.log;
    let positions = append_numbers(log, &chat_of(log), 2).await;
    let lease = acquire_short(log, &WorkerId::random()).await;
    assert_eq!(log.renew(&lease, SHORT).await.expect("it answers"), Renewal::Kept);
    assert_eq!(commit(log, &lease, positions[0]).await, Commit::Done);
    let (_, cursor) = take_over(log, &WorkerId::random()).await;
    assert_eq!(cursor, positions[0]);
}

pub async fn positions_go_on_after_everything_was_trimmed(storage: Storage) {
    let log = &*storage.log;
    let chat = chat_of(log);
    let last = *append_numbers(log, &chat, 3).await.last().expect("there are three");
    commit_everything(log, PARTITION).await;
    assert_eq!(lag(log).await, 0);
    append_one(log, said(&chat, "later", None)).await;
    let later = read_all(log, PARTITION, last).await;
    assert_eq!(later.len(), 1);
    assert!(later[0].position > last);
    assert!(later[0].previous.is_some(), "the chat's clock is not trimmed");
}

/// Fills the partition. Limits of networked backends are not exact, so this only asks that there is one.
async fn fill(log: &dyn EventLog, chat: &ChatId) {
    for _ in 0..=PARTITION_ENTRIES_MAX / 50 * 2 {
        let results = log.append((0..50).map(|n| said(chat, &n.to_string(), None)).collect()).await;
        if results.iter().any(|result| matches!(result, Err(AppendError::Full))) {
            return;
        }
    }
    panic!("the partition takes twice its limit");
}

async fn append_is_refused(log: &dyn EventLog, chat: &ChatId) -> bool {
    let results = log.append(vec![said(chat, "more", None)]).await;
    matches!(results[..], [Err(AppendError::Full)])
}

pub async fn a_full_partition_refuses_and_takes_again_after_a_commit(storage: Storage) {
    let log = &*storage.log;
    let chat = chat_of(log);
    fill(log, &chat).await;
    let before = lag(log).await;
    assert!(before >= PARTITION_ENTRIES_MAX);
    assert!(append_is_refused(log, &chat).await);
    assert_eq!(lag(log).await, before, "nothing was written");
    let other = std::iter::repeat_with(new_chat).find(|chat| log.partitions().of(chat) != PARTITION);
    assert!(!append_is_refused(log, &other.expect("the iterator does not end")).await, "other partitions take more");
    commit_everything(log, PARTITION).await;
    assert!(!append_is_refused(log, &chat).await);
}

pub async fn a_full_partition_still_answers_repetitions(storage: Storage) {
    let log = &*storage.log;
    let (chat, key) = (chat_of(log), new_key());
    let first = append_one(log, said(&chat, "once", Some(key))).await;
    fill(log, &chat).await;
    let again = append_one(log, said(&chat, "once", Some(key))).await;
    assert_eq!(again, Appended { sequence: first.sequence, duplicate: true });
}

pub async fn announced_workers_are_listed_until_they_retire_or_run_out(storage: Storage) {
    let log = &*storage.log;
    let (a, b, c) = (WorkerId::random(), WorkerId::random(), WorkerId::random());
    let announce = async |worker: &WorkerId, ttl| log.announce(worker, ttl).await.expect("it answers");
    assert_eq!(announce(&a, LONG).await, std::slice::from_ref(&a));
    announce(&b, LONG).await;
    announce(&c, SHORT).await;
    let mut both = vec![a.clone(), b.clone()];
    both.sort();
    eventually("the short one runs out", async || (announce(&a, LONG).await == both).then_some(())).await;
    log.retire(&b).await.expect("it answers");
    assert_eq!(announce(&a, LONG).await, std::slice::from_ref(&a));
}
