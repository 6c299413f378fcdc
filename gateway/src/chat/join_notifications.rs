//! `phx_join` on `notifications:<user>` or `notification:<user>`: one's own only; pending is replayed behind the reply.

use roost_storage::UserId;

use super::{Conversation, JoinFailure, reason};
use crate::hub::Spelling;

impl Conversation {
    /// Able to take rings, then registered, then pending is read (by the replay queued here): a notification stored at
    /// the same time is either read or rung for.
    pub(super) async fn join_notifications(&mut self, spelling: Spelling, user: &UserId) -> Result<(), JoinFailure> {
        if *user != self.link.user {
            return Err(JoinFailure::Refused(reason::UNAUTHORIZED));
        }
        // A join again ends the channel before it, and with it what that was replaying.
        self.has_replay_ended = true;
        self.spellings.insert(spelling);
        self.session.notifications = true;
        self.node.hub.join_notifications(&self.link, spelling);
        self.register().await
    }
}
