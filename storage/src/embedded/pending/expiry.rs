//! Deleting rows that are too old. A user's rows are in order of age, so only the first ones are looked at: a pass
//! costs one look per user who has any, and begins after the user at whom the one before it ended.

use std::ops::Bound;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Notifications, PendingUserRecord, first_possible};
use crate::embedded::fault::Fault;
use crate::embedded::keys;
use crate::embedded::store::View;
use crate::{Pending, PendingKey, Sequence, StorageError, UserId};

/// Rows to delete, by user.
type Found = Vec<(UserId, Vec<PendingKey>)>;

pub(super) async fn expire(notifications: &Notifications, before: SystemTime, max: usize) -> Result<u64, StorageError> {
    let before = before.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let before = Sequence(u64::try_from(before).unwrap_or(u64::MAX));
    let start = lock(notifications).clone();
    let found = notifications.store.scan(move |view| find(view, start.as_ref(), before, max)).await?;
    let mut deleted = 0;
    for (user, keys) in found {
        deleted += notifications.delete(&user, &keys).await?;
        *lock(notifications) = Some(user);
    }
    Ok(deleted)
}

fn lock(notifications: &Notifications) -> std::sync::MutexGuard<'_, Option<UserId>> {
    notifications.expired_through.lock().expect("the expiry's lock is never poisoned")
}

/// At most `max` old rows: of the users from `start` on, then of those up to it.
fn find(view: &View<'_>, start: Option<&UserId>, before: Sequence, max: usize) -> Result<Found, Fault> {
    let users = &view.spaces.pending_users;
    let halves = match start {
        Some(start) => {
            let start = start.as_str().as_bytes().to_vec();
            vec![(Bound::Included(start.clone()), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(start))]
        }
        None => vec![(Bound::Unbounded, Bound::Unbounded)],
    };
    let (mut found, mut left) = (Found::new(), max);
    for entry in halves.into_iter().flat_map(|(from, to)| users.range(&view.at, from, to)) {
        if left == 0 {
            break;
        }
        let (key, value) = entry.into_inner()?;
        let record: PendingUserRecord = users.parse(&key, &value)?;
        if record.oldest >= before {
            continue;
        }
        let user = std::str::from_utf8(&key).ok().and_then(|text| UserId::new(text).ok());
        let user = user.ok_or_else(|| users.corrupt(&key))?;
        let rows = old_rows(view, &user, record.oldest, before, left)?;
        if !rows.is_empty() {
            left -= rows.len();
            found.push((user, rows));
        }
    }
    Ok(found)
}

fn old_rows(
    view: &View<'_>,
    user: &UserId,
    oldest: Sequence,
    before: Sequence,
    max: usize,
) -> Result<Vec<PendingKey>, Fault> {
    let pending = &view.spaces.pending;
    let from = Bound::Included(first_possible(user, oldest));
    let to = Bound::Excluded(first_possible(user, before));
    let rows = pending.range(&view.at, from, to).take(max).map(|entry| {
        let key = entry.key()?;
        keys::split_pending(&key, user).ok_or_else(|| pending.corrupt(&key))
    });
    rows.collect()
}
