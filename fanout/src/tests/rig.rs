//! A real store with gateways, sessions and members in it, and what a test looks at.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roost_storage::embedded::{Embedded, EmbeddedConfig};
use roost_storage::*;
use tempfile::TempDir;

use crate::batch::Batches;
use crate::context::{Context, Interrupted};
use crate::{FanoutConfig, FanoutMetrics, removals};

/// A life long enough for any test.
pub(super) const LONG: Duration = Duration::from_secs(600);

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn users(names: &[&str]) -> BTreeSet<UserId> {
    names.iter().map(|name| user(name)).collect()
}

pub(super) fn chat(name: &str) -> ChatId {
    ChatId::new(name).unwrap()
}

pub(super) fn worker(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

/// Intervals short enough for tests that wait for what they time.
pub(super) fn quick() -> FanoutConfig {
    FanoutConfig {
        lease_ttl: Duration::from_millis(400),
        lease_renew_interval: Duration::from_millis(50),
        acquire_interval: Duration::from_millis(10),
        read_wait: Duration::from_millis(20),
        retry_wait_min: Duration::from_millis(1),
        retry_wait_max: Duration::from_millis(10),
        reaper_interval: Duration::from_millis(20),
        stop_timeout: Duration::from_millis(500),
        ..FanoutConfig::default()
    }
}

/// What a session has joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined<'a> {
    Room(&'a str),
    Notifications,
    Nothing,
}

pub(super) struct Rig {
    pub(super) storage: Storage,
    config: EmbeddedConfig,
    _dir: TempDir,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut EmbeddedConfig)) -> Self {
        let dir = directory();
        let mut config = EmbeddedConfig { partitions: 1.try_into().unwrap(), ..EmbeddedConfig::new(dir.path()) };
        change(&mut config);
        let storage = Embedded::open(config.clone()).unwrap().storage();
        Self { storage, config, _dir: dir }
    }

    /// With another backend of some traits; the rest stays as it is.
    pub(super) fn over(mut self, change: impl FnOnce(Storage) -> Storage) -> Self {
        self.storage = change(self.storage);
        self
    }

    /// As after `kill -9` of a standalone process: what was in memory is gone.
    pub(super) fn reopen(self) -> Self {
        let Self { storage, config, _dir } = self;
        drop(storage);
        let storage = Embedded::open(config.clone()).unwrap().storage();
        Self { storage, config, _dir }
    }

    pub(super) async fn gateway(&self, name: &str) -> GatewayId {
        let gateway = GatewayId::new(name).unwrap();
        self.storage.mailboxes.open(&gateway).await.unwrap();
        self.storage.sessions.gateway_up(&gateway, LONG).await.unwrap();
        gateway
    }

    /// Its lease runs out at once.
    pub(super) async fn kill(&self, gateway: &GatewayId) {
        let _ = self.storage.sessions.renew_gateway(gateway, Duration::ZERO).await.unwrap();
    }

    pub(super) async fn session(
        &self,
        name: &str,
        gateway: &GatewayId,
        number: u64,
        joined: Joined<'_>,
    ) -> ConnectionId {
        let connection = ConnectionId { gateway: gateway.clone(), number };
        let session = Session {
            user: user(name),
            connection: connection.clone(),
            device: DeviceId::new("device").unwrap(),
            chats: if let Joined::Room(name) = joined { BTreeSet::from([chat(name)]) } else { BTreeSet::new() },
            notifications: joined == Joined::Notifications,
        };
        assert_eq!(self.storage.sessions.register(&session).await.unwrap(), Registration::Done);
        connection
    }

    async fn append(&self, chat: ChatId, body: EventBody) -> Sequence {
        let appended = self.storage.log.append(vec![NewEvent { chat, body, dedupe: None }]).await;
        appended.into_iter().next().unwrap().unwrap().sequence
    }

    pub(super) async fn change(&self, name: &str, change: Change) -> Sequence {
        self.append(chat(name), EventBody::Members(change)).await
    }

    pub(super) async fn say(&self, name: &str, sender: &str, content: &str) -> Sequence {
        self.say_from(name, sender, content, None).await
    }

    pub(super) async fn say_from(
        &self,
        name: &str,
        sender: &str,
        content: &str,
        origin: Option<ConnectionId>,
    ) -> Sequence {
        let body = EventBody::Message { sender: user(sender), content: content.into(), origin };
        self.append(chat(name), body).await
    }

    /// What a mailbox holds, as text: `content>recipient,recipient`, `ring user`, `close chat user`.
    pub(super) async fn mailbox(&self, gateway: &GatewayId) -> Vec<String> {
        let mailboxes = &self.storage.mailboxes;
        let confirmed = mailboxes.confirmed(gateway).await.unwrap();
        let entries = mailboxes.read(gateway, confirmed, 10_000, Duration::ZERO).await.unwrap();
        entries.into_iter().map(|entry| shown(&entry.item)).collect()
    }

    /// The contents of a user's pending, oldest first.
    pub(super) async fn pending(&self, name: &str) -> Vec<String> {
        let page = self.storage.pending.page(&user(name), None, 10_000).await.unwrap();
        assert_eq!(page.next, None, "more pending than the test expects");
        page.messages.iter().map(|message| message.content.to_string()).collect()
    }

    /// Waits until nothing stands above any cursor.
    pub(super) async fn caught_up(&self) {
        eventually("every partition is caught up", || async {
            for partition in self.storage.log.partitions().all() {
                if self.storage.log.lag(partition).await.unwrap() > 0 {
                    return false;
                }
            }
            true
        })
        .await;
    }

    pub(super) fn context(&self, name: &str) -> Arc<Context> {
        context(&self.storage, name)
    }

    /// Processes what is there as worker `name`, without any task or timer.
    pub(super) async fn process(&self, name: &str) {
        process(&self.context(name)).await.unwrap();
    }
}

