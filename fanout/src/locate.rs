//! Where users are: look-ups of any number of users, in pieces.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use roost_storage::{Session, StorageError, UserId};

use crate::context::Context;

/// The sessions of users who have any.
pub(crate) type Located = HashMap<UserId, Vec<Session>>;

/// Looks users up. Everyone who registered before this was called is found; who has no session is not in the answer.
pub(crate) async fn locate(context: &Context, users: BTreeSet<UserId>) -> Result<Located, StorageError> {
    let users: Vec<UserId> = users.into_iter().collect();
    let pieces: Vec<Vec<UserId>> = users.chunks(context.config.look_up_max.max(1)).map(<[_]>::to_vec).collect();
    let answers = stream::iter(pieces).map(|piece| async move {
        let sessions = context.storage.sessions.look_up(&piece).await?;
        Ok::<_, StorageError>(piece.into_iter().zip(sessions).filter(|(_, sessions)| !sessions.is_empty()))
    });
    let mut located = Located::new();
    let mut answers = answers.buffer_unordered(context.config.concurrency_max.max(1));
    while let Some(found) = answers.try_next().await? {
        located.extend(found);
    }
    Ok(located)
}
