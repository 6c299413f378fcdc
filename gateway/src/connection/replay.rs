//! Replaying pending on the notification topic: a page is pushed, confirmed, deleted (or, of a room, the cursor moved),
//! and only then the next is read.

mod plan;
mod reading;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use roost_storage::{ChatId, PendingKey, Sequence};

use crate::hub::{Link, Row};
use crate::node::Node;
use crate::retry::retry;
use plan::Plan;
use reading::Finish;
pub(super) use reading::{Page, Source};

/// How long an ended connection may take to delete what was confirmed. What stays is replayed once more.
const END_TIMEOUT: Duration = Duration::from_secs(5);

type Reading = Pin<Box<dyn Future<Output = Page> + Send>>;

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
    Confirming { outstanding: usize, confirmed: Vec<PendingKey>, source: Source, plan: Plan },
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
            State::Confirming { confirmed, source: Source::Rows, .. } if !confirmed.is_empty() => {
                let nothing = Plan { has_read_rows: true, ..Plan::default() };
                self.unfinished = Some(Box::pin(next_page(node.clone(), link.clone(), (confirmed, None), nothing)));
            }
            State::Confirming { confirmed, source: Source::Room { chat, origin, .. }, .. } => {
                if let Some(last) = confirmed.last() {
                    node.hub.read_through(&link.user, &chat, (origin, last.sequence));
                }
            }
            State::Idle | State::Reading { .. } | State::Confirming { .. } => {}
        }
    }

    /// The page that is being read; waits for ever when none is. Cancel safe.
    pub(super) async fn page(&mut self) -> Page {
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

    /// `pushed` messages of the page were pushed; those that are still in it are left to a later replay.
    pub(super) fn pushed(&mut self, pushed: usize, page: Page, node: &Arc<Node>, link: &Arc<Link>) {
        let Page { messages, mut source, mut plan } = page;
        if let (Source::Room { chat, through, finishes, .. }, Some(next)) = (&mut source, messages.first()) {
            (*through, *finishes) = (Sequence(next.sequence.0 - 1), None);
            plan.drop_chat(chat);
            link.replay();
        }
        self.state = State::Confirming { outstanding: pushed, confirmed: Vec::with_capacity(pushed), source, plan };
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
        if !matches!(self.state, State::Confirming { outstanding: 0, .. }) {
            return;
        }
        let State::Confirming { mut confirmed, source, plan, .. } = std::mem::take(&mut self.state) else { return };
        let mut room = None;
        if let Source::Room { chat, origin, through, finishes } = source {
            node.metrics.confirmed_pending.inc_by(confirmed.len() as u64);
            room = (!confirmed.is_empty()).then(|| chat.clone());
            confirmed.clear();
            match finishes {
                None => node.hub.read_through(&link.user, &chat, (origin, through)),
                Some(Finish { through, rings }) => node.hub.finish(&link.user, &chat, (origin, through), rings),
            }
        }
        if !confirmed.is_empty() || room.is_some() || !plan.is_done() {
            let deletes = !confirmed.is_empty() || room.is_some();
            let reading = Box::pin(next_page(node.clone(), link.clone(), (confirmed, room), plan));
            self.state = State::Reading { reading, deletes };
        }
    }

    /// The connection has ended: deletes what was confirmed, so that it does not come again.
    pub(super) async fn end(mut self, node: &Arc<Node>, link: &Arc<Link>) {
        self.abandon(node, link);
        if let Some(unfinished) = self.unfinished {
            let _ = tokio::time::timeout(END_TIMEOUT, unfinished).await;
        }
    }
}

async fn first_page(node: Arc<Node>, link: Arc<Link>, unfinished: Option<Reading>) -> Page {
    if let Some(unfinished) = unfinished {
        unfinished.await;
    }
    reading::first_page(&node, &link).await
}

/// Stores what the page before has confirmed: rows, or how far in a room.
async fn next_page(
    node: Arc<Node>,
    link: Arc<Link>,
    (confirmed, room): (Vec<PendingKey>, Option<ChatId>),
    plan: Plan,
) -> Page {
    if let Some(chat) = room
        && let Some(cursor) = node.hub.take_cursor(&link.user, &chat)
    {
        let row = [(link.user.clone(), chat, cursor)];
        retry("store a cursor", || node.storage.cursors.put(&row)).await;
        node.metrics.cursors_stored.inc();
    }
    if !confirmed.is_empty() {
        let deleted = retry("delete pending", || node.storage.pending.delete(&link.user, &confirmed)).await;
        node.metrics.confirmed_pending.inc_by(deleted);
    }
    reading::next_page(&node, &link, plan).await
}
