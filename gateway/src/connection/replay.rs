//! Replaying pending on the notification topic: a page is pushed, confirmed, deleted, and only then the next is read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use roost_storage::{PendingKey, PendingPage};

use crate::hub::{Link, Row};
use crate::node::Node;
use crate::retry::retry;

/// Rows pushed before their confirmation is waited for.
const PAGE: usize = 64;
/// How long to wait for the same user's closing connection on another gateway, whose rows come first.
const CLOSING_WAIT: Duration = Duration::from_secs(5);
/// How often to look whether it is still there.
const CLOSING_AGAIN: Duration = Duration::from_millis(50);
/// How long an ended connection may take to delete what was confirmed. What stays is replayed once more.
const END_TIMEOUT: Duration = Duration::from_secs(5);

type Reading = Pin<Box<dyn Future<Output = PendingPage> + Send>>;

/// One connection's replay, if one is under way.
#[derive(Default)]
pub(super) struct Replay {
    state: State,
    generation: u32,
    /// What an abandoned replay still has to delete.
    unfinished: Option<Reading>,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// Deleting what was confirmed, if anything, then reading.
    Reading { reading: Reading, deletes: bool },
    /// Pushed; waiting for confirmation.
    Confirming { outstanding: usize, confirmed: Vec<PendingKey>, next: Option<PendingKey> },
}

impl Replay {
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Begins a pass over everything pending.
    pub(super) fn start(&mut self, node: &Arc<Node>, link: &Arc<Link>) {
        let deletes = self.unfinished.is_some();
        let reading = Box::pin(first_page(node.clone(), link.clone(), self.unfinished.take()));
        self.state = State::Reading { reading, deletes };
    }

    /// Gives the replay up because its channel has ended: the client drops frames of an ended channel, so their Pong
    /// says nothing, and the rows stay for the next replay. What was confirmed before is still deleted.
    pub(super) fn abandon(&mut self, node: &Arc<Node>, link: &Arc<Link>) {
        self.generation = self.generation.wrapping_add(1);
        match std::mem::take(&mut self.state) {
            State::Reading { reading, deletes: true } => self.unfinished = Some(reading),
            State::Confirming { confirmed, .. } if !confirmed.is_empty() => {
                self.unfinished = Some(Box::pin(next_page(node.clone(), link.clone(), confirmed, None)));
            }
            State::Idle | State::Reading { .. } | State::Confirming { .. } => {}
        }
    }

    /// The page that is being read; waits for ever when none is. Cancel safe.
    pub(super) async fn page(&mut self) -> PendingPage {
        if let State::Reading { reading, .. } = &mut self.state {
            let page = reading.await;
            self.state = State::Idle;
            return page;
        }
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.await;
            self.unfinished = None;
        }
        std::future::pending().await
    }

    /// How to know a row of this replay again when it is confirmed.
    pub(super) fn row(&self, key: PendingKey) -> Row {
        Row { generation: self.generation, key }
    }

    /// `rows` of the page were pushed; `next` says where to go on.
    pub(super) fn pushed(&mut self, rows: usize, next: Option<PendingKey>, node: &Arc<Node>, link: &Arc<Link>) {
        self.state = State::Confirming { outstanding: rows, confirmed: Vec::with_capacity(rows), next };
        self.proceed(node, link);
    }

    /// The client has one row.
    pub(super) fn confirmed(&mut self, row: Row, node: &Arc<Node>, link: &Arc<Link>) {
        if let State::Confirming { outstanding, confirmed, .. } = &mut self.state
            && row.generation == self.generation
        {
            *outstanding -= 1;
            confirmed.push(row.key);
            self.proceed(node, link);
        }
    }

    fn proceed(&mut self, node: &Arc<Node>, link: &Arc<Link>) {
        let State::Confirming { outstanding: 0, confirmed, next } = &mut self.state else { return };
        let (confirmed, next) = (std::mem::take(confirmed), next.take());
        self.state = match (confirmed.is_empty(), &next) {
            (true, None) => State::Idle,
            (is_empty, _) => State::Reading {
                reading: Box::pin(next_page(node.clone(), link.clone(), confirmed, next)),
                deletes: !is_empty,
            },
        };
    }

    /// The connection has ended: deletes what was confirmed, so that it does not come again.
    pub(super) async fn end(mut self, node: &Arc<Node>, link: &Arc<Link>) {
        self.abandon(node, link);
        if let Some(unfinished) = self.unfinished {
            let _ = tokio::time::timeout(END_TIMEOUT, unfinished).await;
        }
    }
}

async fn first_page(node: Arc<Node>, link: Arc<Link>, unfinished: Option<Reading>) -> PendingPage {
    if let Some(unfinished) = unfinished {
        unfinished.await;
    }
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
        let deleted = retry("delete pending", || node.storage.pending.delete(&link.user, &confirmed)).await;
        node.metrics.confirmed_pending.inc_by(deleted);
    }
    match next {
        Some(after) => read(&node, &link, Some(&after)).await,
        None => PendingPage { messages: Vec::new(), next: None },
    }
}

async fn read(node: &Node, link: &Link, after: Option<&PendingKey>) -> PendingPage {
    retry("read pending", || node.storage.pending.page(&link.user, after, PAGE)).await
}

/// Waits until no connection of the user is closing on another gateway.
async fn closed_elsewhere(node: &Node, link: &Link) {
    let users = [link.user.clone()];
    loop {
        let sessions = retry("look up sessions", || node.storage.sessions.look_up(&users)).await;
        let is_closing =
            sessions.iter().flatten().any(|session| session.is_closing() && session.connection.gateway != node.id);
        if !is_closing {
            return;
        }
        tokio::time::sleep(CLOSING_AGAIN).await;
    }
}
