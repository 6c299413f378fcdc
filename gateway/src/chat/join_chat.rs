//! `phx_join` on `chat:<chat>`: members only, unless `chats.open_join` lets a join enrol.

use roost_storage::{Change, ChatId, Direction, EventBody, Membership, NewEvent, Registration, Sequence, Span};

use super::{Conversation, JoinFailure, reason};

impl Conversation {
    /// Registers first and asks for the membership then: a removal at the same time either sees the session and closes
    /// it, or is seen here.
    pub(super) async fn join_chat(&mut self, chat: &ChatId) -> Result<(), JoinFailure> {
        self.node.hub.join_chat(&self.link, chat);
        self.session.chats.insert(chat.clone());
        self.register().await?;
        self.admit(chat).await?;
        // Only now: who is not let in sees nobody type.
        if self.node.hub.enter_room(&self.link, chat) {
            self.node.following.signals(chat).await;
        }
        Ok(())
    }

    /// Where the chat is in room mode its messages come from here on. Whoever is enrolled is told by fanout, and so is
    /// everyone when a chat becomes a room later.
    pub(super) async fn enter_room_mode(&mut self, chat: &ChatId, removals: u64) -> Result<(), JoinFailure> {
        if !Span::is_open(&self.node.storage.chats.room_spans(chat).await?) {
            return Ok(());
        }
        if !self.node.hub.enter_room_mode(&self.link.user, chat, removals) {
            // They may have been removed meanwhile: the client asks again.
            return Err(JoinFailure::Unavailable);
        }
        match self.node.following.room(chat).await? {
            Registration::Done => {}
            Registration::GatewayLost => return Err(JoinFailure::GatewayLost),
        }
        let rings = self.node.hub.rings(&self.link.user, chat);
        // What is in history by now was said before this join is answered.
        let last = self.node.storage.history.range(chat, None, Direction::Backward, 1).await?;
        let last = last.last().map_or(Sequence(0), |message| message.sequence);
        self.node.hub.room_comes_after(&self.link.user, chat, last, rings);
        self.node.hub.ring(&self.link.user);
        // Where they are only notified they are notified no more.
        self.node.following.ring_elsewhere(vec![self.link.user.clone()]).await;
        Ok(())
    }

    async fn admit(&mut self, chat: &ChatId) -> Result<(), JoinFailure> {
        let removals = self.node.hub.removals(&self.link.user);
        match self.node.storage.chats.membership(chat, &self.link.user).await? {
            Membership::Member => self.enter_room_mode(chat, removals).await,
            Membership::NotMember | Membership::NoSuchChat if self.node.chats.open_join => self.enrol(chat).await,
            Membership::NotMember if !self.node.chats.hide_existence => Err(JoinFailure::Refused(reason::UNAUTHORIZED)),
            Membership::NotMember | Membership::NoSuchChat => Err(JoinFailure::Refused(reason::CHAT_NOT_FOUND)),
        }
    }

    /// From its place in the event log on, every message of the chat is for this user too.
    async fn enrol(&mut self, chat: &ChatId) -> Result<(), JoinFailure> {
        let body = EventBody::Members(Change::Add(self.link.user.clone()));
        let Ok(outcome) = self.node.appender.append(NewEvent { chat: chat.clone(), body, dedupe: None }) else {
            return Err(JoinFailure::Refused(reason::OVERLOADED));
        };
        match outcome.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(roost_storage::AppendError::Full)) => Err(JoinFailure::Refused(reason::OVERLOADED)),
            Ok(Err(roost_storage::AppendError::Storage(error))) => Err(error.into()),
            Err(_) => Err(JoinFailure::Unavailable),
        }
    }
}
