//! Replaying pending on the notification topic: a page is pushed, confirmed, deleted, and only then the next is read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use roost_storage::{PendingKey, PendingPage, StorageError};
use tracing::{debug, warn};

use crate::hub::Link;
use crate::node::Node;

/// Rows pushed before their confirmation is waited for.
const PAGE: usize = 64;
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How long to wait for the same user's closing connection on another gateway, whose rows come first.
const CLOSING_WAIT: Duration = Duration::from_secs(5);
/// How long an ended connection may take to delete what was confirmed. What stays is replayed once more.
const END_TIMEOUT: Duration = Duration::from_secs(5);

type Reading = Pin<Box<dyn Future<Output = PendingPage> + Send>>;

/// One connection's replay, if one is under way.
#[derive(Default)]
pub(super) enum Replay {
    #[default]
    Idle,
    /// Deleting what was confirmed, then reading.
    Reading(Reading),
    /// Pushed; waiting for confirmation.
    Confirming { outstanding: usize, confirmed: Vec<PendingKey>, next: Option<PendingKey> },
}

impl Replay {
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self, Self::Idle)
    }

    /// Begins a pass over everything pending.
    pub(super) fn start(&mut self, node: &Arc<Node>, link: &Arc<Link>) {
        *self = Self::Reading(Box::pin(first_page(node.clone(), link.clone())));
    }

    /// The page that is being read; waits for ever when none is. Cancel safe.
    pub(super) async fn page(&mut self) -> PendingPage {
        match self {
            Self::Reading(reading) => {
                let page = reading.await;
                *self = Self::Idle;
                page
            }
            _ => std::future::pending().await,
        }
    }

    /// `rows` of the page were pushed; `next` says where to go on.
    pub(super) fn pushed(&mut self, rows: usize, next: Option<PendingKey>, node: &Arc<Node>, link: &Arc<Link>) {
        *self = Self::Confirming { outstanding: rows, confirmed: Vec::with_capacity(rows), next };
        self.proceed(node, link);
    }

    /// The client has one row.
    pub(super) fn confirmed(&mut self, key: PendingKey, node: &Arc<Node>, link: &Arc<Link>) {
        if let Self::Confirming { outstanding, confirmed, .. } = self {
            *outstanding -= 1;
            confirmed.push(key);
            self.proceed(node, link);
        }
    }

    fn proceed(&mut self, node: &Arc<Node>, link: &Arc<Link>) {
        let Self::Confirming { outstanding: 0, confirmed, next } = self else { return };
        if confirmed.is_empty() && next.is_none() {
            *self = Self::Idle;
            return;
        }
        let (confirmed, next) = (std::mem::take(confirmed), next.take());
        *self = Self::Reading(Box::pin(next_page(node.clone(), link.clone(), confirmed, next)));
    }

    /// The connection has ended: deletes what was confirmed, so that it does not come again.
    pub(super) async fn end(self, node: &Arc<Node>, link: &Arc<Link>) {
        let deleting: Reading = match self {
            Self::Idle => return,
            Self::Reading(reading) => reading,
            Self::Confirming { confirmed, .. } => Box::pin(next_page(node.clone(), link.clone(), confirmed, None)),
        };
        let _ = tokio::time::timeout(END_TIMEOUT, deleting).await;
    }
}

async fn first_page(node: Arc<Node>, link: Arc<Link>) -> PendingPage {
    // Rows of connections that closed before come first, so that notifications keep their order.
    node.hub.settled(&link.user).await;
    let _ = tokio::time::timeout(CLOSING_WAIT, closed_elsewhere(&node, &link)).await;
    read(&node, &link, None).await
}

async fn next_page(
    node: Arc<Node>,
    link: Arc<Link>,
    confirmed: Vec<PendingKey>,
    next: Option<PendingKey>,
) -> PendingPage {
    if !confirmed.is_empty() {
        let deleted = retry(|| node.storage.pending.delete(&link.user, &confirmed)).await;
        node.metrics.confirmed_pending.inc_by(deleted);
    }
    match next {
        Some(after) => read(&node, &link, Some(&after)).await,
        None => PendingPage { messages: Vec::new(), next: None },
    }
}

async fn read(node: &Node, link: &Link, after: Option<&PendingKey>) -> PendingPage {
    retry(|| node.storage.pending.page(&link.user, after, PAGE)).await
}

/// Waits until no connection of the user is closing on another gateway.
async fn closed_elsewhere(node: &Node, link: &Link) {
    let users = [link.user.clone()];
    loop {
        let sessions = retry(|| node.storage.sessions.look_up(&users)).await;
        let is_closing =
            sessions.iter().flatten().any(|session| session.is_closing() && session.connection.gateway != node.id);
        if !is_closing {
            return;
        }
        tokio::time::sleep(RETRY_MIN).await;
    }
}

async fn retry<T, F>(mut call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StorageError>>,
{
    let mut pause = RETRY_MIN;
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) if error.is_transient() => debug!(%error, "pending unavailable, trying again"),
            Err(error) => warn!(%error, "pending failed, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}
