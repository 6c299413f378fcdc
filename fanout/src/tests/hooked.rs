//! A storage that asks a hook before and after each call: to fail, to stop for good, or to wait for its turn.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use roost_storage::*;

/// What a test does around each call.
#[async_trait]
pub(super) trait Hook: Send + Sync {
    /// Before the call takes effect.
    async fn before(&self, call: &'static str) -> Result<(), StorageError>;
    /// After it took effect, before the caller knows.
    async fn after(&self, call: &'static str) -> Result<(), StorageError>;
    /// A cursor was moved.
    fn committed(&self, _partition: PartitionId, _through: Position) {}
}

/// Every trait of `inner`, with `hook` around each call.
pub(super) fn hooked(inner: &Storage, hook: Arc<dyn Hook>) -> Storage {
    let hooked = Arc::new(Hooked { inner: inner.clone(), hook });
    Storage {
        log: hooked.clone(),
        mailboxes: hooked.clone(),
        sessions: hooked.clone(),
        pending: hooked.clone(),
        history: hooked.clone(),
        chats: hooked.clone(),
        cursors: hooked,
        signals: inner.signals.clone(),
    }
}

struct Hooked {
    inner: Storage,
    hook: Arc<dyn Hook>,
}

/// One call with the hook around it.
macro_rules! around {
    ($self:ident, $name:literal, $call:expr) => {{
        $self.hook.before($name).await?;
        let answer = $call.await?;
        $self.hook.after($name).await?;
        Ok(answer)
    }};
}

#[async_trait]
impl EventLog for Hooked {
    fn partitions(&self) -> Partitions {
        self.inner.log.partitions()
    }
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, AppendError>> {
        self.inner.log.append(events).await
    }
    async fn read(
        &self,
        partition: PartitionId,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<LogEntry>, StorageError> {
        around!(self, "log.read", self.inner.log.read(partition, after, max, wait))
    }
    async fn lag(&self, partition: PartitionId) -> Result<u64, StorageError> {
        self.inner.log.lag(partition).await
    }
    async fn announce(&self, worker: &WorkerId, ttl: Duration) -> Result<Vec<WorkerId>, StorageError> {
        around!(self, "log.announce", self.inner.log.announce(worker, ttl))
    }
    async fn retire(&self, worker: &WorkerId) -> Result<(), StorageError> {
        self.inner.log.retire(worker).await
    }
    async fn acquire(
        &self,
        partition: PartitionId,
        worker: &WorkerId,
        ttl: Duration,
    ) -> Result<Acquired, StorageError> {
        around!(self, "log.acquire", self.inner.log.acquire(partition, worker, ttl))
    }
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Renewal, StorageError> {
        around!(self, "log.renew", self.inner.log.renew(lease, ttl))
    }
    async fn commit(&self, lease: &Lease, through: Position) -> Result<Commit, StorageError> {
        self.hook.before("log.commit").await?;
        let answer = self.inner.log.commit(lease, through).await?;
        if answer == Commit::Done {
            self.hook.committed(lease.partition, through);
        }
        self.hook.after("log.commit").await?;
        Ok(answer)
    }
    async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        around!(self, "log.release", self.inner.log.release(lease))
    }
}

#[async_trait]
impl Mailboxes for Hooked {
    async fn open(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        around!(self, "mailboxes.open", self.inner.mailboxes.open(gateway))
    }
    async fn put(&self, gateway: &GatewayId, items: Vec<MailboxItem>) -> Result<Put, StorageError> {
        around!(self, "mailboxes.put", self.inner.mailboxes.put(gateway, items))
    }
    async fn read(
        &self,
        gateway: &GatewayId,
        after: MailboxPosition,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<MailboxEntry>, StorageError> {
        around!(self, "mailboxes.read", self.inner.mailboxes.read(gateway, after, max, wait))
    }
    async fn confirm(&self, gateway: &GatewayId, through: MailboxPosition) -> Result<(), StorageError> {
        around!(self, "mailboxes.confirm", self.inner.mailboxes.confirm(gateway, through))
    }
    async fn confirmed(&self, gateway: &GatewayId) -> Result<MailboxPosition, StorageError> {
        around!(self, "mailboxes.confirmed", self.inner.mailboxes.confirmed(gateway))
    }
    async fn fence(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        around!(self, "mailboxes.fence", self.inner.mailboxes.fence(gateway))
    }
    async fn remove(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        around!(self, "mailboxes.remove", self.inner.mailboxes.remove(gateway))
    }
}

#[async_trait]
impl Sessions for Hooked {
    async fn register(&self, session: &Session) -> Result<Registration, StorageError> {
        around!(self, "sessions.register", self.inner.sessions.register(session))
    }
    async fn unregister(&self, key: &SessionKey) -> Result<(), StorageError> {
        around!(self, "sessions.unregister", self.inner.sessions.unregister(key))
    }
    async fn look_up(&self, users: &[UserId]) -> Result<Vec<Vec<Session>>, StorageError> {
        around!(self, "sessions.look_up", self.inner.sessions.look_up(users))
    }
    async fn gateway_up(&self, gateway: &GatewayId, ttl: Duration) -> Result<(), StorageError> {
        around!(self, "sessions.gateway_up", self.inner.sessions.gateway_up(gateway, ttl))
    }
    async fn renew_gateway(&self, gateway: &GatewayId, ttl: Duration) -> Result<Renewal, StorageError> {
        around!(self, "sessions.renew_gateway", self.inner.sessions.renew_gateway(gateway, ttl))
    }
    async fn dead_gateways(&self) -> Result<Vec<GatewayId>, StorageError> {
        around!(self, "sessions.dead_gateways", self.inner.sessions.dead_gateways())
    }
    async fn claim_gateway(&self, gateway: &GatewayId, worker: &WorkerId, ttl: Duration) -> Result<bool, StorageError> {
        around!(self, "sessions.claim_gateway", self.inner.sessions.claim_gateway(gateway, worker, ttl))
    }
    async fn sessions_of(&self, gateway: &GatewayId, max: usize) -> Result<Vec<SessionKey>, StorageError> {
        around!(self, "sessions.sessions_of", self.inner.sessions.sessions_of(gateway, max))
    }
    async fn forget_gateway(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        around!(self, "sessions.forget_gateway", self.inner.sessions.forget_gateway(gateway))
    }
    async fn follow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<Registration, StorageError> {
        around!(self, "sessions.follow", self.inner.sessions.follow(gateway, chat))
    }
    async fn unfollow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<(), StorageError> {
        around!(self, "sessions.unfollow", self.inner.sessions.unfollow(gateway, chat))
    }
    async fn followers(&self, chats: &[ChatId]) -> Result<Vec<Vec<GatewayId>>, StorageError> {
        around!(self, "sessions.followers", self.inner.sessions.followers(chats))
    }
    async fn count(&self) -> Result<u64, StorageError> {
        self.inner.sessions.count().await
    }
}

#[async_trait]
impl Pending for Hooked {
    async fn put(&self, rows: &[(UserId, Message)]) -> Result<(), StorageError> {
        around!(self, "pending.put", self.inner.pending.put(rows))
    }
    async fn page(&self, user: &UserId, after: Option<&PendingKey>, max: usize) -> Result<PendingPage, StorageError> {
        around!(self, "pending.page", self.inner.pending.page(user, after, max))
    }
    async fn delete(&self, user: &UserId, keys: &[PendingKey]) -> Result<u64, StorageError> {
        around!(self, "pending.delete", self.inner.pending.delete(user, keys))
    }
    async fn count(&self, user: &UserId) -> Result<u64, StorageError> {
        self.inner.pending.count(user).await
    }
    async fn expire(&self, before: SystemTime, max: usize) -> Result<u64, StorageError> {
        self.inner.pending.expire(before, max).await
    }
}

#[async_trait]
impl History for Hooked {
    async fn append(&self, messages: &[Message]) -> Result<(), StorageError> {
        around!(self, "history.append", self.inner.history.append(messages))
    }
    async fn range(
        &self,
        chat: &ChatId,
        from: Option<Sequence>,
        direction: Direction,
        max: usize,
    ) -> Result<Vec<Message>, StorageError> {
        around!(self, "history.range", self.inner.history.range(chat, from, direction, max))
    }
}

#[async_trait]
impl Cursors for Hooked {
    async fn put(&self, rows: &[(UserId, ChatId, Cursor)]) -> Result<(), StorageError> {
        around!(self, "cursors.put", self.inner.cursors.put(rows))
    }
    async fn of(&self, user: &UserId) -> Result<Vec<(ChatId, Cursor)>, StorageError> {
        around!(self, "cursors.of", self.inner.cursors.of(user))
    }
}

#[async_trait]
impl Chats for Hooked {
    async fn apply(&self, change: &MembershipChange) -> Result<Vec<UserId>, StorageError> {
        around!(self, "chats.apply", self.inner.chats.apply(change))
    }
    async fn membership(&self, chat: &ChatId, user: &UserId) -> Result<Membership, StorageError> {
        around!(self, "chats.membership", self.inner.chats.membership(chat, user))
    }
    async fn applied(&self, chat: &ChatId) -> Result<Option<Sequence>, StorageError> {
        self.inner.chats.applied(chat).await
    }
    async fn room_spans(&self, chat: &ChatId) -> Result<Vec<Span>, StorageError> {
        around!(self, "chats.room_spans", self.inner.chats.room_spans(chat))
    }
    async fn rooms_of(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<Vec<RoomMember>, StorageError> {
        around!(self, "chats.rooms_of", self.inner.chats.rooms_of(user, after, max))
    }
    async fn members(
        &self,
        chat: &ChatId,
        after: Option<&UserId>,
        max: usize,
    ) -> Result<MemberPage<UserId>, StorageError> {
        around!(self, "chats.members", self.inner.chats.members(chat, after, max))
    }
    async fn chats_of(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<MemberPage<ChatId>, StorageError> {
        self.inner.chats.chats_of(user, after, max).await
    }
}