/// What syncs to the disk cost is no subject here, and hundreds of stores are opened: in memory, where the system has it.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

pub(super) fn context(storage: &Storage, name: &str) -> Arc<Context> {
    let metrics = Arc::new(FanoutMetrics::default());
    Arc::new(Context::new(storage.clone(), quick(), metrics, worker(name)))
}

/// What a partition's task does, for every partition, until nothing is left: acquire, catch up, read, renew, process.
pub(super) async fn process(context: &Arc<Context>) -> Result<(), Interrupted> {
    for partition in context.storage.log.partitions().all() {
        process_partition(context, partition, Duration::ZERO).await?;
    }
    Ok(())
}

/// The lease lives for `ttl`: none at all lets any other worker take it over between two calls.
pub(super) async fn process_partition(
    context: &Arc<Context>,
    partition: PartitionId,
    ttl: Duration,
) -> Result<(), Interrupted> {
    let log = &context.storage.log;
    let Acquired::Held { lease, mut cursor } = log.acquire(partition, &context.worker, ttl).await? else {
        return Err(Interrupted::LeaseLost);
    };
    removals::catch_up(context, partition).await?;
    let mut batches = Batches::new(context.clone(), lease.clone());
    loop {
        let entries = log.read(partition, cursor, context.config.batch_max, Duration::ZERO).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        cursor = last.position;
        if log.renew(&lease, ttl).await? == Renewal::Lost {
            return Err(Interrupted::LeaseLost);
        }
        batches.process(entries).await?;
    }
}

pub(super) fn shown(item: &MailboxItem) -> String {
    match item {
        MailboxItem::Deliver(delivery) => {
            let recipients: Vec<_> = delivery.recipients.iter().map(UserId::as_str).collect();
            format!("{}>{}", delivery.message.content, recipients.join(","))
        }
        MailboxItem::DeliverRoom(delivery) => format!("{}>room", delivery.message.content),
        MailboxItem::RingRoom { chat } => format!("ring room {chat}"),
        MailboxItem::EnterRoom { chat, users, .. } => {
            let users: Vec<_> = users.iter().map(UserId::as_str).collect();
            format!("enter {chat} {}", users.join(","))
        }
        MailboxItem::Ring { user } => format!("ring {user}"),
        MailboxItem::CloseChat { chat, user } => format!("close {chat} {user}"),
        MailboxItem::Disconnect { user, .. } => format!("disconnect {user}"),
    }
}

/// Asks until it is so; fails after five seconds.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let asking = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), asking).await.is_ok(), "never came true: {what}");
}
